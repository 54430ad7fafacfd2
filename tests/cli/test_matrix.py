"""``qcmatrix matrix``: what is listed, for people, programs and GitHub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from qcmatrix.answers.schema import json_schema
from qcmatrix.errors import ExitCode

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qcmatrix", "matrix", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        timeout=60,
    )


def ids(*arguments: str) -> list[str]:
    done = run(*arguments)
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    return [line.partition(":")[0] for line in done.stdout.splitlines()]


def test_all_are_listed_and_right() -> None:
    assert len(ids()) == (ROOT / "matrix.toml").read_text().count("[[entry]]")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--gpu", "cpu", "--vllm", "0.29.0"), ["tiny-0.29-cpu"]),
        (("--entry", "tiny-yarn*", "--entry", "tiny-cpu"), ["tiny-cpu", "tiny-yarn-cpu"]),
        (("--gpu", "H20", "--expect", "starts"), ["480b-bf16-tp8-32k-8xh20"]),
        (("--gpu", "H20-141", "--expect", "starts", "--profile", "tools"), ["480b-bf16-tp8-32k-8xh20"]),
    ],
)
def test_filters(arguments: tuple[str, ...], found: list[str]) -> None:
    assert ids(*arguments) == found


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--gpu", "H2000"), ExitCode.UNKNOWN_NAME, "no GPU is called 'H2000'"),
        (("--entry", "tiny-cqu"), ExitCode.UNKNOWN_NAME, "no entry is called 'tiny-cqu'"),
        (("--vllm", "0.99.0"), ExitCode.UNKNOWN_NAME, "no entry is left with --vllm 0.99.0"),
        (("--json", "--github"), ExitCode.USAGE, "choose one"),
        (("--expect", "maybe"), ExitCode.USAGE, "does-not-fit"),
    ],
)
def test_what_cannot_be_answered(arguments: tuple[str, ...], code: ExitCode, says: str) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stdout == ""


def test_json_holds_its_contract() -> None:
    answer = json.loads(run("--json", "--gpu", "cpu").stdout)
    jsonschema.validate(answer, json_schema("matrix"))
    assert {each["entry"]["id"] for each in answer["entries"]} >= {"tiny-cpu", "tiny-forgot-yarn-cpu"}
    assert answer["problems"] == []


def test_github_is_given_one_job_per_entry() -> None:
    done = run("--github", "--entry", "tiny-cpu", "--entry", "480b-fp8-tp8ep-256k-8xh200", "--entry", "*-4090-48")
    (line,) = done.stdout.splitlines()  # one line, for $GITHUB_OUTPUT
    jobs = {job["id"]: job for job in json.loads(line)["include"]}
    assert jobs["tiny-cpu"] == {
        "id": "tiny-cpu",
        "labels": ["ubuntu-latest"],
        "gpus": 0,
        "sku": "cpu",
        "marker": "cpu",
        "vllm": "0.32.0",
        "image": "",
    }
    assert jobs["480b-fp8-tp8ep-256k-8xh200"]["labels"] == ["self-hosted", "gpu", "h200", "gpus-8"]
    assert jobs["30b-fp8-fp8kv-200k-4090-48"]["marker"] == "rtx4090_48"


def test_every_problem_of_the_file_is_told_and_fails(tmp_path: Path) -> None:
    text = (ROOT / "matrix.toml").read_text()
    broken = text.replace("--max-num-seqs 32", "--max-num-seks 32").replace('gpu = "H200"', 'gpu = "H2000"')
    broken += '[[expected_failure]]\ncheck = "TC-14.*"\nreason = "r"\nissue = "https://example.org/1"\n'
    broken += "expires = 2026-01-01\n"
    (tmp_path / "matrix.toml").write_text(broken)
    done = run("--file", str(tmp_path / "matrix.toml"), "--gpu", "cpu")
    assert done.returncode == ExitCode.FINDINGS
    plain = " ".join(done.stdout.replace("  = ", "").split())
    assert "tiny-cpu: refused on cpu, vLLM 0.32.0 (disagrees)" in plain
    assert "unknown-flag speaks" in plain
    assert "there is no GPU of that name" in plain
    assert "expired on 2026-01-01" in plain
    github = run("--file", str(tmp_path / "matrix.toml"), "--gpu", "cpu", "--github")
    assert github.returncode == ExitCode.FINDINGS
    assert json.loads(github.stdout)["include"]
    assert "expired on 2026-01-01" in " ".join(github.stderr.split())


def test_it_is_quick_because_it_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom qcmatrix.cli.matrix import matrix_command\n"
        "matrix_command.main(['--github', '--gpu', 'cpu'], standalone_mode=False)\n"
        "print([name for name in ('httpx', 'jsonschema', 'pytest', 'ssl', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
