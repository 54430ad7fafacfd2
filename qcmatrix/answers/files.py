"""The answer to ``qcmatrix check FILE ...``: the published form, SARIF, and GitHub's annotations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from qcmatrix import __version__
from qcmatrix.answers.schema import SeverityName, VerdictName
from qcmatrix.documents.found import Document
from qcmatrix.launch.secrets import redact_argv, scrub, secret_values
from qcmatrix.lint.edits import edits_for
from qcmatrix.lint.judge import FileFinding, Judged
from qcmatrix.lint.run import FileReport

__all__ = ["FILES_SCHEMA", "FilesAnswer", "files_answer", "github_annotations", "sarif"]

FILES_SCHEMA: Final = "qcmatrix.check-files/1"
_SARIF_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_GITHUB_LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines and columns count from 1, columns in characters; the end column is the one behind the last character."""

    line: int
    column: int
    end_line: int
    end_column: int


class EditAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One replacement."""

    region: Region
    text: str


class FixAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What mends a finding. ``edits`` is ``null`` where the words cannot be written in the file."""

    text: str
    safe: bool
    edits: tuple[EditAnswer, ...] | None


class FileFindingAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One finding."""

    rule: str
    severity: SeverityName
    region: Region
    title: str
    because: str
    error: str
    known: str
    certain: bool
    fix: FixAnswer | None


class CommandAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command on one fleet."""

    region: Region
    argv: tuple[str, ...]
    release: str
    release_from: str
    fleet: str | None
    model: str | None
    verdict: VerdictName | None
    expected: str | None
    told: tuple[str, ...]
    findings: tuple[FileFindingAnswer, ...]


class FileAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file."""

    path: str
    kind: str | None
    problem: str | None
    notes: tuple[str, ...]
    findings: tuple[FileFindingAnswer, ...]
    """About the file itself: its suppressions."""
    commands: tuple[CommandAnswer, ...]


class FilesAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``qcmatrix check --json FILE ...`` prints."""

    schema: Literal["qcmatrix.check-files/1"]
    files: tuple[FileAnswer, ...]


def files_answer(reports: Iterable[FileReport]) -> FilesAnswer:
    """The published form of ``reports``."""
    return FilesAnswer(FILES_SCHEMA, tuple(map(_file, reports)))


def _file(report: FileReport) -> FileAnswer:
    document = report.document
    if document is None:
        problem = report.problem
        text = None if problem is None else "; ".join((problem.what, *problem.notes))
        return FileAnswer(report.path, None, text, (), (), ())
    return FileAnswer(
        path=report.path,
        kind=document.kind,
        problem=None,
        notes=tuple(f"{document.place(note.start)[0]}: {note.text}" for note in document.notes),
        findings=tuple(_finding(document, None, finding) for finding in report.own),
        commands=tuple(_command(document, judged) for judged in report.judged),
    )


def _command(document: Document, judged: Judged) -> CommandAnswer:
    subject = judged.subject
    own = [word for word in subject.command.words if word.own] or list(subject.command.words)
    model = subject.checkpoint.repository if subject.checkpoint is not None else None
    return CommandAnswer(
        region=_region(document, own[0].start, max(word.stop for word in own)),
        argv=redact_argv(subject.words),
        release=subject.release.name,
        release_from=subject.release_from,
        fleet=None if subject.fleet is None else str(subject.fleet),
        model=model,
        verdict=None if judged.verdict is None else judged.verdict.value,
        expected=subject.command.expected,
        told=subject.told,
        findings=tuple(_finding(document, judged, finding) for finding in judged.findings),
    )


def _finding(document: Document, judged: Judged | None, finding: FileFinding) -> FileFindingAnswer:
    secrets = frozenset[str]() if judged is None else secret_values(judged.subject.words)
    fix = None
    if finding.offer is not None and judged is not None:
        edits = edits_for(document.text, judged.subject, finding.offer.fix)
        fix = FixAnswer(
            scrub(finding.offer.text, secrets),
            finding.offer.fix.safe,
            None
            if edits is None
            else tuple(EditAnswer(_region(document, edit.start, edit.stop), edit.text) for edit in edits),
        )
    return FileFindingAnswer(
        rule=finding.rule,
        severity=finding.severity.value,
        region=_region(document, finding.start, finding.stop),
        title=finding.title,
        because=scrub(finding.because, secrets),
        error=scrub(finding.error, secrets),
        known=finding.known,
        certain=finding.certain,
        fix=fix,
    )


def _region(document: Document, start: int, stop: int) -> Region:
    line, column = document.place(start)
    end_line, end_column = document.place(max(start, stop))
    return Region(line, column, end_line, end_column)


def _shown(answer: FilesAnswer) -> Iterator[tuple[FileAnswer, FileFindingAnswer]]:
    for file in answer.files:
        for finding in file.findings:
            yield file, finding
        for command in file.commands:
            # an entry that is meant to fail is no finding; only that it does not is one
            shown = command.findings if command.expected is None else _unexpected(command.findings)
            for finding in shown:
                yield file, finding


def _unexpected(findings: Sequence[FileFindingAnswer]) -> tuple[FileFindingAnswer, ...]:
    return tuple(finding for finding in findings if finding.rule == "unexpected-verdict")


def github_annotations(answer: FilesAnswer) -> Iterator[str]:
    """GitHub's workflow commands, errors and warnings only.

    https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions (2026-11-22)
    """
    for file in answer.files:
        if file.problem is not None:
            yield f"::error file={_property(file.path)}::{_data(file.problem)}"
    for file, finding in _shown(answer):
        if finding.severity == "info":
            continue
        region = finding.region
        text = finding.because + (f"\nfix: {finding.fix.text}" if finding.fix is not None else "")
        yield (
            f"::{_GITHUB_LEVELS[finding.severity]} file={_property(file.path)},line={region.line},"
            f"endLine={region.end_line},col={region.column},endColumn={region.end_column},"
            f"title={_property(f'{finding.rule}: {finding.title}')}::{_data(text)}"
        )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def sarif(answer: FilesAnswer) -> dict[str, Any]:
    """SARIF 2.1.0, https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html (2026-11-22)."""
    shown = list(_shown(answer))
    ids = sorted({finding.rule for _, finding in shown})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "qcmatrix",
                        "version": __version__,
                        "informationUri": "https://github.com/qcmatrix/qcmatrix",
                        "rules": [_sarif_rule(rule, shown) for rule in ids],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(file, finding, ids) for file, finding in shown],
                "invocations": [
                    {
                        "executionSuccessful": all(file.problem is None for file in answer.files),
                        "toolExecutionNotifications": [
                            {"level": "error", "message": {"text": file.problem}, "locations": [_location(file.path)]}
                            for file in answer.files
                            if file.problem is not None
                        ],
                    }
                ],
            }
        ],
    }


def _sarif_rule(rule: str, shown: Sequence[tuple[FileAnswer, FileFindingAnswer]]) -> dict[str, Any]:
    title = next(finding.title for _, finding in shown if finding.rule == rule)
    return {"id": rule, "shortDescription": {"text": title}, "help": {"text": f"qcmatrix rule {rule}"}}


def _result(file: FileAnswer, finding: FileFindingAnswer, ids: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": ids.index(finding.rule),
        "level": _SARIF_LEVELS[finding.severity],
        "message": {"text": finding.because + (f" (vLLM: {finding.error})" if finding.error else "")},
        "locations": [_location(file.path, finding.region)],
    }
    if finding.fix is not None and finding.fix.edits:
        found["fixes"] = [
            {
                "description": {"text": finding.fix.text},
                "artifactChanges": [
                    {
                        "artifactLocation": {"uri": _uri(file.path)},
                        "replacements": [
                            {"deletedRegion": _sarif_region(edit.region), "insertedContent": {"text": edit.text}}
                            for edit in finding.fix.edits
                        ],
                    }
                ],
            }
        ]
    return found


def _location(path: str, region: Region | None = None) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(path)}}
    if region is not None:
        physical["region"] = _sarif_region(region)
    return {"physicalLocation": physical}


def _sarif_region(region: Region) -> dict[str, int]:
    return {
        "startLine": region.line,
        "startColumn": region.column,
        "endLine": region.end_line,
        "endColumn": region.end_column,
    }


def _uri(path: str) -> str:
    from pathlib import PurePath
    from urllib.parse import quote

    return quote(PurePath(path).as_posix())
