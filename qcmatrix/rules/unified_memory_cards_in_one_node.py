"""Rule: a node with several cards of which every machine has one."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("fleet", "gpu"),
    outcome=Outcome.REDUNDANT,
    sources=(
        RuleSource(
            "https://blog.kubesimplify.com/blog/day-3-the-dgx-spark-unpacked-gb10-unified-memory-sm-121-and-the-one-reason-"
            "this-hardware-exists",
            "GB10 Grace Blackwell Superchip, 128 GB unified memory",
        ),
    ),
)
def unified_memory_cards_in_one_node(deployment: Deployment) -> Verdict:
    """Several cards with unified memory are given as one node

    What it finds
    A fleet such as `2xGB10`: two cards in one machine.

    Why it fails
    It is not the launch that fails. A card that shares its memory with the processor (GB10, DGX Spark) is a machine of
    its own: two of them are two nodes, joined by a network, and the launch needs what a launch over nodes needs.

    What to do
    Write the fleet with its nodes: `2x1xGB10`.

    Not covered
    How slow the network between the machines is.
    """
    fleet = deployment.fleet
    if not deployment.gpu.unified_memory or fleet.gpus_per_node == 1:
        return None
    return Breach(
        because=f"each {deployment.gpu.name} is a machine of its own: write `--gpus {fleet.count}x1x"
        f"{deployment.gpu.name}`, not {fleet}",
    )
