"""Rule: data parallel ranks that do not fit one node, with nothing to start the others."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=(
        "fleet",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "prefill_context_parallel_size",
        "data_parallel_size",
        "data_parallel_size_local",
        "data_parallel_rank",
        "data_parallel_start_rank",
        "data_parallel_backend",
        "data_parallel_external_lb",
        "distributed_executor_backend",
        "headless",
        "nnodes",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/v1/engine/utils.py",
            "Error setting CUDA_VISIBLE_DEVICES: local range",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/v1/engine/utils.py",
            "Error computing device indices for",
            Level.DERIVED,
        ),
        RuleSource(
            "https://docs.vllm.ai/en/latest/serving/data_parallel_deployment/",
            "--data-parallel-size-local",
        ),
    ),
    enforced_by_vllm=False,
)
def data_parallel_ranks_beyond_node(deployment: Deployment) -> Verdict:
    """The data parallel ranks need more GPUs than this node has

    What it finds
    Data parallel ranks that would fit the fleet but not one node, in a command that starts all of them here.

    Why it fails
    `--data-parallel-size` starts that many engines on this node unless told otherwise, and an engine whose GPUs do
    not exist stops with an error that names the local range of devices.

    What to do
    Give the number of engines of this node with `--data-parallel-size-local` and start the others on their nodes with
    `--headless --data-parallel-start-rank N --data-parallel-address ADDRESS`, or use `--data-parallel-backend ray`.

    Not covered
    The commands on the other nodes: only the one given is judged.
    """
    fleet, data, local = deployment.fleet, deployment.data_parallel_size, deployment.data_parallel_size_local
    per_engine = (
        deployment.tensor_parallel_size * deployment.pipeline_parallel_size * deployment.prefill_context_parallel_size
    )
    if data <= 1 or per_engine < 1 or per_engine > fleet.gpus_per_node or per_engine * data > fleet.count:
        return None
    if (
        deployment.data_parallel_backend == "ray"
        or deployment.distributed_executor_backend in ("ray", "external_launcher")
        or deployment.nnodes > 1
        or deployment.headless
        or deployment.data_parallel_external_lb
        or deployment.data_parallel_rank is not None
        or deployment.data_parallel_start_rank is not None
    ):
        return None
    engines = data if local is None else local
    room = fleet.gpus_per_node // per_engine
    if engines <= room:
        return None
    first = room * per_engine
    return Breach(
        because=f"{engines} engines need {engines * per_engine} GPUs on a node of {fleet.gpus_per_node}",
        about=("data_parallel_size",) if local is None else ("data_parallel_size_local",),
        fixes=(
            Fix(
                f"add `--data-parallel-size-local {room}` here, and start the other ranks on their nodes",
                set={"data_parallel_size_local": room},
            ),
        ),
        error=f"local range: [{first}, {first + per_engine})",
    )
