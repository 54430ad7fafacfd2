"""Does what an entry expects agree with what the rules and the memory model say?"""

from __future__ import annotations

from typing import Literal

import msgspec

from qcmatrix.answers.check import check
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint, find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.documents.found import FoundCommand
from qcmatrix.errors import UserError
from qcmatrix.launch.parse import parse
from qcmatrix.launch.shell import split_shell
from qcmatrix.lint.standins import common_findings
from qcmatrix.lint.subject import Subject
from qcmatrix.matrix.entries import CPU, TINY, Entry
from qcmatrix.matrix.tiny import tiny_checkpoint
from qcmatrix.rules.declare import Breach, Outcome, Unknown
from qcmatrix.rules.judge import Finding

__all__ = ["Judged", "MatrixAnswer", "judge_entry", "named_facts"]


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry, what ``check`` says of it, and where the two disagree."""

    entry: Entry
    verdict: str
    """``check``'s. Of an entry for the CPU build ``unknown`` unless a rule speaks against it: its memory is not
    reckoned."""
    rules: tuple[str, ...]
    """That speak."""
    disagreements: tuple[str, ...]
    """Empty: it may be served."""


class MatrixAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``qcmatrix matrix --json`` prints."""

    schema: Literal["qcmatrix.matrix-list/1"] = "qcmatrix.matrix-list/1"
    problems: tuple[str, ...]
    """Of the file as a whole, whichever entries were asked for."""
    entries: tuple[Judged, ...]


def judge_entry(entry: Entry) -> Judged:
    """What ``qcmatrix check`` says of ``entry``, before any GPU is touched."""
    try:
        return _judged_on_cpu(entry) if entry.fleet == CPU else _judged_on_gpus(entry)
    except UserError as error:
        return Judged(entry, "unknown", (), (error.what, *error.notes))


def _judged_on_gpus(entry: Entry) -> Judged:
    fleets = parse_fleet(entry.fleet)
    if len(fleets) != 1:
        names = ", ".join(str(fleet) for fleet in fleets)
        return Judged(entry, "unknown", (), (f"fleet {entry.fleet} is ambiguous: {names}",))
    command = split_shell(entry.command)
    release = load_release(entry.vllm)
    facts = named_facts(entry, parse(command.argv, release, env=command.env).launch.model)
    (checked,) = check(command.argv, release=release, fleets=fleets, checkpoint=facts, env=command.env)
    findings = checked.answer.findings
    verdict = checked.answer.verdict
    unmet = verdict != entry.expect.verdict and not (verdict == "tight" and entry.expect.verdict == "starts")
    return _compared(
        entry, verdict, unmet, tuple(each.rule for each in findings), tuple(each.error for each in findings)
    )


def _judged_on_cpu(entry: Entry) -> Judged:
    """By the rules that look at no card: flags and values of the release, lengths, the model. Nothing is sized."""
    command = split_shell(entry.command)
    release = load_release(entry.vllm)
    parsed = parse(command.argv, release, env=command.env)
    if not parsed.launch.model:
        return Judged(entry, "unknown", (), ("the command names no model",))
    facts = _facts(entry, parsed.launch.model)
    subject = Subject(FoundCommand(()), tuple(command.argv), parsed, release, None, facts, "the entry")
    findings = tuple(finding for finding, _ in common_findings(subject, lambda _: True))
    verdict = _worst(findings)
    if verdict == "unknown" and entry.expect.verdict in ("starts", "wrong"):
        unmet = entry.expect.verdict == "wrong" or any(_is_open(finding) for finding in findings)
    else:
        unmet = verdict != entry.expect.verdict
    rules = tuple(finding.rule.id for finding in findings)
    errors = tuple(each.verdict.error for each in findings if isinstance(each.verdict, Breach))
    return _compared(entry, verdict, unmet, rules, errors)


def _compared(entry: Entry, verdict: str, unmet: bool, rules: tuple[str, ...], errors: tuple[str, ...]) -> Judged:
    problems = [f"expected {entry.expect.verdict}, check says {verdict}"] if unmet else []
    problems += [f"expected {rule} to speak, it is silent" for rule in entry.expect.rules if rule not in rules]
    if entry.expect.error and not any(entry.expect.error in error for error in errors):
        problems.append(f"no finding predicts the words {entry.expect.error!r}")
    if problems:
        problems += [f"{rule} speaks" for rule in rules if rule not in entry.expect.rules]
    return Judged(entry, verdict, rules, tuple(problems))


def _worst(findings: tuple[Finding, ...]) -> str:
    outcomes = {finding.outcome for finding in findings if finding.stops}
    if Outcome.REFUSES_TO_START in outcomes:
        return "refused"
    return "wrong" if outcomes else "unknown"


def _is_open(finding: Finding) -> bool:
    return isinstance(finding.verdict, Unknown) and finding.verdict.decides


def named_facts(entry: Entry, model: str) -> ResolvedCheckpoint | None:
    """Of the checkpoint that the entry names besides ``model``, its command's; ``None``: it names none."""
    return _facts(entry, model) if entry.checkpoint or TINY in split_shell(entry.command).argv else None


def _facts(entry: Entry, model: str) -> ResolvedCheckpoint:
    name = entry.checkpoint or model
    return tiny_checkpoint() if name == TINY else find_checkpoint(name)
