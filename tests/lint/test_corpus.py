"""The corpus: no false alarm, little missed.

``tests/corpus`` holds files as people write them; ``labels.toml`` says what is right about every command in them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import msgspec
import pytest

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.releases import load_release
from qcmatrix.clients.run import with_clients
from qcmatrix.lint.judge import Judged
from qcmatrix.lint.run import FileReport, lint
from qcmatrix.lint.settings import Settings
from qcmatrix.lint.subject import Wishes
from qcmatrix.rules.declare import Severity

CORPUS = Path(__file__).parent.parent / "corpus"


class Labelled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command, and what is right about it."""

    line: int
    rules: tuple[str, ...] = ()
    told: str = ""


class LabelledFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file, and what is right about it."""

    path: str
    commands: tuple[Labelled, ...]
    vllm: str | None = None
    gpus: str | None = None
    own: tuple[str, ...] = ()
    told: str = ""
    beside: tuple[str, ...] = ()


class Score(msgspec.Struct):
    """Counts over the corpus."""

    right: int = 0
    alarms: int = 0
    """Found and not right."""
    missed: int = 0

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.alarms)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)

    def count(self, expected: Iterable[object], found: Iterable[object]) -> None:
        wanted, there = list(expected), list(found)
        for each in tuple(wanted):
            if each in there:
                wanted.remove(each)
                there.remove(each)
                self.right += 1
        self.missed += len(wanted)
        self.alarms += len(there)


def labels() -> tuple[LabelledFile, ...]:
    table = tomllib.loads((CORPUS / "labels.toml").read_text(encoding="utf-8"))
    return msgspec.convert(table["file"], tuple[LabelledFile, ...])


@lru_cache(maxsize=1)
def reports() -> dict[str, FileReport]:
    return {file.path: report_of(file) for file in labels()}


def report_of(file: LabelledFile) -> FileReport:
    wishes = Wishes(
        fleets=parse_fleet(file.gpus) if file.gpus else (), release=load_release(file.vllm) if file.vllm else None
    )
    paths = [str(CORPUS / name) for name in (file.path, *file.beside)]
    return with_clients(paths, tuple(lint(paths, wishes, Settings())), Settings())[0]


def line_of(report: FileReport, judged: Judged) -> int:
    assert report.document is not None
    return report.document.place(judged.subject.command.start)[0]


def rules_of(judged: Judged) -> list[str]:
    shown = [each for each in judged.findings if each.severity is not Severity.INFO]
    if judged.subject.command.expected is not None:
        shown = [each for each in shown if each.rule == "unexpected-verdict"]
    return sorted(each.rule for each in shown)


def differences(file: LabelledFile, report: FileReport, commands: Score, findings: Score) -> Iterator[str]:
    """What is not as the labels say, counted into both scores."""
    found = {line_of(report, judged): judged for judged in report.judged}
    commands.count([each.line for each in file.commands], [line_of(report, judged) for judged in report.judged])
    for line in sorted(found.keys() - {each.line for each in file.commands}):
        findings.count([], rules_of(found[line]))
        yield f"{file.path}:{line}: no command stands here, one was found: {found[line].subject.words[:6]}"
    for each in file.commands:
        if each.line not in found:
            findings.count(each.rules, [])
            yield f"{file.path}:{each.line}: the command was not found"
            continue
        judged = found[each.line]
        findings.count(each.rules, rules_of(judged))
        if rules_of(judged) != sorted(each.rules):
            because = [f"{f.rule}: {f.because}" for f in judged.findings if f.severity is not Severity.INFO]
            yield f"{file.path}:{each.line}: expected {sorted(each.rules)}, found {because}"
        if each.told and not any(each.told in told for told in judged.subject.told):
            yield f"{file.path}:{each.line}: {each.told!r} is not told: {judged.subject.told}"
    own = sorted(finding.rule for finding in report.own)
    findings.count(file.own, own)
    if own != sorted(file.own):
        yield f"{file.path}: expected {sorted(file.own)} of the file, found {own}"
    notes = " ".join(note.text for note in report.document.notes) if report.document is not None else ""
    if file.told not in notes:
        yield f"{file.path}: {file.told!r} is not told: {notes!r}"


def measured() -> tuple[Score, Score, list[str]]:
    commands, findings = Score(), Score()
    told = [text for file in labels() for text in differences(file, reports()[file.path], commands, findings)]
    return commands, findings, told


@pytest.mark.parametrize("file", labels(), ids=lambda file: file.path)
def test_each_file_is_judged_as_it_should_be(file: LabelledFile) -> None:
    assert not list(differences(file, reports()[file.path], Score(), Score()))


def test_no_false_alarm_and_nothing_missed() -> None:
    commands, findings, told = measured()
    assert (commands.precision, commands.recall, findings.precision, findings.recall) == (1, 1, 1, 1), told


def test_the_corpus_is_large_and_mostly_clean() -> None:
    commands = [command for file in labels() for command in file.commands]
    assert len(commands) >= 150
    assert sum(not command.rules for command in commands) * 2 >= len(commands)
    assert sum(bool(command.told) for command in commands) * 10 >= 3 * len(commands)
    kinds = {report.document.kind for report in reports().values() if report.document is not None}
    assert kinds >= {"shell", "markdown", "restructuredtext", "compose", "kubernetes", "dockerfile", "systemd"}


def test_every_file_of_the_corpus_is_labelled() -> None:
    files = {path.relative_to(CORPUS).as_posix() for path in CORPUS.rglob("*") if path.is_file()}
    assert files - {"labels.toml"} == {file.path for file in labels()}
