"""Which checks an entry is asked, in which order, and under which marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.gpus import all_gpus
from qcmatrix.errors import CatalogueError, UserError
from qcmatrix.matrix.entries import CPU, Entry
from qcmatrix.suites.declare import Check, Mode, Need
from qcmatrix.suites.registry import SUITES, find_checks

__all__ = ["REFUSAL", "Case", "cases_of", "chosen_entries", "gpu_marks", "marks_of"]

REFUSAL = "BOOT-00"
"""Id of the case of an entry that is expected to fail: it does, with the words that are expected."""


class Case(msgspec.Struct, frozen=True):
    """One check in one mode, asked of one entry."""

    entry: Entry
    check: Check | None
    """``None``: the entry must refuse to start."""
    mode: Mode

    @property
    def id(self) -> str:
        """``30b-fp8-1xh200-TC-14.crlf-stream``."""
        return f"{self.entry.id}-{self.check_id}-{self.mode}"

    @property
    def check_id(self) -> str:
        """Id of the check."""
        return REFUSAL if self.check is None else self.check.id

    @property
    def alone(self) -> bool:
        """Must nothing else be asked at the same time?"""
        return self.check is None or Need.ALONE in self.check.needs


def chosen_entries(entries: Iterable[Entry], patterns: Sequence[str]) -> tuple[Entry, ...]:
    """The entries whose ids match one of ``patterns``; all of them without patterns.

    Raises:
        CatalogueError: a pattern matches none.
    """
    entries = tuple(entries)
    if not patterns:
        return entries
    for pattern in patterns:
        if not any(fnmatchcase(entry.id, pattern) for entry in entries):
            from qcmatrix.catalogue.names import closest

            near = closest(pattern, tuple(entry.id for entry in entries))
            raise CatalogueError(
                f"no entry is called {pattern!r}",
                *([f"close: {', '.join(near)}"] if near else []),
                "`qcmatrix matrix` lists them",
            )
    return tuple(entry for entry in entries if any(fnmatchcase(entry.id, pattern) for pattern in patterns))


def cases_of(entry: Entry, wanted: Sequence[str] = ()) -> tuple[Case, ...]:
    """What ``entry`` is asked: its profiles, narrowed to ``wanted`` (profiles, suites or ids of checks).

    Checks that must have the server for themselves come last within their suite's order, so that the others run
    together.

    Raises:
        CatalogueError: a profile that does not exist.
    """
    if not entry.serves:
        return (Case(entry, None, Mode.ONCE),) if not wanted or "boot" in wanted else ()
    own = {check.id: check for name in entry.profiles or SUITES for check in find_checks(name)}
    if wanted:
        narrowed = {check.id for name in wanted for check in find_checks(name)}
        own = {name: check for name, check in own.items() if name in narrowed}
    ordered = sorted(own.values(), key=lambda check: (Need.ALONE in check.needs, SUITES.index(check.suite)))
    return tuple(Case(entry, check, mode) for check in ordered for mode in check.modes)


@lru_cache(maxsize=1)
def gpu_marks() -> dict[str, str]:
    """Every marker that an entry may have for its card -> what it means."""
    marks = {CPU: "served by the CPU build of vLLM, with a tiny checkpoint"}
    for gpu in all_gpus():
        marks[_mark(gpu.name)] = f"served on {gpu.name}"
        marks.setdefault(_mark(_family(gpu.name)), f"served on any {_family(gpu.name)}")
    return marks


def marks_of(entry: Entry) -> tuple[str, ...]:
    """The markers of an entry's card: ``h20_141`` and ``h20``; ``cpu``."""
    if entry.fleet == CPU:
        return (CPU,)
    try:
        names = {fleet.gpu.name for fleet in parse_fleet(entry.fleet)}
    except UserError:
        return ()
    found = {_mark(name) for name in names} | {_mark(_family(name)) for name in names}
    return tuple(sorted(found & gpu_marks().keys()))


def _family(name: str) -> str:
    """``H20`` of ``H20-141``: the card without its variant."""
    return name.partition("-")[0]


def _mark(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
