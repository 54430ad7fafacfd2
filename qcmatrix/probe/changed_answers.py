"""What two releases answered differently when they were asked the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from qcmatrix.answers.schema import ChangeAnswer, ImpactName
from qcmatrix.catalogue.releases import Release
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import PACKAGED, latest, read

__all__ = ["Asked", "Said", "asked_changes", "asked_of", "said_by"]

_PARTS = {"weights": "weights-moved", "kv": "kv-moved", "prompts": "answer-moved"}
"""Parts whose answers are figures or texts: another answer is a change. Those of ``surface`` are compared as surfaces,
those of ``rules`` and ``draws`` by whether they contradict us."""
_IMPACTS: dict[str, ImpactName] = {"case-changed": "differs", "case-broken": "breaks", "case-fixed": "new"}
_TIMED = "/time"
_MANY_TIMES = 8
_LETTERS = {"p": "passes", "f": "fails", "c": "crashes", "?": "was not asked"}


class Said(msgspec.Struct, frozen=True):
    """What one release did."""

    release: str
    records: Mapping[tuple[str, str], Record] = msgspec.field(default_factory=dict)
    """The newest of each part and subject."""
    contradicted: Mapping[str, str] | None = None
    """Rules that it contradicts -> how; ``None``: its cases were not asked."""

    @property
    def parts(self) -> frozenset[str]:
        """What was asked about."""
        return frozenset(part for part, _ in self.records)


class Asked(msgspec.Struct, frozen=True):
    """What two releases did."""

    before: Said
    after: Said


def asked_of(before: Release, after: Release, *directories: Path) -> Asked:
    """The evidence of two releases, in ``directories`` (the packaged one where none is given).

    Raises:
        FileProblem: an evidence file that cannot be read.
    """
    return Asked(said_by(before, *directories), said_by(after, *directories))


def said_by(release: Release, *directories: Path) -> Said:
    """The evidence of one release; empty where it was never asked. Of two answers the later counts.

    Raises:
        FileProblem: an evidence file that cannot be read.
    """
    from qcmatrix.probe.contradictions import contradicted_rules  # judges every case: only where it is wanted

    records: dict[tuple[str, str], Record] = {}
    for directory in directories or (PACKAGED,):
        for record in latest(read(directory, release.name)):
            known = records.get((record.part, record.subject))
            if known is None or known.date <= record.date:
                records[record.part, record.subject] = record
    return Said(release.name, records, contradicted_rules(release, records.values()))


def asked_changes(asked: Asked) -> tuple[list[ChangeAnswer], tuple[str, ...]]:
    """The changes, and what could not be compared because one of the two was not asked, in words."""
    found = [*_contradicted(asked), *_replayed(asked), *_moved(asked)]
    parts = sorted({*_PARTS, "replay", "rules"})
    missing = []
    for said in (asked.before, asked.after):
        absent = [part for part in parts if part not in said.parts]
        if len(absent) == len(parts):
            missing.append(f"vLLM {said.release} was not asked anything: no evidence")
        elif absent:
            missing.append(f"vLLM {said.release} was not asked about {', '.join(absent)}")
    return found, tuple(missing)


def _contradicted(asked: Asked) -> Iterator[ChangeAnswer]:
    before, after = asked.before.contradicted or {}, asked.after.contradicted or {}
    for rule, how in after.items():
        if rule not in before:
            yield ChangeAnswer("breaks", "rule-contradicted", rule, how, None, how)
    if asked.after.contradicted is not None:
        for rule, how in before.items():
            if rule not in after:
                yield ChangeAnswer("new", "rule-agrees", rule, "", how, None)


def _replayed(asked: Asked) -> Iterator[ChangeAnswer]:
    for parser, was, now in _both(asked, "replay"):
        if parser.endswith(_TIMED):
            yield from _slower(parser.removesuffix(_TIMED), was.answer, now.answer)
            continue
        had, has = _cases(asked.before, parser), _cases(asked.after, parser)
        for case in had.keys() & has.keys():  # a case that was put otherwise has another digest behind its name
            if had[case] == has[case]:
                continue
            name = f"{parser}: {case.partition('#')[0]}"
            text = f"{_modes(had[case])} -> {_modes(has[case])}"
            better, worse = _compared(had[case], has[case])
            kind = "case-changed" if better == worse else "case-broken" if worse else "case-fixed"
            yield ChangeAnswer(_IMPACTS[kind], kind, name, text, had[case], has[case])


def _cases(said: Said, parser: str) -> Mapping[str, str]:
    """Case -> one letter for each way of feeding the parser; empty where the parser was not fed."""
    for _ in range(2):
        record = said.records.get(("replay", parser))
        answer = record.answer if record is not None else None
        if not isinstance(answer, dict):
            break
        if "same_as" not in answer:
            return dict(answer.get("verdicts", {}))
        parser = answer["same_as"]  # two names of one class
    return {}


def _slower(parser: str, was: Any, now: Any) -> Iterator[ChangeAnswer]:
    """Where feeding one long value piece by piece takes many times longer or shorter: seconds are the machine's too."""
    had, has = _longest(was), _longest(now)
    if had and has and not 1 / _MANY_TIMES < has / had < _MANY_TIMES:
        kind = "case-broken" if has > had else "case-fixed"
        text = f"{had:g} s -> {has:g} s"
        yield ChangeAnswer(_IMPACTS[kind], kind, f"{parser}: time for a long value", text, had, has)


def _longest(measured: Any) -> float | None:
    """Seconds for the longest value, streamed; ``None`` where it was not measured."""
    if not isinstance(measured, dict):
        return None
    of_longest = measured.get(max(measured, key=int, default=""))
    seconds = of_longest.get("streamed") if isinstance(of_longest, dict) else None
    return seconds if isinstance(seconds, float) else None


def _compared(had: str, has: str) -> tuple[bool, bool]:
    """Does some way of feeding pass that did not, and does some pass no more?"""
    pairs = list(zip(had, has, strict=False))
    return any(b == "p" != a for a, b in pairs), any(a == "p" != b for a, b in pairs)


def _modes(letters: str) -> str:
    """``passes``, or ``passes 3 of 5, fails 2``."""
    counts = {_LETTERS.get(letter, letter): letters.count(letter) for letter in dict.fromkeys(letters)}
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{word} {count} of {len(letters)}" for word, count in counts.items())


def _moved(asked: Asked) -> Iterator[ChangeAnswer]:
    for part, kind in _PARTS.items():
        for subject, was, now in _both(asked, part):
            if was.question != now.question or (said := _said(was)) == (says := _said(now)):
                continue
            where, old, new = _first_difference(said, says)
            text = f"{where + ': ' if where else ''}{_short(old)} -> {_short(new)}"
            yield ChangeAnswer("differs", kind, subject, text, said, says)


def _both(asked: Asked, part: str) -> Iterator[tuple[str, Record, Record]]:
    for (of, subject), now in asked.after.records.items():
        was = asked.before.records.get((of, subject))
        if of == part and was is not None:
            yield subject, was, now


def _said(record: Record) -> Any:
    if record.error is not None:
        return f"refused: {record.error}"
    if record.not_askable is not None:
        return "cannot be asked"
    return record.answer


def _first_difference(was: Any, now: Any, where: str = "") -> tuple[str, Any, Any]:
    """The first place where two answers differ, and what stands there."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in (*was, *(key for key in now if key not in was)):
            if was.get(key) != now.get(key):
                return _first_difference(was.get(key), now.get(key), f"{where}.{key}" if where else str(key))
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, (one, other) in enumerate(zip(was, now, strict=True)):
            if one != other:
                return _first_difference(one, other, f"{where}[{index}]")
    return where, was, now


def _short(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
