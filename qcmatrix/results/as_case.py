"""A served run as a case of the memory model: one line of the format that :mod:`qcmatrix.memory.accuracy` reads."""

from __future__ import annotations

import re
import shlex
from typing import Any

import msgspec

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.errors import UserError
from qcmatrix.matrix.entries import CPU, TINY
from qcmatrix.memory.accuracy import Case, Outcome
from qcmatrix.results.schema import BootResult, Result

__all__ = ["case_line", "case_of"]

_MEASURED = (
    "model_load_gib",
    "available_kv_gib",
    "kv_cache_tokens",
    "max_concurrency",
    "needed_kv_gib",
    "estimated_max_model_len",
)
"""What a start may have measured, by the names of a case."""
_WHOLE = frozenset({"kv_cache_tokens", "estimated_max_model_len"})
_NO_ROOM = re.compile(r"KV cache is needed|No available memory for the cache blocks", re.IGNORECASE)
_OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemoryError", re.IGNORECASE)


def case_of(result: Result) -> Case | None:
    """What ``result`` measured of memory; ``None``: nothing, or not on a GPU of the catalogue."""
    entry, boot = result.entry, result.boot
    if boot is None or entry.fleet == CPU or entry.model == TINY:
        return None
    outcome = _outcome(boot)
    figures: dict[str, Any] = {name: boot.measured[name] for name in _MEASURED if name in boot.measured}
    if outcome is None or (outcome == "served" and not figures):
        return None
    try:
        (fleet,) = parse_fleet(entry.fleet)
    except (UserError, ValueError):
        return None
    figures |= {name: round(figures[name]) for name in _WHOLE & figures.keys()}
    return Case(
        id=f"{entry.id}-{result.started[:10]}-{result.run[:8]}",
        model=entry.model,
        gpu=fleet.gpu.name,
        gpu_count=fleet.count,
        vllm_version=entry.vllm,
        command=shlex.join(entry.argv),
        outcome=outcome,
        error_text=boot.cause or None,
        confidence="high",
        notes=f"run {result.run} of {entry.id}, {result.started}",
        **figures,
    )


def case_line(result: Result) -> str | None:
    """:func:`case_of` as one line of JSON, without what is not known."""
    case = case_of(result)
    if case is None:
        return None
    known = {name: value for name, value in msgspec.structs.asdict(case).items() if value is not None}
    return msgspec.json.encode(known).decode()


def _outcome(boot: BootResult) -> Outcome | None:
    """``None``: it failed, and not for memory by its own words."""
    if boot.ok:
        return "served"
    if _NO_ROOM.search(boot.cause):
        return "kv_too_small"
    return "oom" if _OUT_OF_MEMORY.search(boot.cause) else None
