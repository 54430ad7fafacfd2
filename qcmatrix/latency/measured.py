"""Public measurements beside the bounds: how far above them real servers lie.

``data/measured.jsonl`` holds public benchmark results (vLLM servers under load), each with its URL.
"""

from __future__ import annotations

from importlib.resources import files

import msgspec

__all__ = ["Measurement", "packaged_measurements"]


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One benchmark result; ``fleet`` and the parallel sizes are those of one server (one of ``replicas``)."""

    id: str
    url: str
    model: str
    fleet: str
    vllm: str | None
    """``None``: the source does not say."""
    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    expert_parallel: bool
    input_len: int
    output_len: int
    running: float | None
    """Requests in flight on average, all replicas together; ``None``: not known."""
    replicas: int
    ttft_median_ms: float | None
    tpot_median_ms: float | None


def packaged_measurements() -> tuple[Measurement, ...]:
    """All of them, in the file's order."""
    text = (files("qcmatrix.latency") / "data" / "measured.jsonl").read_text(encoding="utf-8")
    decoder = msgspec.json.Decoder(Measurement)
    return tuple(decoder.decode(line) for line in text.splitlines())
