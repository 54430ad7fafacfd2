"""Mending a file: fix after fix, each judged on the text that it leaves, until none is left that may be applied."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from qcmatrix.errors import UserError
from qcmatrix.lint.edits import applied, edits_for
from qcmatrix.lint.judge import FileFinding, Judged
from qcmatrix.lint.run import FileReport, lint_text
from qcmatrix.lint.settings import Settings
from qcmatrix.lint.subject import Wishes
from qcmatrix.rules.declare import Severity

__all__ = ["Mended", "Mending", "mend"]

_MOST = 60
"""Fixes of one file: more would be a fix that undoes another."""


class Mending(msgspec.Struct, frozen=True):
    """One fix that was applied, in words."""

    rule: str
    text: str
    line: int
    safe: bool


class Mended(msgspec.Struct, frozen=True):
    """A file before and after. ``left`` are fixes that were not applied, and why."""

    path: str
    before: str
    after: str
    done: tuple[Mending, ...]
    left: tuple[str, ...]
    report: FileReport
    """Of the text after."""


def _whatever_matters(_judged: Judged, finding: FileFinding) -> bool:
    return finding.severity is not Severity.INFO


def mend(
    path: str,
    text: str,
    wishes: Wishes,
    settings: Settings,
    *,
    unsafe: bool = False,
    wanted: Callable[[Judged, FileFinding], bool] = _whatever_matters,
) -> Mended:
    """``text`` with every fix that may be applied; with ``unsafe`` also those that change what the server does for its
    clients. ``wanted`` says which findings are to be mended: errors and warnings when it is left out."""
    done: list[Mending] = []
    left: dict[str, None] = {}
    current = text
    report = lint_text(path, current, wishes, settings)
    refused: set[tuple[str, int]] = set()
    while len(done) < _MOST:
        step = _step(report, current, wishes, settings, unsafe, wanted, refused, left)
        if step is None:
            break
        current, mending, report = step
        done.append(mending)
    return Mended(path, text, current, tuple(done), tuple(left), report)


def _step(
    report: FileReport,
    text: str,
    wishes: Wishes,
    settings: Settings,
    unsafe: bool,
    wanted: Callable[[Judged, FileFinding], bool],
    refused: set[tuple[str, int]],
    left: dict[str, None],
) -> tuple[str, Mending, FileReport] | None:
    """The first fix that may be applied, and holds: its finding is gone and nothing worse has come."""
    document = report.document
    if document is None:
        return None
    for index, judged in enumerate(report.judged):
        for finding in judged.findings:
            offer = finding.offer
            if offer is None or not wanted(judged, finding) or (finding.rule, index) in refused:
                continue
            line = document.place(finding.start)[0]
            if not offer.fix.safe and not unsafe:
                left[f"{report.path}:{line}: {finding.rule}: {offer.text} (not safe: --unsafe-fixes applies it)"] = None
                refused.add((finding.rule, index))
                continue
            edits = edits_for(text, judged.subject, offer.fix)
            after = applied(text, edits) if edits else text
            if after == text or not (found := _holds(report.path, after, index, judged, finding, wishes, settings)):
                left[f"{report.path}:{line}: {finding.rule}: {offer.text} (cannot be written there)"] = None
                refused.add((finding.rule, index))
                continue
            return after, Mending(finding.rule, offer.text, line, offer.fix.safe), found
    return None


def _holds(
    path: str,
    after: str,
    index: int,
    before: Judged,
    finding: FileFinding,
    wishes: Wishes,
    settings: Settings,
) -> FileReport | None:
    """The report of the new text, if the finding is gone there and no new error has come."""
    try:
        report = lint_text(path, after, wishes, settings)
    except UserError:
        return None
    if index >= len(report.judged):
        return None
    now = report.judged[index]
    if any(each.rule == finding.rule and each.because == finding.because for each in now.findings):
        return None
    errors = {each.rule for each in before.findings if each.severity is Severity.ERROR}
    if any(each.severity is Severity.ERROR and each.rule not in errors for each in now.findings):
        return None
    return report
