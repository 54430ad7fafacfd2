"""Predicted against measured: how good is the memory model on public start-up logs?

:func:`read_cases` reads the public JSONL format (one case per line: model, gpu, settings, what was measured);
:func:`measure` predicts each one and compares; :func:`summarise` counts. What decides a verdict (rules and ledger) is
passed in, so that this module stays below them. Rows whose release or settings are not known are kept, and kept apart.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, Protocol

import msgspec

from qcmatrix.boundary import read_text
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.gpus import Gpu
from qcmatrix.catalogue.names import ResolvedCheckpoint, find_checkpoint
from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.errors import CatalogueError, FileProblem, RequestError, UserError
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.parse import parse
from qcmatrix.memory.case_text import Stated, gpu_of, release_of, several_cards
from qcmatrix.memory.ledger import GIB, Footprint

__all__ = ["Assessed", "Case", "Compared", "Skipped", "Summary", "measure", "read_cases", "summarise"]

Outcome = Literal["served", "kv_too_small", "oom", "config_error"]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the file. Keys that are not listed here are ignored: the format belongs to others."""

    id: str
    model: str
    url: str = ""
    gpu: str | None = None
    gpu_count: int | None = None
    gpu_memory_gib: float | None = None
    gpu_memory_source: str | None = None
    vllm_version: str | None = None
    command: str | None = None
    quantization: str | None = None
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: bool | None = None
    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    kv_cache_dtype: str | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    enforce_eager: bool | None = None
    model_load_gib: float | None = None
    available_kv_gib: float | None = None
    kv_cache_tokens: int | None = None
    max_concurrency: float | None = None
    needed_kv_gib: float | None = None
    estimated_max_model_len: int | None = None
    outcome: Outcome
    error_text: str | None = None
    quote: str | None = None
    confidence: Literal["high", "medium", "low"] = "medium"
    notes: str | None = None


class Assessed(Protocol):
    """What judging a launch gives."""

    @property
    def verdict(self) -> str:
        """``starts``, ``tight``, ``does-not-fit``, ``refused``, ``wrong`` or ``unknown``."""

    @property
    def footprint(self) -> Footprint | None:
        """The ledger; ``None``: the shapes cannot be cut at all."""


Assess = Callable[[Launch, Release, Fleet, ResolvedCheckpoint], Assessed]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case that cannot be predicted."""

    case: Case
    reason: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A case with what was predicted for it."""

    case: Case
    release: str
    release_basis: str
    """``stated``, or how it was guessed."""
    apart: tuple[str, ...]
    """Why the case is not counted in the headline figures; empty: it is."""
    verdict: str
    footprint: Footprint | None

    @property
    def kv_error(self) -> float | None:
        """(predicted - measured) / measured of "Available KV cache memory"; ``None``: not measured."""
        measured = self.case.available_kv_gib
        if measured is None or self.footprint is None or measured <= 0:
            return None
        return (self.footprint.kv_gib.mid - measured) / measured

    @property
    def kv_inside(self) -> bool | None:
        """Is the measured value inside the interval (5 MiB of rounding allowed)?"""
        measured = self.case.available_kv_gib
        if measured is None or self.footprint is None:
            return None
        return self.footprint.kv_gib.low - 0.005 <= measured <= self.footprint.kv_gib.high + 0.005

    @property
    def weights_error(self) -> float | None:
        """Relative error of "Model loading took": weights in the allocator's pieces, rotary table."""
        measured = self.case.model_load_gib
        if measured is None or self.footprint is None:
            return None
        beside = ("rotary table", "allocator rounding")
        table = sum(term.gib.mid for term in self.footprint.terms if term.name in beside)
        return (self.footprint.weights_bytes / GIB + table - measured) / measured

    @property
    def tokens_error(self) -> float | None:
        """Relative error of the "GPU KV cache size" line."""
        measured = self.case.kv_cache_tokens
        if not measured or self.footprint is None:
            return None
        return (self.footprint.kv_tokens.mid - measured) / measured

    @property
    def false_start(self) -> bool:
        """It failed for memory and was predicted to start."""
        return self.case.outcome in ("kv_too_small", "oom") and self.verdict == "starts"

    @property
    def false_refusal(self) -> bool:
        """It served and was predicted not to."""
        return self.case.outcome == "served" and self.verdict in ("does-not-fit", "refused")

    @property
    def missed_refusal(self) -> bool:
        """vLLM refused the settings and it was predicted to start."""
        return self.case.outcome == "config_error" and self.verdict == "starts"


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over some compared cases."""

    cases: int
    kv_cases: int
    kv_median_error: float | None
    kv_p90_error: float | None
    kv_coverage: float | None
    weights_cases: int
    weights_worst_error: float | None
    false_starts: tuple[str, ...]
    false_refusals: tuple[str, ...]
    missed_refusals: tuple[str, ...]


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases of a JSONL file; empty lines do not count.

    Raises:
        FileProblem: not readable, or lines that are no case: every one of them, with its number.
    """
    cases: list[Case] = []
    problems: list[str] = []
    decoder = msgspec.json.Decoder(Case)
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            cases.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise FileProblem(f"{path}: not what it should be", *problems)
    if not cases:
        raise FileProblem(f"{path}: holds no case", "one JSON object per line: model, gpu, gpu_count, outcome ...")
    return tuple(cases)


def measure(cases: Iterable[Case], assess: Assess) -> tuple[tuple[Compared, ...], tuple[Skipped, ...]]:
    """Predict every case that the catalogue covers; the others are skipped, each with its reason."""
    compared: list[Compared] = []
    skipped: list[Skipped] = []
    for case in cases:
        try:
            compared.append(_compare(case, assess))
        except _NotCoveredError as reason:
            skipped.append(Skipped(case, str(reason)))
        except UserError as error:
            skipped.append(Skipped(case, error.what))
    return tuple(compared), tuple(skipped)


class _NotCoveredError(Exception):
    pass


def _compare(case: Case, assess: Assess) -> Compared:
    checkpoint = find_checkpoint(case.model.removesuffix("(as written)"))
    gpu = _gpu(case)
    stated = release_of(case.vllm_version, case.quote or "", f"{case.url} {case.notes or ''}")
    apart = list(_apart(case, stated))
    count = case.gpu_count or (case.tp or 1) * (case.pp or 1) * (case.dp or 1)
    if case.gpu_count is None and not (case.tp or case.dp):
        raise _NotCoveredError("the number of GPUs is not stated")
    fleet = Fleet(1, count, gpu) if count <= 8 or count % 8 else Fleet(count // 8, 8, gpu)
    results = [(name, _assess(case, name, fleet, checkpoint, assess)) for name in stated.candidates]
    name, first = results[0]
    verdict = _together([str(result.verdict) for _, result in results])
    if stated.before and verdict != "does-not-fit":
        verdict = "unknown"  # another release's rules and profile run say nothing about it
    return Compared(
        case=case,
        release=name,
        release_basis=stated.basis,
        apart=tuple(apart),
        verdict=verdict,
        footprint=first.footprint,
    )


def _together(verdicts: Sequence[str]) -> str:
    """One verdict of several releases: what they agree on, else ``tight``."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return "does-not-fit" if set(verdicts) <= {"does-not-fit", "refused"} else "tight"


def _assess(case: Case, name: str, fleet: Fleet, checkpoint: ResolvedCheckpoint, assess: Assess) -> Assessed:
    release = load_release(name)
    return assess(_launch(case, release), release, fleet, checkpoint)


def _gpu(case: Case) -> Gpu:
    if not case.gpu:
        raise _NotCoveredError("the GPU is not stated")
    gpu = gpu_of(case.gpu)
    if gpu is None:
        raise _NotCoveredError(f"no single listed GPU: {case.gpu!r}")
    if case.gpu_memory_gib is not None and (case.gpu_memory_source or "").startswith("torch"):
        # What CUDA reported on that very machine is better than the catalogue's figure for the card.
        return msgspec.structs.replace(gpu, visible_gib=case.gpu_memory_gib, visible_gib_spread=0.006)
    return gpu


def _apart(case: Case, stated: Stated) -> Iterable[str]:
    if not stated.known:
        yield "release before those covered" if stated.before else "release not stated"
    if case.confidence == "low":
        yield "low confidence"
    if several_cards(case.gpu or ""):
        yield "several cards named"


def _launch(case: Case, release: Release) -> Launch:
    """The columns decide; the command adds what has no column."""
    options: dict[str, Any] = {}
    env: dict[str, str] = {}
    unknown: tuple[str, ...] = ()
    if case.command:
        try:
            launch = parse(shlex.split(case.command), release).launch
        except (RequestError, CatalogueError, ValueError):
            pass  # an excerpt of a command: the columns say what matters
        else:
            options.update(launch.options)
            env.update(launch.env)
            unknown = launch.unknown
    columns: dict[str, Any] = {
        "tensor_parallel_size": case.tp,
        "pipeline_parallel_size": case.pp,
        "data_parallel_size": case.dp,
        "enable_expert_parallel": case.ep,
        "max_model_len": case.max_model_len,
        "gpu_memory_utilization": case.gpu_memory_utilization,
        "kv_cache_dtype": case.kv_cache_dtype,
        "max_num_batched_tokens": case.max_num_batched_tokens,
        "max_num_seqs": case.max_num_seqs,
        "enforce_eager": case.enforce_eager,
    }
    options.update({dest: value for dest, value in columns.items() if value is not None})
    if "online" in (case.quantization or ""):
        options.setdefault("quantization", "fp8")
    return Launch(model=case.model, options=options, env=env, unknown=unknown)


def summarise(compared: Sequence[Compared], *, headline: bool = True) -> Summary:
    """Count; ``headline`` leaves out what is set apart."""
    kept = [row for row in compared if not (headline and row.apart)]
    errors = sorted(abs(error) for row in kept if (error := row.kv_error) is not None)
    inside = [value for row in kept if (value := row.kv_inside) is not None]
    weights = [abs(error) for row in kept if (error := row.weights_error) is not None]
    return Summary(
        cases=len(kept),
        kv_cases=len(errors),
        kv_median_error=median(errors) if errors else None,
        kv_p90_error=_quantile(errors, 0.9),
        kv_coverage=sum(inside) / len(inside) if inside else None,
        weights_cases=len(weights),
        weights_worst_error=max(weights, default=None),
        false_starts=tuple(row.case.id for row in kept if row.false_start),
        false_refusals=tuple(row.case.id for row in kept if row.false_refusal),
        missed_refusals=tuple(row.case.id for row in kept if row.missed_refusal),
    )


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of the ordered values do not exceed."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
