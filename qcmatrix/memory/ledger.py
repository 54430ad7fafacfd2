"""The words of the memory ledger: intervals, terms and the footprint."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["GIB", "Fit", "Footprint", "Interval", "Term"]

GIB = 1 << 30


class Interval(msgspec.Struct, frozen=True):
    """An estimate: ``low <= mid <= high``."""

    low: float
    mid: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.mid <= self.high:
            raise ValueError(f"not an interval: {self.low}, {self.mid}, {self.high}")

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.mid + other.mid, self.high + other.high)

    @classmethod
    def exact(cls, value: float) -> Interval:
        """An interval of no width."""
        return cls(value, value, value)


class Fit(StrEnum):
    """Does the asked context fit? Never a bare boolean."""

    FITS = "fits"
    TIGHT = "tight"
    """The interval straddles the need."""
    DOES_NOT_FIT = "does-not-fit"


class Term(msgspec.Struct, frozen=True):
    """One line of the ledger, GiB."""

    name: str
    """``weights``, ``activations``, ``non-torch``, ``cuda graphs`` ..."""
    gib: Interval
    in_budget: bool = True
    """``False``: taken from what ``gpu_memory_utilization`` leaves free (CUDA graphs up to about 0.20)."""
    basis: str = ""
    """How it is known: ``exact: vLLM's own parameter shapes``, ``fitted on 12 logs of 0.19``."""


class Footprint(msgspec.Struct, frozen=True):
    """What the deciding GPU (the tightest rank) of a launch holds. GiB = 2^30 bytes.

    ``kv_gib`` is what vLLM prints as "Available KV cache memory"; ``kv_tokens`` is per engine (DP rank);
    ``needed_kv_gib`` is what one request of ``max_model_len`` needs on that GPU.
    """

    usable_gib: float
    budget_gib: float
    weights_bytes: int
    terms: tuple[Term, ...]
    overhead_gib: Interval
    """Sum of the in-budget terms other than the weights."""
    kv_gib: Interval
    kv_bytes_per_token: float
    """Per GPU. For hybrid models: the growth per token, block rounding left out."""
    kv_tokens: Interval
    max_context: Interval
    """Largest ``max_model_len`` that the KV cache holds (memory only: positions are a rule's business)."""
    needed_kv_gib: float
    max_concurrency: Interval
    """Requests of ``max_model_len`` that fit at once, per engine."""
    fit: Fit
    stage: str = ""
    """Which rank decides, where they differ: ``pipeline stage 0``."""
    room_outside_gib: Interval | None = None
    """Free memory left outside the budget after the out-of-budget terms; negative low: may run out."""
