"""The records of the rules' cases, judged by today's rules: which releases prove a rule, and which contradict it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

import msgspec

from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import latest
from qcmatrix.evidence.summary import RuleStatus, Summary, as_ranges
from qcmatrix.probe.proof import PART, Asked, Grade, Proof, asked_of, proof_of
from qcmatrix.rules import all_rules
from qcmatrix.rules.cases import case_file
from qcmatrix.rules.declare import Rule

__all__ = ["Cell", "Judged", "Standing", "cells", "judged", "summary_of", "table_of"]


class Standing(StrEnum):
    """Where a rule stands with a release."""

    AGREES = "agrees"
    """A breach has the outcome that the rule foretells."""
    ENDED = "does not hold"
    """The rule does not hold there, and the release accepts what breaks it elsewhere (or refuses it for the reason that
    another rule names)."""
    ALLOWS = "allows"
    """What the rule allows is accepted; no breach could be shown."""
    EXPLAINED = "explained"
    """The release did something else, for a reason that is written down."""
    DISAGREES = "disagrees"
    NOT_ASKABLE = "not askable"
    NOT_ASKED = "not asked"


class Judged(msgspec.Struct, frozen=True):
    """One record and what it says of its rule."""

    record: Record
    asked: Asked
    proof: Proof


class Cell(msgspec.Struct, frozen=True):
    """One rule on one release."""

    standing: Standing
    judged: tuple[Judged, ...] = ()
    why: str = ""


def judged(records: Iterable[Record], release: Release, rules: Mapping[str, Rule] | None = None) -> Iterator[Judged]:
    """The newest record of each case that is still the same question, by rule and case."""
    by_subject = {
        record.subject: record for record in latest(records) if record.part == PART and record.release == release.name
    }
    for asked in asked_of(release, rules):
        record = by_subject.get(asked.subject)
        if record is not None and asked.answered_by(record):
            yield Judged(record, asked, _proof(asked, record))


def _proof(asked: Asked, record: Record) -> Proof:
    if record.answer is None:
        return Proof(Grade.NOT_ASKABLE, record.not_askable or record.error or "")
    return proof_of(asked, record.answer)


def cells(records: Iterable[Record], release: Release) -> dict[str, Cell]:
    """Where every rule stands with ``release``."""
    by_rule: dict[str, list[Judged]] = {}
    for one in judged(records, release):
        by_rule.setdefault(one.asked.rule.id, []).append(one)
    return {rule.id: _cell(rule, release, tuple(by_rule.get(rule.id, ()))) for rule in all_rules()}


def _cell(rule: Rule, release: Release, found: tuple[Judged, ...]) -> Cell:
    reason = case_file(rule.id).not_askable
    if reason:
        return Cell(Standing.NOT_ASKABLE, why=reason)
    for grade, standing in ((Grade.DISAGREE, Standing.DISAGREES), (Grade.EXPLAINED, Standing.EXPLAINED)):
        whys = [f"{one.asked.subject}: {one.proof.why}" for one in found if one.proof.grade is grade]
        if whys:
            return Cell(standing, found, "; ".join(whys))
    agreeing = [one for one in found if one.proof.grade is Grade.AGREE]
    if any(one.proof.breach for one in agreeing):
        return Cell(Standing.AGREES, found)
    if agreeing:
        return Cell(Standing.ALLOWS if release.version in rule.holds else Standing.ENDED, found)
    if found:
        return Cell(Standing.NOT_ASKABLE, found, "; ".join(dict.fromkeys(one.proof.why for one in found)))
    return Cell(Standing.NOT_ASKED)


def summary_of(table: Mapping[str, Mapping[str, Cell]]) -> Summary:
    """The summary of ``table``: release (in order) -> rule -> cell."""
    return Summary({rule.id: _status(rule, table) for rule in all_rules()})


def _status(rule: Rule, table: Mapping[str, Mapping[str, Cell]]) -> RuleStatus:
    def where(standing: Standing) -> tuple[str, ...]:
        return as_ranges(release for release, row in table.items() if row[rule.id].standing is standing)

    found = [one for row in table.values() for one in row[rule.id].judged]
    refused = [one for one in found if one.proof.breach and one.proof.grade is Grade.AGREE and one.asked.refuses]
    last = refused[-1].record if refused else None
    return RuleStatus(
        probed=where(Standing.AGREES),
        ended=where(Standing.ENDED),
        contradicted=where(Standing.DISAGREES),
        date=max((one.record.date for one in found), default=""),
        words=last.answer["error"] if last else "",
        words_of=last.release if last else "",
        not_askable=case_file(rule.id).not_askable,
    )


def table_of(records: Iterable[Record]) -> dict[str, dict[str, Cell]]:
    """Release -> rule -> cell, for the releases that were asked, in order."""
    by_release: dict[str, list[Record]] = {}
    for record in records:
        if record.part == PART:
            by_release.setdefault(record.release, []).append(record)
    return {name: cells(found, load_release(name)) for name, found in by_release.items()}
