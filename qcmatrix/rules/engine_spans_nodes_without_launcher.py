"""Rule: one engine over several nodes with nothing to start it there."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_TURNS_TO_RAY = Range("0.10.0", "0.11.1")
_NAMES_TENSOR_PARALLEL = Range("0.11.1", "0.13.0")


@rule(
    holds=Range("0.10.0"),
    reads=(
        "release",
        "fleet",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "prefill_context_parallel_size",
        "data_parallel_size",
        "data_parallel_backend",
        "distributed_executor_backend",
        "nnodes",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/parallel.py",
            "is larger than the number of available GPUs",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.12.0/vllm/config/parallel.py",
            "larger than the number of available GPUs",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "Ray is required for multi-node inference",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def engine_spans_nodes_without_launcher(deployment: Deployment) -> Verdict:
    """One engine needs several nodes, and nothing starts it there

    What it finds
    Tensor parallel size x pipeline parallel size greater than the GPUs of one node, with neither
    `--distributed-executor-backend ray` nor `--nnodes`.

    Why it fails
    By default vLLM starts its workers as processes of this node. From 0.11.1 it refuses at once when they do not fit:
    "World size (16) is larger than the number of available GPUs (8) in this node" (0.13.0 on; before, "Tensor
    parallel size (16) cannot be larger than the number of available GPUs (8)."). Up to 0.11.0 it turns to Ray by
    itself, which works only inside a Ray cluster.

    What to do
    Keep an engine inside a node (tensor parallel over its GPUs) and use data or pipeline parallelism across nodes;
    give `--distributed-executor-backend ray` inside a Ray cluster; or, from 0.11.1, start the same command on every
    node with `--nnodes`, `--node-rank` and `--master-addr`.

    Not covered
    Whether the Ray cluster stands, and how fast the network between the nodes is: tensor parallelism across nodes
    exchanges data in every layer.
    """
    fleet = deployment.fleet
    per_engine = (
        deployment.tensor_parallel_size * deployment.pipeline_parallel_size * deployment.prefill_context_parallel_size
    )
    wanted = per_engine * deployment.data_parallel_size
    if per_engine <= fleet.gpus_per_node or wanted > fleet.count:
        return None
    backend = deployment.distributed_executor_backend
    if backend in ("ray", "external_launcher") or deployment.data_parallel_backend == "ray":
        return None
    release = deployment.release.version
    if release in _TURNS_TO_RAY:
        if backend is None:
            return Unknown(
                f"an engine of {per_engine} GPUs does not fit a node of {fleet.gpus_per_node}: vLLM turns to Ray, "
                "and whether a Ray cluster stands cannot be seen here",
                decides=False,
            )
        fixes: tuple[Fix, ...] = ()
    else:
        if deployment.nnodes > 1:
            return None
        nodes = -(-per_engine // fleet.gpus_per_node)
        fixes = (
            Fix(
                f"start the command on {nodes} nodes with `--nnodes {nodes} --node-rank N --master-addr ADDRESS`",
                set={"nnodes": nodes},
            ),
        )
    error = f"number of available GPUs ({fleet.gpus_per_node})"
    if release in _NAMES_TENSOR_PARALLEL:
        error = f"Tensor parallel size ({per_engine}) cannot be larger than the {error}."
    else:
        error = f"World size ({per_engine}) is larger than the {error} in this node."
    return Breach(
        because=f"one engine needs {per_engine} GPUs, a node has {fleet.gpus_per_node}, and nothing starts workers on "
        "other nodes",
        about=("tensor_parallel_size", "pipeline_parallel_size"),
        fixes=(
            *fixes,
            Fix(
                "in a Ray cluster, add `--distributed-executor-backend ray`",
                set={"distributed_executor_backend": "ray"},
            ),
        ),
        error=error if release not in _TURNS_TO_RAY and backend is None else "",
    )
