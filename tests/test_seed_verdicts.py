"""Every command and configuration in the documents that the project began with is judged, and rightly."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from qcmatrix.cli.check import check_command
from qcmatrix.cli.explain import explain_command

SEEDS = Path(__file__).parent / "seeds"


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is right about one command under some releases."""

    vllm: tuple[str, ...]
    command: int
    verdict: str
    rules: tuple[str, ...] = ()
    says: str = ""
    clients: tuple[str, ...] = ()


class SeedDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document, the cards that it names, and what is right about it."""

    path: str
    gpus: tuple[str, ...]
    commands: int
    verdict: tuple[Verdict, ...]


def documents() -> tuple[SeedDocument, ...]:
    table = tomllib.loads((SEEDS / "verdicts.toml").read_text(encoding="utf-8"))
    return msgspec.convert(table["document"], tuple[SeedDocument, ...])


def rows() -> list[Any]:
    return [
        pytest.param(document, wanted, gpus, vllm, id=f"{document.path}-{wanted.command}-{gpus}-{vllm}")
        for document in documents()
        for wanted in document.verdict
        for gpus in document.gpus
        for vllm in wanted.vllm
    ]


def checked(path: str, gpus: str, vllm: str) -> Any:
    words = [str(SEEDS / path), "--gpus", gpus, "--vllm", vllm, "--format", "json"]
    result = CliRunner().invoke(check_command, words, standalone_mode=False)
    assert result.exception is None
    (file,) = json.loads(result.stdout)["files"]
    return file


def told(findings: Any) -> list[str]:
    return sorted(finding["rule"] for finding in findings if finding["severity"] != "info")


@pytest.mark.parametrize(("document", "wanted", "gpus", "vllm"), rows())
def test_the_verdict(document: SeedDocument, wanted: Verdict, gpus: str, vllm: str) -> None:
    file = checked(document.path, gpus, vllm)
    assert len(file["commands"]) == document.commands
    command = file["commands"][wanted.command - 1]
    assert (command["verdict"], told(command["findings"])) == (wanted.verdict, sorted(wanted.rules))
    assert wanted.says in " ".join(f"{finding['because']} {finding['error']}" for finding in command["findings"])
    assert told(file["findings"]) == sorted(wanted.clients)


def test_every_command_has_a_verdict_under_the_oldest_and_the_newest_release() -> None:
    for document in documents():
        for vllm in ("0.10.0", "0.33.0"):
            judged = sorted(wanted.command for wanted in document.verdict if vllm in wanted.vllm)
            assert judged == list(range(1, document.commands + 1))


@pytest.mark.parametrize(
    ("path", "block", "cause", "number"),
    [
        ("480b_recipe.md", "ERROR [multiproc", "fp8-block-cut-by-tensor-parallel", "320"),
        ("480b_long_context.md", "Value error", "context-over-native-without-yarn", "1048576"),
    ],
)
def test_the_errors_that_they_quote_are_explained(path: str, block: str, cause: str, number: str) -> None:
    blocks = re.findall(r"^```\w* *\n(.*?)^```", (SEEDS / path).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (text,) = (found for found in blocks if found.startswith(block))
    result = CliRunner().invoke(explain_command, ["--json", "-"], input=text, standalone_mode=False)
    assert result.exception is None
    failure = json.loads(result.stdout)["failure"]
    assert failure["rule"] == cause
    assert number in failure["because"]
