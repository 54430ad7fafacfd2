"""``answers/data/served.jsonl``: which launches a GPU is publicly known to have served, taken from the public cases."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from qcmatrix.answers.served import Served
from qcmatrix.assess import Assessment, Assessor
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.launch.launch import Launch
from qcmatrix.memory.accuracy import Case, measure
from qcmatrix.report.accuracy import packaged_cases

__all__ = ["served_lines"]


def served_lines() -> str:
    """One JSON line per launch that was served, of which release, GPUs and settings are all known."""
    found = {served for case in packaged_cases() if case.outcome == "served" for served in _served(case)}
    ordered = sorted(found, key=lambda served: (served.repository, served.release, served.url))
    return "".join(msgspec.json.encode(served).decode() + "\n" for served in ordered)


def _served(case: Case) -> Iterator[Served]:
    seen: list[Assessment] = []

    def assess(launch: Launch, release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> Assessment:
        seen.append(Assessor(release, fleet, checkpoint).assess(launch))
        return seen[-1]

    compared, _ = measure([case], assess)
    if case.confidence != "high" or not compared or compared[0].apart or len(seen) != 1:
        return
    deployment = seen[0].deployment
    if not deployment.release.is_listed:
        return  # a fork or a nightly: what it served, the release may not
    yield Served(
        repository=deployment.checkpoint.repository,
        gpu=deployment.gpu.name,
        tensor_parallel_size=deployment.tensor_parallel_size,
        pipeline_parallel_size=deployment.pipeline_parallel_size,
        data_parallel_size=deployment.data_parallel_size,
        enable_expert_parallel=deployment.enable_expert_parallel,
        kv_cache_dtype=deployment.kv_cache_dtype,
        context=deployment.context,
        gpu_memory_utilization=deployment.gpu_memory_utilization,
        max_num_seqs=deployment.max_num_seqs,
        max_num_batched_tokens=deployment.max_num_batched_tokens,
        enforce_eager=deployment.enforce_eager,
        quantization_flag=deployment.quantization_flag,
        release=deployment.release.name,
        url=case.url,
    )
