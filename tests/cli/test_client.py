"""``qcmatrix client``: what it prints has no finding beside the command of its entry."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from qcmatrix.catalogue.releases import load_release
from qcmatrix.cli.client import client_command
from qcmatrix.clients.judge import judge_client, server_of
from qcmatrix.clients.read import read_clients
from qcmatrix.errors import CatalogueError, ExitCode, FileProblem, RequestError, UserError
from qcmatrix.lint.run import lint_text
from qcmatrix.lint.settings import Settings
from qcmatrix.lint.subject import Wishes
from qcmatrix.matrix.entries import CPU, Entry, read_matrix

MATRIX = Path(__file__).parents[2] / "matrix.toml"
ENTRIES = [entry for entry in read_matrix(MATRIX).entry if entry.serves and "$" not in entry.command]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(
        client_command, [str(each) for each in arguments], standalone_mode=False, catch_exceptions=False
    )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_it_has_no_finding_beside_its_server(entry: Entry) -> None:
    done = run(entry.id, "--matrix", MATRIX, "--api-key-secret", "KEY")
    assert done.return_value == ExitCode.OK
    wishes = Wishes(release=load_release(entry.vllm))
    judged = lint_text("serve.sh", entry.command, wishes, Settings()).judged
    assert judged
    for client in read_clients("config.yaml", done.stdout, None):
        server = server_of(client, judged)
        assert server is not None
        assert [finding.rule for finding in judge_client(client, server)] == []


@pytest.mark.parametrize("entry", [each for each in ENTRIES if each.fleet == CPU], ids=lambda entry: entry.id)
def test_it_says_what_the_command_says(entry: Entry) -> None:
    words = shlex.split(entry.command)
    chat, completion = yaml.safe_load(run(entry.id, "--matrix", MATRIX).stdout)["models"]
    assert chat["model"] == completion["model"] == words[words.index("--served-model-name") + 1]
    assert chat["defaultCompletionOptions"]["contextLength"] == int(words[words.index("--max-model-len") + 1])
    assert chat["apiBase"] == "http://localhost:8000/v1"


def test_a_context_that_the_command_leaves_out_is_the_models(tmp_path: Path) -> None:
    chat, _ = yaml.safe_load(run("e", "--matrix", matrix(tmp_path, "")).stdout)["models"]
    assert chat["defaultCompletionOptions"]["contextLength"] == 262_144


def test_tls_a_port_and_a_key(tmp_path: Path) -> None:
    path = matrix(tmp_path, "--port 30000 --ssl-certfile a --ssl-keyfile b --api-key $KEY")
    with pytest.raises(RequestError, match="asks for an API key"):
        run("e", "--matrix", path)
    chat, _ = yaml.safe_load(run("e", "--matrix", path, "--api-key-secret", "VLLM").stdout)["models"]
    assert (chat["apiBase"], chat["apiKey"]) == ("https://localhost:30000/v1", "${{ secrets.VLLM }}")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("nope",), CatalogueError, "no entry"),
        (("30b-*",), RequestError, "means"),
        (("tiny-forgot-yarn-cpu",), RequestError, "expected not to start"),
        (("tiny-cpu", "--base-url", "host"), RequestError, "base URL"),
        (("tiny-cpu", "--matrix", "nowhere.toml"), FileProblem, "no such file"),
    ],
)
def test_what_cannot_be_written(arguments: tuple[str, ...], error: type[UserError], says: str) -> None:
    with pytest.raises(error, match=says):
        run(*(("--matrix", str(MATRIX)) if "--matrix" not in arguments else ()), *arguments)


def matrix(tmp_path: Path, more: str) -> Path:
    path = tmp_path / "matrix.toml"
    path.write_text(
        'schema = "qcmatrix.matrix/1"\n[[entry]]\nid = "e"\nfleet = "1xH200"\nvllm = "0.33.0"\n'
        f'command = "vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 {more}"\n'
        'expect = { verdict = "starts" }\nsource = "https://example.org"\nread = 2026-11-28\n'
    )
    return path


def test_entries_that_help_and_readme_name_are_there() -> None:
    root = MATRIX.parent
    texts = [root / "README.md", *(root / "qcmatrix" / "cli").glob("*.py")]
    named = {
        name for path in texts for name in re.findall(r"qcmatrix (?:verify|client) ([0-9a-z][\w.-]*)", path.read_text())
    }
    assert len(named) > 2
    assert named <= {entry.id for entry in read_matrix(MATRIX).entry}
