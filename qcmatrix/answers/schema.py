"""The contract of ``--json``. A field is added freely; one that goes or changes raises the number in ``schema``."""

from __future__ import annotations

import datetime
from typing import Any, Final, Literal

import msgspec

from qcmatrix.answers.probe_schema import PROBE_SCHEMA

__all__ = [
    "CHANGES_SCHEMA",
    "CHECK_SCHEMA",
    "SCHEMAS",
    "SUGGEST_SCHEMA",
    "AskedAnswer",
    "ChangeAnswer",
    "ChangesAnswer",
    "CheckAnswer",
    "Estimate",
    "EvidenceAnswer",
    "FindingAnswer",
    "HintAnswer",
    "ImpactName",
    "LatencyAnswer",
    "LaunchAnswer",
    "MemoryAnswer",
    "NodeAnswer",
    "PlanAnswer",
    "ReasonAnswer",
    "RefusalAnswer",
    "SuggestAnswer",
    "TermAnswer",
    "json_schema",
]

SUGGEST_SCHEMA: Final = "qcmatrix.suggest/1"
CHECK_SCHEMA: Final = "qcmatrix.check/1"
CHANGES_SCHEMA: Final = "qcmatrix.changes/1"

VerdictName = Literal["starts", "tight", "does-not-fit", "refused", "wrong", "unknown"]
SeverityName = Literal["error", "warning", "info"]
LevelName = Literal["documented", "derived", "probed", "served"]
SaidName = Literal["accepts", "refuses", "not-askable"]
ImpactName = Literal["breaks", "differs", "new"]


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An estimated figure: the interval and its middle."""

    low: float
    mid: float
    high: float


class TermAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the memory ledger."""

    name: str
    gib: Estimate
    in_budget: bool
    basis: str


class MemoryAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Per GPU, the tightest rank. GiB = 2^30 bytes; tokens and concurrency per engine (data parallel rank)."""

    usable_gib: float
    budget_gib: float
    weights_gib: float
    """The parameters in the pieces that PyTorch's allocator takes: "Model loading took" less the rotary table."""
    overhead_gib: Estimate
    kv_gib: Estimate
    kv_tokens: Estimate
    kv_bytes_per_token: float
    max_context: Estimate
    max_concurrency: Estimate
    needed_kv_gib: float
    terms: tuple[TermAnswer, ...]
    stage: str


class EvidenceAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the verdict is known, for which release, since when."""

    level: LevelName
    release: str
    date: datetime.date
    sources: tuple[str, ...] = ()


class AskedAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the vLLM of ``--vllm-python`` did with the launch: its own code, without a GPU."""

    says: SaidName
    level: LevelName
    release: str
    date: datetime.date
    stage: str
    """How far the launch came: ``parse``, ``serve-args``, ``engine-args``, ``config``, ``tools``, ``weights``, ``ok``;
    empty where it could not be asked."""
    text: str
    """Its words where it refuses, or why it could not be asked; else empty."""
    resolved: dict[str, Any]
    """What it makes of the launch: ``max_model_len``, ``max_num_seqs`` ..."""
    not_asked: tuple[str, ...]
    """What acceptance says nothing about."""
    contradicts: bool
    """Our verdict and this one cannot both be right."""


class FindingAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one rule says of the launch."""

    rule: str
    severity: SeverityName
    because: str
    fix: str | None
    outcome: str
    level: LevelName
    """The best that is known of the rule, of whichever release."""
    probed_on: tuple[str, ...] = ()
    """The releases whose own code was asked."""
    error: str = ""


class LatencyAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lower bounds, not predictions; ``null`` where the card's peak is not known."""

    prompt_tokens: int
    attention: Literal["bf16", "fp8"]
    """The precision in which attention is taken to run: FP8 halves its bound where the KV cache is FP8."""
    prefill_seconds_at_least: float | None
    decode_milliseconds_at_least: float | None
    decode_empty_context_milliseconds_at_least: float | None


class NodeAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to run on one node: ``before`` first, then ``argv`` (``null``: nothing more)."""

    node: int
    before: tuple[tuple[str, ...], ...]
    argv: tuple[str, ...] | None
    env: dict[str, str]


class PlanAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One suggestion."""

    fleet: str
    model: str
    release: str
    argv: tuple[str, ...]
    env: dict[str, str]
    nodes: tuple[NodeAnswer, ...]
    verdict: VerdictName
    evidence: EvidenceAnswer
    memory: MemoryAnswer
    latency: LatencyAnswer
    findings: tuple[FindingAnswer, ...]
    why: str
    asked: AskedAnswer | None = None
    """With ``--vllm-python`` only."""


class ReasonAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One broken rule."""

    rule: str
    text: str


class RefusalAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why there is no plan for one fleet and model."""

    fleet: str
    model: str
    because: tuple[ReasonAnswer, ...]
    conflict: tuple[str, ...]
    """A smallest set of wishes that cannot hold together."""


class HintAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change that helps, solved again."""

    change: str
    text: str
    fleet: str
    model: str
    release: str
    argv: tuple[str, ...]
    env: dict[str, str]
    nodes: tuple[NodeAnswer, ...]
    asked: AskedAnswer | None = None
    """With ``--vllm-python`` only, and where the hint is for that vLLM."""


class SuggestAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``qcmatrix suggest --json`` prints."""

    schema: Literal["qcmatrix.suggest/1"]
    request: dict[str, Any]
    plans: tuple[PlanAnswer, ...]
    refusals: tuple[RefusalAnswer, ...]
    hints: tuple[HintAnswer, ...]
    refused: tuple[PlanAnswer, ...] = ()
    """With ``--vllm-python`` only: what we would have suggested and that vLLM refuses. Not to be used."""


class LaunchAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One launch of ``qcmatrix check --json``."""

    argv: tuple[str, ...]
    env: dict[str, str]
    release: str
    fleet: str
    model: str
    verdict: VerdictName
    evidence: EvidenceAnswer
    memory: MemoryAnswer | None
    findings: tuple[FindingAnswer, ...]
    latency: LatencyAnswer | None = None
    asked: AskedAnswer | None = None
    """With ``--vllm-python`` only."""


class CheckAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``qcmatrix check --json`` prints."""

    schema: Literal["qcmatrix.check/1"]
    launches: tuple[LaunchAnswer, ...]


class ChangeAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that differs between two releases."""

    impact: ImpactName
    """``breaks``: a launch or a client that worked; ``differs``: it works and behaves differently; ``new``: more."""
    kind: str
    """``flag-gone``, ``default-moved``, ``rule-contradicted`` ..."""
    name: str
    text: str
    """What there is to say beyond the name; may be empty."""
    before: Any = None
    after: Any = None


class ChangesAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``qcmatrix changes --json`` prints."""

    schema: Literal["qcmatrix.changes/1"]
    before: str
    after: str
    changes: tuple[ChangeAnswer, ...]
    """What breaks a launch first."""
    not_compared: tuple[str, ...]
    """What is not known of one of the two, in words."""


SCHEMAS: dict[str, tuple[str, str]] = {
    "suggest": (SUGGEST_SCHEMA, "qcmatrix.answers.schema:SuggestAnswer"),
    "check": (CHECK_SCHEMA, "qcmatrix.answers.schema:CheckAnswer"),
    "check-files": ("qcmatrix.check-files/1", "qcmatrix.answers.files:FilesAnswer"),
    "changes": (CHANGES_SCHEMA, "qcmatrix.answers.schema:ChangesAnswer"),
    "probe": (PROBE_SCHEMA, "qcmatrix.answers.probe_schema:ProbeAnswer"),
    "explain": ("qcmatrix.explain/1", "qcmatrix.answers.explain_schema:ExplainAnswer"),
    "matrix": ("qcmatrix.matrix-list/1", "qcmatrix.matrix.validate:MatrixAnswer"),
    "matrix-file": ("qcmatrix.matrix/1", "qcmatrix.matrix.entries:Matrix"),
    "results": ("qcmatrix.results/1", "qcmatrix.results.listing:ResultsAnswer"),
    "result-file": ("qcmatrix.result/1", "qcmatrix.results.schema:Result"),
}
"""What has a contract, answers of commands and files: its identifier and its type, which is imported only when its
schema is asked for."""


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one answer or file: one of :data:`SCHEMAS`."""
    import importlib  # rarely needed

    identifier, where = SCHEMAS[name]
    module, _, kind = where.partition(":")
    schema = msgspec.json.schema(getattr(importlib.import_module(module), kind))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:{identifier}", **schema}
