"""Paths in, a report per file out. Whatever a file holds, the next one is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import msgspec

from qcmatrix.documents.files import kind_of, read_document, read_text, walk
from qcmatrix.documents.found import Document
from qcmatrix.errors import FileProblem
from qcmatrix.lint.judge import FileFinding, Judged, judge_document
from qcmatrix.lint.settings import Settings
from qcmatrix.lint.subject import Wishes
from qcmatrix.lint.suppress import suppressed
from qcmatrix.rules.declare import Severity

__all__ = ["FileReport", "lint", "lint_text"]

_PINNED = re.compile(r"^[ \t]*vllm(?:\[[^\]]*\])?[ \t]*==[ \t]*v?(\d[\w.+!]*)", re.MULTILINE)


class FileReport(msgspec.Struct, frozen=True):
    """What was found in one file. Either ``document`` or ``problem`` is there."""

    path: str
    document: Document | None
    judged: tuple[Judged, ...] = ()
    own: tuple[FileFinding, ...] = ()
    """Findings about the file itself: its suppressions, and what it tells clients."""
    problem: FileProblem | None = None

    @property
    def fails(self) -> bool:
        """Is there anything that must be mended?"""
        return any(finding.severity is Severity.ERROR for finding in self.own) or any(
            each.fails for each in self.judged
        )


def lint(paths: Iterable[str], wishes: Wishes, settings: Settings) -> Iterator[FileReport]:
    """One report for each file that holds a command, that cannot be read, or that was named itself.

    Raises:
        FileProblem: a path that is not there.
    """
    for path, named in walk(paths):
        if not named and settings.excludes(path):
            continue
        try:
            text = read_text(path)
        except FileProblem as problem:
            if named or kind_of(path) is not None:
                yield FileReport(path, None, problem=problem)
            continue
        if not named and kind_of(path, text) is None:
            continue
        report = lint_text(path, text, wishes, settings)
        if named or report.judged or report.own or (report.document is not None and report.document.notes):
            yield report


def lint_text(path: str, text: str, wishes: Wishes, settings: Settings) -> FileReport:
    """The report of a text that stands, or would stand, in ``path``."""
    document = read_document(path, text)
    judged = tuple(judge_document(document, wishes, _pinned_near(str(Path(path).absolute().parent))))
    judged, own = suppressed(document, judged)
    return FileReport(path, document, tuple(_without_ignored(path, each, settings) for each in judged), own)


def _without_ignored(path: str, judged: Judged, settings: Settings) -> Judged:
    if not settings.ignore:
        return judged
    kept = tuple(
        finding
        for finding in judged.findings
        if not any(ignored.covers(path, finding.rule) for ignored in settings.ignore)
    )
    return msgspec.structs.replace(judged, findings=kept)


@lru_cache(maxsize=4096)
def _pinned_near(folder: str) -> str | None:
    """The release that a requirements file in ``folder`` pins."""
    for path in sorted(Path(folder).glob("requirements*.txt")):
        try:
            found = _PINNED.search(read_text(str(path)))
        except FileProblem:
            continue
        if found is not None:
            return found[1]
    return None
