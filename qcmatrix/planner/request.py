"""What a user wishes for."""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.errors import RequestError

__all__ = ["Goal", "Request", "parse_context", "spell_context", "spell_count"]

# As vLLM reads them: a lower-case suffix is decimal, an upper-case one binary.
_SUFFIXES = {"": 1, "k": 1_000, "m": 1_000_000, "K": 1 << 10, "M": 1 << 20}
_CONTEXT = re.compile(r"\s*(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<suffix>[kKmM]?)\s*")


class Goal(StrEnum):
    """What the first plan is best at."""

    CONTEXT = "context"
    """The longest context that the memory holds."""
    LATENCY = "latency"
    """The soonest first token, then the fastest tokens, for one request."""
    THROUGHPUT = "throughput"
    """The most tokens a second when the KV cache is full."""
    FEWEST_GPUS = "fewest-gpus"


class Request(msgspec.Struct, frozen=True):
    """One wish for one fleet and one checkpoint."""

    fleet: Fleet
    checkpoint: ResolvedCheckpoint
    release: Release
    context: int | None
    """Tokens; ``None``: the largest that fits within the native positions."""
    goal: Goal
    concurrency: int = 1
    """Requests of the whole context that must fit at once, all engines together."""
    kv_cache_dtype: str | None = None
    """``None``: 16 bit where it fits, FP8 where only that does."""
    gpu_memory_utilization: float | None = None
    """``None``: the release's default."""
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    tools: bool = True
    """Turn tool calling on where the checkpoint has a parser."""


def parse_context(text: str) -> int:
    """Tokens from ``262144``, ``256K`` (x 1024), ``200k`` (x 1000), ``1M`` (x 1048576), as vLLM reads them.

    Raises:
        RequestError: not such a number, or not positive.
    """
    found = _CONTEXT.fullmatch(text)
    if found is None:
        raise RequestError(
            f"--ctx {text!r} is not a number of tokens",
            "write 262144, 256K (K = 1024 tokens), 200k (k = 1000) or 1M (M = 1048576); no unit such as b or tokens",
        )
    value = float(found["number"]) * _SUFFIXES[found["suffix"]]
    if value != int(value):
        raise RequestError(f"--ctx {text!r} is not a whole number of tokens")
    if value < 1:
        raise RequestError(f"--ctx {text!r}: a context of no tokens cannot be served", "ask for at least 1")
    return int(value)


def spell_count(value: float) -> str:
    """``1.5``, ``72.9``, ``1,234``: as many digits as say something."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def spell_context(tokens: int) -> str:
    """``1M``, ``256K`` where that is exact, else the number with thin groups: ``205,728``."""
    for suffix, size in (("M", 1 << 20), ("K", 1 << 10)):
        if tokens >= size and tokens % size == 0:
            return f"{tokens // size}{suffix}"
    return f"{tokens:,}"
