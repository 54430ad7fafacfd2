"""Rule: data parallel ranks that other nodes should run, where there is no other node."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=(
        "fleet",
        "data_parallel_size",
        "data_parallel_size_local",
        "data_parallel_rank",
        "data_parallel_backend",
        "data_parallel_external_lb",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://docs.vllm.ai/en/latest/serving/data_parallel_deployment/",
            "--data-parallel-size-local",
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/v1/engine/utils.py",
            "Waiting for %d local, %d remote core engine proc(s) to connect.",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def data_parallel_ranks_left_to_other_nodes(deployment: Deployment) -> Verdict:
    """Some data parallel ranks are left to other nodes, and there are none

    What it finds
    `--data-parallel-size-local` smaller than `--data-parallel-size` on a fleet of one node.

    Why it fails
    The command starts the local ranks only and waits for the others, which commands with `--headless` on other nodes
    should bring. On a single node nothing brings them, and the server never becomes ready.

    What to do
    Drop `--data-parallel-size-local` to start all ranks here, or give the fleet with its nodes: `2x8xH200`.

    Not covered
    Whether a second command starts the other ranks on the same node. Ray, which places the ranks itself.
    """
    local, data = deployment.data_parallel_size_local, deployment.data_parallel_size
    if local is None or not 0 <= local < data or deployment.fleet.nodes > 1:
        return None
    if (
        deployment.data_parallel_backend == "ray"
        or deployment.data_parallel_external_lb
        or deployment.data_parallel_rank is not None
    ):
        return None
    return Unknown(
        f"{local} of {data} data parallel ranks start here and the other {data - local} must be started by other "
        "commands, and the fleet has one node: without them the server never becomes ready"
    )
