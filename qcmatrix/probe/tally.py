"""The records of one part and release, judged: what agrees, what does not."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from qcmatrix.catalogue.releases import Release
from qcmatrix.evidence.records import Record
from qcmatrix.probe.graded import Graded, Mark
from qcmatrix.probe.proof import Asked, Grade
from qcmatrix.probe.status import judged
from qcmatrix.rules.declare import Breach, Rule

__all__ = ["graded", "rules_graded"]

_Judge = Callable[[Iterable[Record], Release], Iterable[Graded]]

_MARKS = {
    Grade.AGREE: Mark.AGREE,
    Grade.DISAGREE: Mark.DISAGREE,
    Grade.EXPLAINED: Mark.EXPLAINED,
    Grade.MASKED: Mark.NOT_ASKABLE,
    Grade.NOT_ASKABLE: Mark.NOT_ASKABLE,
}


def graded(part: str, records: Iterable[Record], release: Release) -> tuple[Graded, ...] | None:
    """``records`` (the newest of each subject, all of ``part`` and ``release``) judged by today's rules and figures.

    ``None``: the part has nothing to hold them against.
    """
    if part == "rules":
        return tuple(rules_graded(records, release))
    if part == "draws":
        return tuple(each for record in records for each in _draws_graded(record))
    judge = cast("_Judge | None", getattr(importlib.import_module(f"qcmatrix.probe.parts.{part}"), "graded", None))
    return None if judge is None else tuple(judge(records, release))


def rules_graded(
    records: Iterable[Record], release: Release, rules: Mapping[str, Rule] | None = None
) -> Iterator[Graded]:
    """The rules' cases (of ``rules``; ``None``: all)."""
    for one in judged(records, release, rules):
        yield Graded(
            subject=one.asked.subject,
            mark=Mark.FAILED if one.record.error is not None else _MARKS[one.proof.grade],
            question=f"{one.asked.case.command} (on {one.asked.case.gpus})",
            ours=_ours(one.asked, release),
            said=_said(one.record),
            why="" if one.record.answer is None else one.proof.why,
        )


def _ours(asked: Asked, release: Release) -> str:
    if release.version not in asked.rule.holds:
        return f"does not hold here (it holds for {asked.rule.holds})"
    if not isinstance(asked.verdict, Breach):
        return "no breach"
    outcome = asked.verdict.outcome or asked.rule.outcome
    words = f" ({asked.verdict.error!r})" if asked.refuses and asked.verdict.error else ""
    return f"{outcome}{words}: {asked.verdict.because}"


def _said(record: Record) -> str:
    """What the release did, from what a record keeps."""
    if record.not_askable is not None:
        return f"could not be asked: {record.not_askable}"
    if record.error is not None:
        return f"the question failed: {record.error}"
    answer = record.answer
    if not isinstance(answer, Mapping):
        return str(answer)
    if "error" in answer:
        return f"refused ({answer.get('stage', '?')}): {answer['error']}"
    shown = {**answer.get("resolved", {})}
    changes = answer.get("changes")
    told = [f"{name} is {value}" for name, value in shown.items()]
    if changes is not None:
        told.append(f"without it {len(changes)} values differ" if changes else "without it nothing differs")
    return "accepted" + (f": {', '.join(told)}" if told else "")


def _draws_graded(record: Record) -> Iterator[Graded]:
    if not isinstance(record.answer, Mapping):
        mark = Mark.NOT_ASKABLE if record.error is None else Mark.FAILED
        yield Graded(subject=record.subject, mark=mark, why=record.error or record.not_askable or "")
        return
    answer: Mapping[str, Any] = record.answer
    if answer["agreed"]:
        yield Graded(subject=record.subject, mark=Mark.AGREE, count=answer["agreed"])
    for mark, key in ((Mark.EXPLAINED, "explained"), (Mark.NOT_ASKABLE, "unknown"), (Mark.NOT_ASKABLE, "not askable")):
        for why, count in answer.get(key, {}).items():
            yield Graded(subject=record.subject, mark=mark, count=count, why=why)
    for found in answer.get("disagreements", ()):
        yield Graded(
            subject=record.subject,
            mark=Mark.DISAGREE,
            count=found["launches"],
            said=found.get("error") or "accepted",
            why=f"{found['why']}: {_launch(found)}",
        )


def _launch(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in found.items() if key not in ("launches", "why", "error"))
