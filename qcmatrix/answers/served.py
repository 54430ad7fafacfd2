"""Launches that a GPU is publicly known to have served.

``data/served.jsonl`` is made from the public start-up logs by ``python -m qcmatrix.report --write``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import msgspec

from qcmatrix.deployment import Deployment

__all__ = ["Served", "find_served"]


class Served(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One launch that served, as its public log says."""

    repository: str
    gpu: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    enable_expert_parallel: bool
    kv_cache_dtype: str
    context: int
    gpu_memory_utilization: float
    max_num_seqs: int
    max_num_batched_tokens: int
    enforce_eager: bool
    quantization_flag: str | None
    release: str
    url: str


def find_served(deployment: Deployment) -> Served | None:
    """The public log of the same checkpoint, card, release and settings with as long a context, if any."""
    if deployment.speculation is not None or deployment.enable_lora:
        return None  # no such log is among them
    for served in _by_checkpoint().get(deployment.checkpoint.repository, ()):
        if (
            served.gpu == deployment.gpu.name
            and served.release == deployment.release.name
            and served.tensor_parallel_size == deployment.tensor_parallel_size
            and served.pipeline_parallel_size == deployment.pipeline_parallel_size
            and served.data_parallel_size == deployment.data_parallel_size
            and served.enable_expert_parallel == deployment.enable_expert_parallel
            and served.kv_cache_dtype == deployment.kv_cache_dtype
            and served.context >= deployment.context
            and served.gpu_memory_utilization == deployment.gpu_memory_utilization
            and served.max_num_seqs == deployment.max_num_seqs
            and served.max_num_batched_tokens == deployment.max_num_batched_tokens
            and served.enforce_eager == deployment.enforce_eager
            and served.quantization_flag == deployment.quantization_flag
        ):
            return served
    return None


@lru_cache(maxsize=1)
def _by_checkpoint() -> dict[str, tuple[Served, ...]]:
    # Not importlib.resources: it imports zipfile, and that costs more than all the rest of an answer.
    text = (Path(__file__).parent / "data" / "served.jsonl").read_text(encoding="utf-8")
    decoder = msgspec.json.Decoder(Served)
    found: dict[str, tuple[Served, ...]] = {}
    for line in text.splitlines():
        served = decoder.decode(line)
        found[served.repository] = (*found.get(served.repository, ()), served)
    return found
