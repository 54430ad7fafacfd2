"""Comments that silence a rule: ``# qcmatrix: ignore[RULE] because ...``.

A comment speaks of the command that it stands in or, failing that, of the next one behind it. It needs a reason, and it
fails when there is nothing to silence: a suppression that outlives its finding hides the next one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from qcmatrix.documents.found import Document
from qcmatrix.lint.judge import FileFinding, Judged
from qcmatrix.rules.declare import Severity

__all__ = ["suppressed"]

_COMMENT = re.compile(
    r"(?:#|//|<!--|\.\.)[ \t]*qcmatrix:[ \t]*ignore(?:\[(?P<rules>[^\]\n]*)\])?[ \t]*:?[ \t]*"
    r"(?P<reason>[^\n]*?)[ \t]*(?:-->)?[ \t]*\r?$",
    re.MULTILINE,
)
_LONGEST = 200  # comments of one file that are looked at


class _Comment(msgspec.Struct):
    start: int
    stop: int
    rules: tuple[str, ...]
    reason: str
    used: set[str]


def suppressed(document: Document, judged: Sequence[Judged]) -> tuple[tuple[Judged, ...], tuple[FileFinding, ...]]:
    """``judged`` without what the document's comments silence, and what is wrong with the comments."""
    comments = [
        _Comment(
            found.start(),
            found.end(),
            tuple(rule.strip() for rule in (found["rules"] or "").split(",") if rule.strip()),
            found["reason"],
            set(),
        )
        for found in list(_COMMENT.finditer(document.text))[:_LONGEST]
    ]
    if not comments:
        return tuple(judged), ()
    commands = [(_first(each), _last(document, each)) for each in judged]
    kept = []
    for each, (first, last) in zip(judged, commands, strict=True):
        silenced = [comment for comment in comments if _target(comment, commands) == (first, last)]
        findings = []
        for finding in each.findings:
            hits = [comment for comment in silenced if finding.rule in comment.rules and comment.reason]
            for comment in hits:
                comment.used.add(finding.rule)
            if not hits:
                findings.append(finding)
        kept.append(msgspec.structs.replace(each, findings=tuple(findings)))
    return tuple(kept), tuple(finding for comment in comments for finding in _faults(comment))


def _target(comment: _Comment, commands: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    return next(((first, last) for first, last in commands if last >= comment.start), None)


def _first(judged: Judged) -> int:
    return judged.subject.command.start


def _last(document: Document, judged: Judged) -> int:
    """The end of the line that the command ends on: a comment behind it is about it."""
    own = [word.stop for word in judged.subject.command.words if word.own]
    end = document.text.find("\n", max(own, default=judged.subject.command.words[-1].stop))
    return len(document.text) if end < 0 else end


def _faults(comment: _Comment) -> list[FileFinding]:
    def fault(rule: str, title: str, because: str) -> FileFinding:
        return FileFinding(rule, Severity.ERROR, title, because, comment.start, comment.stop)

    if not comment.rules:
        return [
            fault("suppression-without-rule", "a suppression that names no rule", "write `qcmatrix: ignore[RULE] why`")
        ]
    if not comment.reason:
        because = f"say why {', '.join(comment.rules)} may be broken here, behind the bracket"
        return [fault("suppression-without-reason", "a suppression without a reason", because)]
    unused = [rule for rule in comment.rules if rule not in comment.used]
    if unused:
        return [fault("suppression-without-use", "a suppression of nothing", f"{', '.join(unused)}: no such finding")]
    return []
