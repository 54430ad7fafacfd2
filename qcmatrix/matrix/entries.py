"""The entries of ``matrix.toml``, validated at the door."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal

import msgspec

from qcmatrix.boundary import read_toml
from qcmatrix.errors import FileProblem

__all__ = ["Entry", "Expectation", "MatrixFile", "Measured", "read_matrix"]


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


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One launch, where it runs, and what is expected of it."""

    id: str
    fleet: str
    vllm: str
    command: str
    expect: Expectation
    source: str
    """Public URL of the document that describes it."""
    read: datetime.date
    """The day it was read there."""
    measured: Measured | None = None
    note: str = ""


class MatrixFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``matrix.toml``."""

    schema: Literal["qcmatrix.matrix/1"]
    entry: tuple[Entry, ...]


def read_matrix(path: Path) -> tuple[Entry, ...]:
    """The entries of ``path``.

    Raises:
        FileProblem: not readable, not of that shape, or with ids that are not unique (all problems listed).
    """
    entries = read_toml(path, MatrixFile).entry
    ids = [entry.id for entry in entries]
    twice = sorted({entry_id for entry_id in ids if ids.count(entry_id) > 1})
    if twice:
        raise FileProblem(f"{path}: ids must be unique", *(f"{entry_id} stands more than once" for entry_id in twice))
    return entries
