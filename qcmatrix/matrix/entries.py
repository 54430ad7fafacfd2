"""The entries of ``matrix.toml``, validated at the door."""

from __future__ import annotations

import datetime
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec

from qcmatrix.boundary import read_toml
from qcmatrix.errors import FileProblem, UserError
from qcmatrix.versions import Range, parse_version

__all__ = [
    "CPU",
    "TINY",
    "Budget",
    "Defaults",
    "Entry",
    "Expectation",
    "ExpectedFailure",
    "Matrix",
    "Measured",
    "read_matrix",
]

CPU = "cpu"
"""The fleet of an entry that vLLM's CPU build serves."""

TINY = "tiny"
"""The model of such an entry: the checkpoint that :mod:`qcmatrix.serving.tiny` makes."""

_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,79}")


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the launch is expected to do; a launch that is expected to fail is a test like any other."""

    verdict: Literal["starts", "does-not-fit", "refused", "wrong"]
    rules: tuple[str, ...] = ()
    """Ids of the rules that must speak (errors, warnings and notes)."""
    error: str = ""
    """Words that vLLM must print when it is expected to fail."""


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Reference figures from the entry's source; what a served run is compared with."""

    available_kv_gib: float | None = None
    kv_cache_tokens: int | None = None
    ttft_median_ms: float | None = None
    tpot_median_ms: float | None = None
    output_tokens_per_second: float | None = None
    workload: str = ""
    """What the latency figures were measured with."""


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The most that a latency may be on one kind of card; without one for a card nothing is gated there."""

    gpu: str
    """Name in the catalogue: ``H200``."""
    workload: str
    """Id of the check: ``LAT-01``."""
    metric: Literal["ttft_ms", "tpot_ms", "itl_ms", "e2el_ms", "ttftc_ms", "arg_gap_ms"]
    quantile: Literal["p50", "p90", "p95", "p99"]
    most: float
    """Milliseconds."""
    source: str = ""
    """Where the figure comes from."""
    entries: tuple[str, ...] = ()
    """Among the defaults: only for entries whose ids match one of these patterns; empty: for all."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is a budget of: no entry has two of the same."""
        return self.gpu, self.workload, self.metric, self.quantile


class ExpectedFailure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A check that is known to fail; strict: when it passes, this has to go."""

    check: str
    """Id, or a pattern of ids (``TC-09.*``)."""
    modes: tuple[Literal["whole", "stream", "once"], ...] = ()
    """Only so; empty: in all modes."""
    entries: tuple[str, ...] = ()
    """Patterns of entry ids; empty: all."""
    low: str | None = None
    """First release that fails; left out: all before ``high``."""
    high: str | None = None
    """First release that does not; left out: none is known."""
    reason: str
    issue: str
    """Public URL of the defect."""
    expires: datetime.date
    """From that day on it is not believed any more, and somebody has to look again."""

    def covers(self, check: str, mode: str, entry: str, release: str) -> bool:
        """Is this failure expected? An expired one is still recognised: :attr:`expires` is for the caller."""
        return (
            fnmatchcase(check, self.check)
            and (not self.modes or mode in self.modes)
            and (not self.entries or any(fnmatchcase(entry, pattern) for pattern in self.entries))
            and parse_version(release) in Range(self.low, self.high)
        )


class Defaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an entry has that does not say otherwise."""

    profiles: tuple[str, ...] = ()
    """Suites, profiles or checks."""
    cpu_profiles: tuple[str, ...] | None = None
    """Of the entries for the CPU build; ``None``: the same."""
    boot_seconds: float = 3600.0
    budgets: tuple[Budget, ...] = ()


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One launch, where it runs, and what is expected of it."""

    id: str
    fleet: str
    """``8xH200``; ``cpu``: the CPU build of vLLM."""
    vllm: str
    command: str
    expect: Expectation
    source: str
    """Public URL of the document that describes it."""
    read: datetime.date
    """The day it was read there."""
    checkpoint: str = ""
    """Name in the catalogue, where the command names a path; empty: what the command names."""
    image: str = ""
    """Docker image that serves it; empty: an installed vLLM."""
    weights: Literal["real", "random"] = "real"
    """``random`` (``--load-format dummy``, the tiny checkpoint): what a model does by itself is not asked."""
    profiles: tuple[str, ...] | None = None
    """Suites or profiles that it must pass; ``None``: the defaults'."""
    boot_seconds: float | None = None
    """The longest that it may take from start to ready; ``None``: the defaults'."""
    nightly: bool = False
    """Served only when it is named, or with ``--nightly``: it costs more than it tells a developer."""
    budgets: tuple[Budget, ...] = ()
    """Besides those of the defaults; one for the same card, check, metric and quantile replaces that one."""
    twin: str = ""
    """Of a YaRN entry: the entry of the same launch without it."""
    measured: Measured | None = None
    note: str = ""

    @property
    def serves(self) -> bool:
        """Is it expected to start, so that suites can be asked of it?"""
        return self.expect.verdict in ("starts", "wrong")


class Matrix(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``matrix.toml``."""

    schema: Literal["qcmatrix.matrix/1"]
    entry: tuple[Entry, ...]
    defaults: Defaults = Defaults()
    expected_failure: tuple[ExpectedFailure, ...] = ()


def read_matrix(path: Path) -> Matrix:
    """``path``, with the defaults written into each entry.

    Raises:
        FileProblem: not there, not readable, not of that shape, or contradicting itself (all problems listed).
    """
    if not path.exists():
        raise FileProblem(f"{path}: no such file", "run it in a checkout that has one, or name another")
    matrix = read_toml(path, Matrix)
    problems = _problems(matrix)
    if problems:
        raise FileProblem(f"{path}: not what it should be", *problems)
    return msgspec.structs.replace(matrix, entry=tuple(_filled(entry, matrix.defaults) for entry in matrix.entry))


def _filled(entry: Entry, defaults: Defaults) -> Entry:
    profiles = defaults.profiles
    if entry.fleet == CPU and defaults.cpu_profiles is not None:
        profiles = defaults.cpu_profiles
    own = {budget.key for budget in entry.budgets}
    kept = tuple(
        budget
        for budget in defaults.budgets
        if budget.key not in own
        and (not budget.entries or any(fnmatchcase(entry.id, pattern) for pattern in budget.entries))
    )
    return msgspec.structs.replace(
        entry,
        profiles=profiles if entry.profiles is None else entry.profiles,
        boot_seconds=defaults.boot_seconds if entry.boot_seconds is None else entry.boot_seconds,
        budgets=() if entry.fleet == CPU else (*kept, *entry.budgets),
    )


def _problems(matrix: Matrix) -> list[str]:
    ids = [entry.id for entry in matrix.entry]
    found = [f"{each} stands more than once" for each in sorted({each for each in ids if ids.count(each) > 1})]
    for entry in matrix.entry:
        if not _ID.fullmatch(entry.id):
            found.append(f"{entry.id}: an id has lower-case letters, digits, `.` and `-`")
        if entry.twin and entry.twin not in ids:
            found.append(f"{entry.id}: its twin {entry.twin} is not there")
        if entry.fleet == CPU and entry.image:
            found.append(f"{entry.id}: an entry for the CPU build has no image")
        found += _version_problems(entry.id, entry.vllm)
    for failure in matrix.expected_failure:
        name = f"expected_failure {failure.check}"
        for bound in (failure.low, failure.high):
            found += _version_problems(name, bound) if bound else []
        if not failure.issue.startswith("https://"):
            found.append(f"{name}: issue must be a public URL, not {failure.issue!r}")
        if failure.entries and not any(fnmatchcase(each, pattern) for pattern in failure.entries for each in ids):
            found.append(f"{name}: no entry is called {', '.join(failure.entries)}")
    return found


def _version_problems(where: str, text: str) -> list[str]:
    try:
        parse_version(text)
    except UserError as error:
        return [f"{where}: {error.what}"]
    return []
