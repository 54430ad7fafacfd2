"""Recomputes the fitted numbers of :mod:`qcmatrix.memory.calibration` from the public logs, and how far they miss.

Not used at run time: the tests hold the stated numbers against it, and the accuracy report prints its table.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from qcmatrix.catalogue.gpus import Gpu, find_gpus
from qcmatrix.catalogue.models import Architecture, Quantization
from qcmatrix.catalogue.names import find_checkpoint
from qcmatrix.memory.calibration import group_of
from qcmatrix.memory.ledger import GIB, Interval, Term
from qcmatrix.memory.overhead import Overhead, overhead
from qcmatrix.memory.profile_run import traits
from qcmatrix.memory.weights import loaded_bytes
from qcmatrix.versions import Version, parse_version

__all__ = ["CASES", "Miss", "PublicCase", "activation_misses", "budget_misses", "group_medians", "load_cases"]

CASES = Path(__file__).parent / "data" / "cases.jsonl"


class PublicCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one public log says. GiB of one GPU (the one with the least KV cache); empty fields: not in the log."""

    id: str
    url: str
    read: datetime.date
    """The day it was read."""
    use: Literal["fit", "check"]
    """``check``: held against the model, not used to fit it."""
    model: str
    gpu: str
    """A name of the GPU catalogue."""
    release: str
    release_basis: str = "stated in the log"
    architecture: Architecture | None = None
    """Of a model that the catalogue does not have (from its ``config.json``)."""
    online_quantization: str | None = None
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    enable_expert_parallel: bool = False
    stage: int | None = None
    """The pipeline stage that the figures are of; ``None``: there is one."""
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    usable_gib: float | None = None
    """What CUDA reported as total memory."""
    utilization: float | None = None
    weights_gib: float | None = None
    """Logged; ``None``: taken from :mod:`qcmatrix.memory.weights`."""
    kv_gib: float | None = None
    activation_gib: float | None = None
    non_torch_gib: float | None = None
    graphs_estimate_gib: float | None = None
    graphs_gib: float | None = None


@lru_cache(maxsize=1)
def load_cases() -> tuple[PublicCase, ...]:
    """The packaged cases."""
    decoder = msgspec.json.Decoder(PublicCase)
    return tuple(decoder.decode(line) for line in CASES.read_bytes().splitlines())


@dataclass(frozen=True, slots=True)
class Miss:
    """One measured figure against the model."""

    case: PublicCase
    group: str
    predicted: Interval
    """For :func:`budget_misses` with the group's ``mid`` fitted without this case."""
    measured: float

    @property
    def error(self) -> float:
        """Predicted minus measured, GiB."""
        return self.predicted.mid - self.measured

    @property
    def inside(self) -> bool:
        """Is the measured figure inside the interval (rounding of the log allowed)?"""
        return self.predicted.low - 0.006 <= self.measured <= self.predicted.high + 0.006


def activation_misses() -> tuple[Miss, ...]:
    """Logged "peak activation" against the computed one: nothing is fitted here."""
    misses = []
    for case in load_cases():
        if case.activation_gib is None:
            continue
        term = _term(_overhead(case), "activations")
        misses.append(Miss(case, "activations", term.gib, case.activation_gib))
    return tuple(misses)


def group_medians() -> dict[str, tuple[float, int]]:
    """Group of non-torch memory -> (median, number of logs), from the cases that are for fitting."""
    return {key: (median(values), len(values)) for key, values in _by_group().items()}


def budget_misses() -> tuple[Miss, ...]:
    """All that the budget loses besides weights and KV cache, each case predicted without itself."""
    misses = []
    groups = _by_group()
    for case in load_cases():
        measured = _measured_overhead(case)
        if measured is None or not _computable(case):
            continue
        key = _group(case)
        predicted = _overhead(case)
        others = list(groups.get(key, ()))
        own = _measured_non_torch(case)
        if case.use == "fit" and own in others:
            others.remove(own)
        shift = 0.0
        if case.use == "fit" and others:
            shift = median(others) - _term(predicted, "non-torch").gib.mid
        total = predicted.in_budget
        moved = Interval(min(total.low, total.mid + shift), total.mid + shift, max(total.high, total.mid + shift))
        misses.append(Miss(case, key, moved, measured))
    return tuple(misses)


def _by_group() -> dict[str, list[float]]:
    groups: dict[str, list[float]] = defaultdict(list)
    for case in load_cases():
        value = _measured_non_torch(case)
        if case.use == "fit" and value is not None:
            groups[_group(case)].append(value)
    return dict(groups)


def _measured_overhead(case: PublicCase) -> float | None:
    if case.usable_gib is None or case.utilization is None or case.kv_gib is None:
        return None
    weights = case.weights_gib if case.weights_gib is not None else _weights_gib(case)
    return case.utilization * case.usable_gib - weights - case.kv_gib


def _measured_non_torch(case: PublicCase) -> float | None:
    """As logged, or what the measured overhead leaves when the computed activations are taken off."""
    if case.non_torch_gib is not None:
        return case.non_torch_gib
    total = _measured_overhead(case)
    if total is None or not _computable(case):
        return None
    predicted = _overhead(case)
    graphs = 0.0
    if traits(_version(case)).graphs_in_budget:
        logged = case.graphs_estimate_gib
        graphs = logged if logged is not None else _term(predicted, "cuda graphs").gib.mid
    return total - _term(predicted, "activations").gib.mid - graphs


def _computable(case: PublicCase) -> bool:
    return case.max_num_seqs is not None and (case.architecture is not None or _known(case.model))


def _known(model: str) -> bool:
    from qcmatrix.errors import CatalogueError

    try:
        find_checkpoint(model)
    except CatalogueError:
        return False
    return True


def _shape(case: PublicCase) -> tuple[Architecture, Quantization]:
    if case.architecture is not None:
        return case.architecture, Quantization()
    found = find_checkpoint(case.model)
    if case.online_quantization == "fp8":
        return found.architecture, Quantization(method="fp8", weight_bits=8, activation_bits=8)
    return found.architecture, found.quantization


def _gpu(case: PublicCase) -> Gpu:
    return find_gpus(case.gpu)[0]


def _version(case: PublicCase) -> Version:
    return parse_version(case.release)


def _group(case: PublicCase) -> str:
    return group_of(
        _version(case),
        _gpu(case),
        tensor_parallel_size=case.tensor_parallel_size,
        pipeline_parallel_size=case.pipeline_parallel_size,
        data_parallel_size=case.data_parallel_size,
        cuda_graphs=True,
    )


def _overhead(case: PublicCase) -> Overhead:
    architecture, quantization = _shape(case)
    if case.max_num_batched_tokens is None or case.max_num_seqs is None:
        raise ValueError(f"{case.id}: the settings that decide the activations are missing")
    return overhead(
        architecture,
        quantization,
        _gpu(case),
        _version(case),
        max_num_batched_tokens=case.max_num_batched_tokens,
        max_num_seqs=case.max_num_seqs,
        tensor_parallel_size=case.tensor_parallel_size,
        pipeline_parallel_size=case.pipeline_parallel_size,
        data_parallel_size=case.data_parallel_size,
        enable_expert_parallel=case.enable_expert_parallel,
        first_stage=not case.stage,
        last_stage=case.stage is None or case.stage == case.pipeline_parallel_size - 1,
    )


def _weights_gib(case: PublicCase) -> float:
    """What "Model loading took" would say."""
    architecture, quantization = _shape(case)
    gpu = _gpu(case)
    stages = loaded_bytes(
        architecture,
        quantization,
        tensor_parallel_size=case.tensor_parallel_size,
        pipeline_parallel_size=case.pipeline_parallel_size,
        data_parallel_size=case.data_parallel_size,
        enable_expert_parallel=case.enable_expert_parallel,
        version=_version(case),
        compute_capability=gpu.compute_capability,
        allocator_rounding=not gpu.unified_memory,
    )
    return stages[case.stage or 0] / GIB


def _term(of: Overhead, name: str) -> Term:
    return next(term for term in of.terms if term.name == name)
