"""What to run on each node of a fleet of several, with vLLM's own launchers.

Sources: vLLM's ``docs/serving/data_parallel_deployment.md`` (``--headless``, ``--data-parallel-address``) and
``docs/serving/parallelism_scaling.md`` (Ray; ``--nnodes`` since 0.11.1).
"""

from __future__ import annotations

from typing import Any

import msgspec

from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.releases import Release
from qcmatrix.launch.launch import Launch
from qcmatrix.planner.space import Shape

__all__ = ["HEAD", "NodeCommands", "commands_per_node", "head_options"]

HEAD = "HEAD_NODE_IP"
"""Stands for the first node's address, which only the user knows."""
_RPC_PORT = 13345
_RAY_PORT = 6379


class NodeCommands(msgspec.Struct, frozen=True):
    """One node: commands to run first, word by word, then the launch (``None``: vLLM starts it from the head)."""

    node: int
    before: tuple[tuple[str, ...], ...]
    launch: Launch | None


def head_options(shape: Shape, fleet: Fleet, release: Release) -> dict[str, Any]:
    """The options that the first node's launch needs when the shape takes several nodes; none on one node."""
    if shape.gpus <= fleet.gpus_per_node:
        return {}
    if shape.replica <= fleet.gpus_per_node:
        return {
            "data_parallel_size_local": shape.data_parallel_size // _nodes(shape, fleet),
            "data_parallel_address": HEAD,
            "data_parallel_rpc_port": _RPC_PORT,
        }
    if release.has_flag("nnodes"):
        return {"nnodes": _nodes(shape, fleet), "node_rank": 0, "master_addr": HEAD}
    return {"distributed_executor_backend": "ray"}


def commands_per_node(launch: Launch, shape: Shape, fleet: Fleet, release: Release) -> tuple[NodeCommands, ...]:
    """What to run on each node, given the first node's ``launch``; one entry for a single node."""
    if shape.gpus <= fleet.gpus_per_node:
        return (NodeCommands(0, (), launch),)
    nodes = _nodes(shape, fleet)
    if shape.replica <= fleet.gpus_per_node:
        local = shape.data_parallel_size // nodes
        followers = [
            _with(launch, {"headless": True, "data_parallel_start_rank": node * local}) for node in range(1, nodes)
        ]
    elif release.has_flag("nnodes"):
        followers = [_with(launch, {"node_rank": node, "headless": True}) for node in range(1, nodes)]
    else:
        return _ray(launch, nodes, fleet)
    return tuple(NodeCommands(node, (), each) for node, each in enumerate([launch, *followers]))


def _nodes(shape: Shape, fleet: Fleet) -> int:
    """The fewest nodes that take the shape in equal parts."""
    if shape.replica > fleet.gpus_per_node:
        return shape.replica // fleet.gpus_per_node
    return next(
        n
        for n in range(2, fleet.nodes + 1)
        if shape.data_parallel_size % n == 0 and shape.gpus // n <= fleet.gpus_per_node
    )


def _ray(launch: Launch, nodes: int, fleet: Fleet) -> tuple[NodeCommands, ...]:
    gpus = f"--num-gpus={fleet.gpus_per_node}"
    start = ("ray", "start", "--head", f"--port={_RAY_PORT}", gpus)
    join = ("ray", "start", f"--address={HEAD}:{_RAY_PORT}", gpus)
    # The workers join first; the launch on the head then finds all GPUs in the cluster.
    return (NodeCommands(0, (start,), launch), *(NodeCommands(node, (join,), None) for node in range(1, nodes)))


def _with(launch: Launch, options: dict[str, Any]) -> Launch:
    return msgspec.structs.replace(launch, options={**launch.options, **options})
