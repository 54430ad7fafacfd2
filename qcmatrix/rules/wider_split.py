"""Fixes that spread a launch over more GPUs of its node: shared by the rules of what does not fit."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Fix

__all__ = ["over_this_node"]


def over_this_node(deployment: Deployment) -> list[Fix]:
    """Tensor parallelism over the GPUs of a node: for a mixture of experts with experts kept whole first."""
    architecture = deployment.architecture
    engines = deployment.pipeline_parallel_size * deployment.data_parallel_size
    if engines < 1:
        return []
    most = deployment.fleet.gpus_per_node // engines
    fixes = []
    for size in (16, 8, 4, 2):
        if not deployment.tensor_parallel_size < size <= most or architecture.num_attention_heads % size:
            continue
        if architecture.moe is not None and not deployment.enable_expert_parallel:
            fixes.append(
                Fix(
                    f"use `--tensor-parallel-size {size} --enable-expert-parallel`",
                    set={"tensor_parallel_size": size, "enable_expert_parallel": True},
                )
            )
        fixes.append(Fix(f"use `--tensor-parallel-size {size}`", set={"tensor_parallel_size": size}))
    return fixes
