"""The contract of ``qcmatrix explain --json``. A field is added freely; one that goes or changes raises the number."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from qcmatrix.answers.schema import Estimate, FindingAnswer, VerdictName

__all__ = [
    "EXPLAIN_SCHEMA",
    "ChangeAnswer",
    "ExplainAnswer",
    "FailureAnswer",
    "LaunchRead",
    "MeasuredAnswer",
    "PredictedAnswer",
    "StateName",
    "SymptomAnswer",
]

EXPLAIN_SCHEMA: Final = "qcmatrix.explain/1"

StateName = Literal["served", "failed", "failed-after-serving", "unfinished", "not-a-vllm-log"]


class LaunchRead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the log (or an option) says was launched. ``null``: unknown; ``*_from`` says where it stands."""

    release: str | None
    release_from: str
    model: str | None
    """As the launch names it."""
    facts_of: str | None
    """The checkpoint of the catalogue whose facts are used."""
    fleet: str | None
    fleet_from: str
    argv: tuple[str, ...]
    env: dict[str, str]
    arguments_from: str
    arguments_line: int
    unread: tuple[str, ...]
    """Arguments whose value is printed in a form that cannot be read back."""


class MeasuredAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the log measured; GiB of one GPU, the one with the least KV cache. ``null``: not in the log."""

    usable_gib: float | None
    free_at_start_gib: float | None
    weights_gib: float | None
    activation_gib: float | None
    non_torch_gib: float | None
    graphs_gib: float | None
    kv_gib: float | None
    kv_tokens: int | None
    max_concurrency: float | None
    concurrency_tokens: int | None
    """The length of request that ``max_concurrency`` is of."""
    load_seconds: float | None
    init_seconds: float | None
    ranks: int
    """Processes that told their weights or KV memory."""


class SymptomAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What followed from the cause."""

    line: int
    title: str


class FailureAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What went wrong. ``cause`` is ``null`` where no fingerprint knows it."""

    cause: str | None
    title: str
    because: str
    outcome: Literal["kv_too_small", "oom", "config_error", "environment", "unknown"]
    rule: str | None
    line: int | None
    process: str
    text: str
    """The message, keys and tokens masked."""
    during: str
    """What the process was doing: loading the weights, the profile run, capturing CUDA graphs ...; empty: unknown."""
    where: str
    """The last frame of its traceback, where the log has one."""
    numbers: dict[str, float]
    todo: str
    sources: tuple[str, ...]
    told: bool
    """A person's words, not the engine's."""
    symptoms: tuple[SymptomAnswer, ...]
    others: tuple[str, ...]
    """Ids of further failures in the log."""


class ChangeAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of the launch that would have helped, judged before it is offered."""

    kind: str
    text: str
    verdict: VerdictName | Literal["measured"]
    """``measured``: the log's own figures say so."""
    argv: tuple[str, ...]
    env: dict[str, str]


class PredictedAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One figure that was predicted and measured."""

    name: str
    unit: Literal["GiB", "tokens", "requests"]
    predicted: Estimate
    measured: float
    inside: bool


class ExplainAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``qcmatrix explain --json`` prints."""

    schema: Literal["qcmatrix.explain/1"]
    state: StateName
    stage: str
    """The last stage of the start that the log tells of."""
    lines: int
    starts: int
    launch: LaunchRead
    measured: MeasuredAnswer
    failure: FailureAnswer | None
    changes: tuple[ChangeAnswer, ...]
    expected: VerdictName | None
    """What qcmatrix says of the launch; ``null``: too little is known."""
    findings: tuple[FindingAnswer, ...]
    predicted: tuple[PredictedAnswer, ...]
    unknown: tuple[str, ...]
    """What could not be told, and how to tell it."""
