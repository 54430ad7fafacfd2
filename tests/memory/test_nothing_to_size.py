"""Sizes and shares for which there is no ledger: an error that says so, never a crash."""

from __future__ import annotations

from typing import Any

import pytest

from qcmatrix.assess import Assessor, LaunchVerdict
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.errors import RequestError
from qcmatrix.launch.launch import Launch
from qcmatrix.memory.footprint import footprint


@pytest.mark.parametrize("release", ["0.10.0", "0.33.0"])
@pytest.mark.parametrize(
    ("dest", "value"),
    [
        ("tensor_parallel_size", 0),
        ("tensor_parallel_size", -1),
        ("pipeline_parallel_size", 0),
        ("data_parallel_size", 0),
        ("decode_context_parallel_size", 0),
        ("max_num_seqs", 0),
        ("max_num_batched_tokens", 0),
        ("block_size", 0),
        ("gpu_memory_utilization", 0.0),
        ("gpu_memory_utilization", -0.5),
        ("gpu_memory_utilization", 90.0),
        ("gpu_memory_utilization", float("nan")),
        ("gpu_memory_utilization", float("inf")),
    ],
)
def test_refused_and_not_sized(release: str, dest: str, value: Any) -> None:
    (fleet,) = parse_fleet("8xH200")
    options = {"tensor_parallel_size": 8, "enable_expert_parallel": True, dest: value}
    launch = Launch(model="Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", options=options)
    assessor = Assessor(load_release(release), fleet, find_checkpoint(launch.model))
    with pytest.raises(RequestError):
        footprint(assessor.resolve(launch))
    assessment = assessor.assess(launch)
    assert assessment.footprint is None
    assert assessment.verdict is LaunchVerdict.REFUSED
