"""A log as a calibration case: one line of the format that :mod:`qcmatrix.memory.accuracy` reads."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec

from qcmatrix.answers.explain import Explained

__all__ = ["case_line", "case_of"]

_COLUMNS = {
    "tensor_parallel_size": "tp",
    "pipeline_parallel_size": "pp",
    "data_parallel_size": "dp",
    "enable_expert_parallel": "ep",
    "max_model_len": "max_model_len",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "kv_cache_dtype": "kv_cache_dtype",
    "max_num_batched_tokens": "max_num_batched_tokens",
    "max_num_seqs": "max_num_seqs",
    "enforce_eager": "enforce_eager",
    "quantization": "quantization",
}
_OUTCOMES = {"served": "served", "failed-after-serving": "served"}


def case_of(explained: Explained, name: str) -> dict[str, Any]:
    """The columns of the case; what the log does not say is left out. ``outcome`` is ``config_error`` for what is not
    of memory."""
    answer, known = explained.answer, explained.known
    options = known.launch.options
    failure, measured, launch = answer.failure, answer.measured, answer.launch
    outcome = _OUTCOMES.get(answer.state)
    if outcome is None:
        kind = "unknown" if failure is None else failure.outcome
        outcome = kind if kind in ("kv_too_small", "oom") else "config_error"
    numbers = {} if failure is None else failure.numbers
    fleet = known.fleet
    sizes = {column: options[dest] for dest, column in _COLUMNS.items() if options.get(dest) is not None}
    if known.arguments.basis:
        # The line holds what differs from the defaults: what is not on it is one GPU.
        sizes = {"tp": 1, "pp": 1, "dp": 1, **sizes}
    stem = "".join(letter if letter.isalnum() else "-" for letter in name.rpartition("/")[2].rpartition(".")[0] or name)
    case: dict[str, Any] = {
        "id": stem.strip("-").lower() or "log",
        "model": launch.facts_of or launch.model or "unknown",
        "gpu": None if fleet is None else fleet.gpu.name,
        "gpu_count": None if fleet is None else fleet.count,
        "gpu_memory_gib": known.total_gib,
        "gpu_memory_source": "torch, as the log prints it" if known.total_gib is not None else None,
        "vllm_version": launch.release,
        "command": shlex.join(launch.argv) if launch.argv else None,
        **sizes,
        "model_load_gib": measured.weights_gib,
        "available_kv_gib": numbers.get("available", measured.kv_gib),
        "kv_cache_tokens": measured.kv_tokens,
        "max_concurrency": measured.max_concurrency,
        "needed_kv_gib": numbers.get("needed"),
        "estimated_max_model_len": None if "estimated" not in numbers else int(numbers["estimated"]),
        "activation_gib": measured.activation_gib,
        "non_torch_gib": measured.non_torch_gib,
        "cudagraph_gib": measured.graphs_gib,
        "outcome": outcome,
        "error_text": None if failure is None else failure.text,
        "confidence": "high" if launch.release and launch.fleet and known.arguments.basis else "low",
        "notes": "; ".join(f"unknown: {each}" for each in answer.unknown) or None,
    }
    return {name: value for name, value in case.items() if value is not None}


def case_line(explained: Explained, name: str) -> str:
    """:func:`case_of` as one line of JSON."""
    return msgspec.json.encode(case_of(explained, name)).decode()
