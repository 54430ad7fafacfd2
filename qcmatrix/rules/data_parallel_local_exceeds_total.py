"""Rule: more data parallel ranks on this node than there are in all."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("data_parallel_size", "data_parallel_size_local"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/parallel.py",
            "data_parallel_size_local (4) must be <= data_parallel_size (2)",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "must be <= data_parallel_size",
            Level.DERIVED,
        ),
    ),
)
def data_parallel_local_exceeds_total(deployment: Deployment) -> Verdict:
    """More data parallel ranks run here than there are in all

    What it finds
    `--data-parallel-size-local` greater than `--data-parallel-size`.

    Why it fails
    The local size is the number of engines of this node, the other the number of engines of all nodes. vLLM refuses:
    "data_parallel_size_local (4) must be <= data_parallel_size (2)". Often the total was simply left out, and is 1.

    What to do
    Give the total with `--data-parallel-size`, or leave the local size out on a single node.

    Not covered
    Local sizes that are too large for the node: `data-parallel-ranks-beyond-node`.
    """
    local, data = deployment.data_parallel_size_local, deployment.data_parallel_size
    if local is None or local <= data:
        return None
    return Breach(
        because=f"{local} engines on this node, {data} in all",
        about=("data_parallel_size_local", "data_parallel_size"),
        fixes=(
            Fix(f"use `--data-parallel-size {local}`", set={"data_parallel_size": local}),
            Fix("drop `--data-parallel-size-local`", drop=("data_parallel_size_local",)),
        ),
        error=f"data_parallel_size_local ({local}) must be <= data_parallel_size ({data})",
    )
