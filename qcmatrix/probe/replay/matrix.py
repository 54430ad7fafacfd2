"""The matrix: releases x cases for each parser, read from the evidence, and the failures that are known."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from qcmatrix.boundary import read_toml
from qcmatrix.catalogue.releases import release_names
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import PACKAGED, latest, read
from qcmatrix.probe.replay.cases import case_digest, load_cases
from qcmatrix.probe.replay.history import history_digest, load_history
from qcmatrix.probe.replay.judge import CRASH, FAIL, PASS, SHAPE
from qcmatrix.probe.replay.modes import modes_of
from qcmatrix.versions import parse_version

__all__ = ["TEMPLATE", "Cell", "Failure", "Known", "Matrix", "load_known", "load_matrix", "matrix_of"]

TEMPLATE = "chat template"
"""The row that stands for prompts, beside the parsers."""

_WORST = (CRASH, FAIL, SHAPE, "?", PASS)


class Cell(msgspec.Struct, frozen=True):
    """What one release does in one case."""

    modes: str
    """The letters of the modes that were asked; empty where there is only one."""
    letters: str
    """A verdict for each."""
    seen: Mapping[str, str] = {}
    """What was seen, by the modes that saw it."""

    def among(self, modes: str = "") -> str:
        """The verdicts of these modes (of all of them)."""
        pairs = zip(self.modes or self.letters, self.letters, strict=True)
        return "".join(letter for mode, letter in pairs if not modes or mode in modes)

    def worst(self, modes: str = "") -> str | None:
        """The verdict that counts: the worst of these modes (of all of them); ``None``: none of them was asked."""
        found = self.among(modes)
        return next((letter for letter in _WORST if letter in found), None)

    def sight(self, modes: str = "") -> str:
        """What was seen in one of these modes."""
        return next((text for of, text in self.seen.items() if not modes or set(of) & set(modes)), "")


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A failure that is understood: in which releases, and why."""

    parser: str
    case: str
    """The case whose failing releases are exactly ``first`` to ``last``."""
    modes: str = ""
    """Judged by these modes; empty: by all."""
    also: str = ""
    """Further modes that the same reason breaks, though not in each case or not in each of these releases."""
    first: str
    """The first release that fails."""
    last: str
    """The last release that fails."""
    verdicts: str = FAIL + CRASH
    """The verdicts that this is about: by default not the wrong shape of deltas with right values."""
    wrong: str
    """What the release does, in a sentence."""
    covers: tuple[str, ...] = ()
    """Patterns of further cases that fail for the same reason in these releases and modes."""
    urls: tuple[str, ...] = ()
    """Where it was reported or mended upstream."""
    ours: bool = False
    """It is our wish and no defect: the release does as its authors meant it."""

    def speaks_of(self, parser: str, case: str) -> bool:
        """Whether it is about this case."""
        return parser == self.parser and any(fnmatchcase(case, pattern) for pattern in (self.case, *self.covers))

    def holds_in(self, release: str) -> bool:
        """Whether the release is in the range."""
        return parse_version(self.first) <= parse_version(release) <= parse_version(self.last)

    def concerns(self, mode: str, verdict: str) -> bool:
        """Whether it is about this mode (an empty one is any) and this verdict."""
        return verdict in self.verdicts and (not self.modes or not mode or mode in self.modes + self.also)


Failure = tuple[str, str, str, str]
"""Parser, case, mode (empty where there is only one) and release."""


class _KnownFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    known: tuple[Known, ...] = ()


class Matrix(msgspec.Struct, frozen=True):
    """All verdicts: parser, case and release."""

    releases: tuple[str, ...]
    """Those with evidence, in order."""
    cells: Mapping[str, Mapping[str, Mapping[str, Cell]]]
    """Parser, case, release; a case that was asked in another form is left out."""
    same_as: Mapping[str, Mapping[str, str]]
    """Parser and release: the other parser that is the same class there."""
    missing: Mapping[str, Mapping[str, str]]
    """Parser and release: why there is no verdict."""
    times: Mapping[str, Mapping[str, Any]]
    """Parser and release: CPU seconds by the size of a value."""

    def cell(self, parser: str, case: str, release: str) -> Cell | None:
        """The cell, also where the parser is the same as another."""
        parser = self.same_as.get(parser, {}).get(release, parser)
        return self.cells.get(parser, {}).get(case, {}).get(release)

    def failing(self, parser: str, case: str, modes: str = "", verdicts: str = FAIL + CRASH + SHAPE) -> tuple[str, ...]:
        """The releases that fail the case in one of these modes (any) with one of these verdicts."""
        found = ((release, self.cell(parser, case, release)) for release in self.releases)
        return tuple(release for release, cell in found if cell is not None and set(cell.among(modes)) & set(verdicts))

    def ranges(
        self, parser: str, case: str, modes: str = "", verdicts: str = FAIL + CRASH + SHAPE, *, own: bool = False
    ) -> tuple[tuple[str, str], ...]:
        """The failing releases as first and last of each stretch of releases that have a verdict.

        ``own``: releases where the parser is the same class as another are left to the other.
        """
        failing = set(self.failing(parser, case, modes, verdicts))
        shared = self.same_as.get(parser, {}) if own else {}
        stretches: list[list[str]] = []
        before = False
        for release in self.releases:
            if release in shared or self.cell(parser, case, release) is None:
                continue
            now = release in failing
            if now and before:
                stretches[-1].append(release)
            elif now:
                stretches.append([release])
            before = now
        return tuple((stretch[0], stretch[-1]) for stretch in stretches)

    def explained(self, known: Iterable[Known]) -> Iterator[tuple[Failure, tuple[Known, ...]]]:
        """Every failure, and the known ones that explain it."""
        known = tuple(known)
        for parser, of_parser in self.cells.items():
            for case, of_case in of_parser.items():
                # Which entries speak of the case at all is settled once: there are tens of thousands of failures.
                of_this_case = [each for each in known if each.speaks_of(parser, case)]
                for release, cell in of_case.items():
                    now = [each for each in of_this_case if each.holds_in(release)]
                    for mode, letter in zip(cell.modes or " " * len(cell.letters), cell.letters, strict=True):
                        if letter not in (PASS, "?"):
                            reasons = tuple(each for each in now if each.concerns(mode.strip(), letter))
                            yield (parser, case, mode.strip(), release), reasons

    def unexplained(self, known: Iterable[Known]) -> tuple[Failure, ...]:
        """The failures that no known one explains."""
        return tuple(failure for failure, reasons in self.explained(known) if not reasons)


def load_matrix(directory: Path = PACKAGED) -> Matrix:
    """The matrix of the packaged evidence.

    Raises:
        FileProblem: the evidence is broken.
    """
    return matrix_of([*read(directory, part="replay"), *read(directory, part="prompts")])


def matrix_of(records: Iterable[Record]) -> Matrix:
    """The matrix of these records (of the parts ``replay`` and ``prompts``)."""
    cells: dict[str, dict[str, dict[str, Cell]]] = {}
    same_as: dict[str, dict[str, str]] = {}
    missing: dict[str, dict[str, str]] = {}
    times: dict[str, dict[str, Any]] = {}
    digests = {name: case_digest(case) for name, case in load_cases().items()}
    digests |= {name: history_digest(case) for name, case in load_history().items()}
    releases: set[str] = set()
    for record in latest(records):
        releases.add(record.release)
        parser, _, figure = record.subject.partition("/")
        if record.part == "prompts":
            parser = TEMPLATE
        if record.answer is None:
            missing.setdefault(parser, {})[record.release] = record.not_askable or record.error or ""
        elif figure:
            times.setdefault(parser, {})[record.release] = record.answer
        elif "same_as" in record.answer:
            same_as.setdefault(parser, {})[record.release] = record.answer["same_as"]
        else:
            for key, letters in record.answer["verdicts"].items():
                case, _, digest = key.partition("#")
                if digests.get(case) != digest:
                    continue  # another text was asked then
                seen = record.answer["seen"].get(case, {})
                seen = {letters: seen} if isinstance(seen, str) else seen
                modes = "" if parser == TEMPLATE else modes_of(parser, load_cases()[case])
                cells.setdefault(parser, {}).setdefault(case, {})[record.release] = Cell(modes, letters, seen)
    order = [name for name in release_names() if name in releases]
    order += sorted(releases - set(order))
    return Matrix(tuple(order), cells, same_as, missing, times)


@functools.lru_cache(maxsize=1)
def load_known() -> tuple[Known, ...]:
    """The failures that are understood.

    Raises:
        FileProblem: the file is broken (a bug of ours).
    """
    return read_toml(Path(__file__).parent / "known.toml", _KnownFile).known
