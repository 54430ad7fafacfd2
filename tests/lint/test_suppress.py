"""Comments that silence a rule need a reason, and something to silence."""

from __future__ import annotations

import pytest

from qcmatrix.catalogue.releases import load_release
from qcmatrix.lint.run import FileReport, lint_text
from qcmatrix.lint.settings import Ignored, Settings
from qcmatrix.lint.subject import Wishes

COMMAND = "vllm serve 480b --swap-space 16"


def report(text: str, path: str = "a.sh", settings: Settings | None = None) -> FileReport:
    return lint_text(path, text, Wishes(release=load_release("0.33.0")), settings or Settings())


def errors(found: FileReport) -> set[str]:
    return {finding.rule for judged in found.judged for finding in judged.findings if finding.severity == "error"}


def test_without_a_comment_it_fails() -> None:
    assert "removed-flag" in errors(report(COMMAND))


@pytest.mark.parametrize(
    "text",
    [
        f"# qcmatrix: ignore[removed-flag] pinned image\n{COMMAND}",
        f"{COMMAND} # qcmatrix: ignore[removed-flag] pinned image",
        f"# qcmatrix: ignore[removed-flag]: pinned image\n\n{COMMAND}",
    ],
)
def test_a_comment_with_a_reason_silences(text: str) -> None:
    found = report(text)
    assert not errors(found)
    assert not found.own


def test_a_comment_of_markdown() -> None:
    found = report(f"<!-- qcmatrix: ignore[removed-flag] old guide -->\n```\n{COMMAND}\n```\n", "a.md")
    assert not errors(found)
    assert not found.own


@pytest.mark.parametrize(
    ("comment", "fault"),
    [
        ("# qcmatrix: ignore[removed-flag]", "suppression-without-reason"),
        ("# qcmatrix: ignore because I say so", "suppression-without-rule"),
        ("# qcmatrix: ignore[fp8-block-cut-by-tensor-parallel] why", "suppression-without-use"),
    ],
)
def test_a_comment_that_silences_nothing_fails(comment: str, fault: str) -> None:
    found = report(f"{comment}\n{COMMAND}")
    assert [finding.rule for finding in found.own] == [fault]
    assert found.fails
    assert "removed-flag" in errors(found)


def test_a_comment_is_for_one_command() -> None:
    found = report(f"# qcmatrix: ignore[removed-flag] pinned\n{COMMAND}\n{COMMAND}")
    first, second = found.judged
    assert not any(finding.rule == "removed-flag" for finding in first.findings)
    assert any(finding.rule == "removed-flag" for finding in second.findings)


def test_settings_silence_with_a_reason() -> None:
    settings = Settings(ignore=(Ignored("removed-flag", "pinned", ("docs/*",)),))
    assert not errors(report(COMMAND, "docs/a.sh", settings))
    assert errors(report(COMMAND, "src/a.sh", settings))
