"""``reports/latency.md``: the roofline bounds beside public measurements."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.deployment import Deployment
from qcmatrix.latency.measured import Measurement, packaged_measurements
from qcmatrix.latency.roofline import decode_step_seconds, prefill_seconds
from qcmatrix.launch.launch import Launch
from qcmatrix.resolve import Resolver

__all__ = ["Compared", "compare", "latency_page"]

# Where the source does not name its release. It changes the bounds by the default of --max-num-batched-tokens alone.
_UNNAMED_RELEASE = "0.11.0"


@dataclass(frozen=True, slots=True)
class Compared:
    """One measurement and the bounds of the same launch, milliseconds."""

    measurement: Measurement
    ttft_bound_ms: float
    tpot_bound_ms: float
    """For one request alone: under a bound whatever else runs."""
    tpot_loaded_bound_ms: float
    """For as many requests as ran on average."""


def compare(measurement: Measurement) -> Compared | None:
    """The bounds for ``measurement``; ``None`` where the card's peak is not in the catalogue."""
    deployment = deployment_of(measurement)
    prefill = prefill_seconds(deployment, measurement.input_len)
    alone = decode_step_seconds(deployment, measurement.input_len, 1)
    running = max(1, round((measurement.running or 1.0) / measurement.replicas / measurement.data_parallel_size))
    context = measurement.input_len + measurement.output_len // 2
    loaded = decode_step_seconds(deployment, context, running)
    if prefill is None or alone is None or loaded is None:
        return None
    return Compared(measurement, prefill * 1000, alone * 1000, loaded * 1000)


def deployment_of(measurement: Measurement) -> Deployment:
    """The deployment that was measured."""
    (fleet,) = parse_fleet(measurement.fleet)
    release = load_release(measurement.vllm or _UNNAMED_RELEASE)
    checkpoint = find_checkpoint(measurement.model)
    options: dict[str, Any] = {
        "tensor_parallel_size": measurement.tensor_parallel_size,
        "pipeline_parallel_size": measurement.pipeline_parallel_size,
        "data_parallel_size": measurement.data_parallel_size,
        "enable_expert_parallel": measurement.expert_parallel,
        "max_model_len": measurement.input_len + measurement.output_len,
    }
    return Resolver(release, fleet, checkpoint).resolve(Launch(measurement.model, options))


def latency_page() -> str:
    """The page."""
    compared = [found for each in packaged_measurements() if (found := compare(each)) is not None]
    first = [c.measurement.ttft_median_ms / c.ttft_bound_ms for c in compared if c.measurement.ttft_median_ms]
    each = [c.measurement.tpot_median_ms / c.tpot_loaded_bound_ms for c in compared if c.measurement.tpot_median_ms]
    lines = [
        "# Roofline bounds beside public measurements",
        "",
        "A bound is what the card's peak arithmetic and memory bandwidth cannot beat. It is no prediction: the tables",
        "show how far above it real servers lay. TTFT under load holds the wait in the queue as well.",
        "",
        "| Measured over bound | n | lowest | median | highest |",
        "|---|---|---|---|---|",
        _summary("TTFT (bound: one prompt on an idle server)", first),
        _summary("TPOT (bound: as many requests as ran)", each),
        "",
        "| Model | GPUs | Shape | In / out | Running | TTFT ms | bound | TPOT ms | bound | Source |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(c) for c in compared]
    return "\n".join(lines) + "\n"


def _summary(name: str, ratios: list[float]) -> str:
    return f"| {name} | {len(ratios)} | {min(ratios):.1f} | {statistics.median(ratios):.1f} | {max(ratios):.1f} |"


def _row(c: Compared) -> str:
    m = c.measurement
    shape = f"TP {m.tensor_parallel_size}" + (f" DP {m.data_parallel_size}" if m.data_parallel_size > 1 else "")
    shape += " EP" if m.expert_parallel else ""
    running = "" if m.running is None else f"{m.running / m.replicas:.1f}"
    ttft = "" if m.ttft_median_ms is None else f"{m.ttft_median_ms:.0f}"
    tpot = "" if m.tpot_median_ms is None else f"{m.tpot_median_ms:.1f}"
    return (
        f"| {m.model.rpartition('/')[2]} | {m.fleet} | {shape} | {m.input_len} / {m.output_len} | {running} "
        f"| {ttft} | {c.ttft_bound_ms:.0f} | {tpot} | {c.tpot_loaded_bound_ms:.1f} | [{m.id[:12]}]({m.url}) |"
    )
