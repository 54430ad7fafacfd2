"""The result of one run of one entry, ``qcmatrix.result/1``."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

__all__ = ["BootResult", "CaseResult", "Host", "ProfileSummary", "Result", "ResultEntry", "State", "Suite"]


class State(StrEnum):
    """How a case ended; a closed set."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    XFAIL = "xfail"
    """It fails, and is expected to: the expected failure names an issue, a range of releases and a day of expiry."""
    XPASS = "xpass"
    """It is expected to fail and does not: the expectation has to go."""
    FLAKY = "flaky"
    """A rate whose interval straddles its threshold."""
    SKIP = "skip"
    """Not asked: what it needs is not here (hardware, trained weights, a context that long, YaRN)."""
    UNSUPPORTED = "unsupported"
    """The case says nothing about this server."""
    BLOCKED = "blocked"
    """The server did not start."""
    ERROR = "error"
    """No answer that could be judged: the connection broke, the server died, or the check did."""
    NOT_RUN = "not_run"
    """The run ended before it."""


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which questions were asked."""

    version: str
    """Of qcmatrix."""
    catalogue_sha256: str
    """Changes with the ids and pages of the checks: runs with different ones are compared by their difference only."""


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where it ran; no names of machines."""

    gpus: tuple[str, ...] = ()
    """Catalogue names, one per card that the entry was given."""
    driver: str = ""
    cuda: str = ""
    platform: str = ""
    """``linux-x86_64``."""


class ResultEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was served."""

    id: str
    model: str
    fleet: str
    vllm: str
    """The release that answered, by its own word where it answered."""
    argv: tuple[str, ...]
    """Secrets masked."""
    env: dict[str, str]
    """What the launch sets; secrets masked."""
    image: str = ""
    resolved: dict[str, Any] = {}
    """The server's configuration by its own words: ``max_model_len``, ``kv_cache_tokens`` ..."""
    packages: dict[str, str] = {}


class BootResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How it started."""

    ok: bool
    seconds: float
    cause: str = ""
    """Why it did not: rule or fingerprint, and vLLM's words."""
    measured: dict[str, float] = {}
    """What its log states: ``model_load_gib``, ``available_kv_gib``, ``kv_cache_tokens`` ..."""
    predicted: dict[str, tuple[float, float, float]] = {}
    """Low, mid, high, by the same names."""
    log: str = ""
    """File name beside the result."""


class CaseResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One check in one mode."""

    id: str
    mode: str
    suite: str
    profiles: tuple[str, ...]
    core: bool
    tier: str
    state: State
    seconds: float = 0.0
    expected: str = ""
    observed: str = ""
    reason: str = ""
    passes: int | None = None
    trials: int | None = None
    threshold: float | None = None
    wilson: tuple[float, float] | None = None
    seed: int = 0
    curl: str = ""
    exchanges: tuple[str, ...] = ()
    """Digests; the bodies lie in ``exchanges/`` beside the result."""
    issue: str = ""
    """Of an expected failure."""
    figures: dict[str, Any] = {}


class ProfileSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Passes and all cases that say something, core and extended."""

    core: tuple[int, int]
    extended: tuple[int, int]
    state: Literal["supported", "partial", "fail", "unknown"]
    """``supported``: every core case was asked and passed. ``partial``: what failed is expected to fail, or a core case
    could not be asked here. ``unknown``: no core case was asked, or one could not be judged."""


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry, one run."""

    schema: Literal["qcmatrix.result/1"] = "qcmatrix.result/1"
    run: str
    """A UUID: all entries of one run share it."""
    started: str
    """RFC 3339, UTC."""
    ended: str
    """Empty: the run was cut off, and this is what it had written."""
    trigger: Literal["nightly", "manual", "ci"] = "manual"
    suite: Suite
    host: Host
    entry: ResultEntry
    boot: BootResult | None
    """``None``: a server that was running already."""
    cases: tuple[CaseResult, ...]
    profiles: dict[str, ProfileSummary]
