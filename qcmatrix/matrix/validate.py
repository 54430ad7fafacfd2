"""Does what an entry expects agree with what the rules and the memory model say?"""

from __future__ import annotations

from dataclasses import dataclass

from qcmatrix.answers.check import check
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.releases import load_release
from qcmatrix.errors import UserError
from qcmatrix.launch.shell import split_shell
from qcmatrix.matrix.entries import Entry

__all__ = ["Judged", "judge_entry"]


@dataclass(frozen=True)
class Judged:
    """An entry, what ``check`` says of it, and where the two disagree."""

    entry: Entry
    verdict: str
    rules: tuple[str, ...]
    disagreements: tuple[str, ...]


def judge_entry(entry: Entry) -> Judged:
    """What ``qcmatrix check`` says of ``entry``, before any GPU is touched."""
    try:
        fleets = parse_fleet(entry.fleet)
        if len(fleets) != 1:
            names = ", ".join(str(fleet) for fleet in fleets)
            return Judged(entry, "unknown", (), (f"fleet {entry.fleet} is ambiguous: {names}",))
        command = split_shell(entry.command)
        (checked,) = check(command.argv, release=load_release(entry.vllm), fleets=fleets, env=command.env)
    except UserError as error:
        return Judged(entry, "unknown", (), (error.what, *error.notes))
    verdict = checked.answer.verdict
    rules = tuple(finding.rule for finding in checked.answer.findings)
    problems = []
    if verdict != entry.expect.verdict and not (verdict == "tight" and entry.expect.verdict == "starts"):
        problems.append(f"expected {entry.expect.verdict}, check says {verdict}")
    problems += [f"expected {rule} to speak, it is silent" for rule in entry.expect.rules if rule not in rules]
    if entry.expect.error and not any(entry.expect.error in finding.error for finding in checked.answer.findings):
        problems.append(f"no finding predicts the words {entry.expect.error!r}")
    return Judged(entry, verdict, rules, tuple(problems))
