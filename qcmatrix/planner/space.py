"""The shapes that are worth judging on a fleet."""

from __future__ import annotations

from functools import lru_cache

import msgspec

__all__ = ["Shape", "shapes"]


class Shape(msgspec.Struct, frozen=True):
    """One way to spread a model over GPUs."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    enable_expert_parallel: bool

    @property
    def gpus(self) -> int:
        """GPUs that it takes."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def replica(self) -> int:
        """GPUs of one data parallel rank."""
        return self.tensor_parallel_size * self.pipeline_parallel_size


@lru_cache(maxsize=256)
def shapes(nodes: int, gpus_per_node: int, experts: bool) -> tuple[Shape, ...]:
    """Every shape that fits on ``nodes`` x ``gpus_per_node`` GPUs, largest first.

    A replica lies within one node, or takes whole nodes and is then the only one: that is what vLLM's launchers do
    without further tuning. Fewer GPUs than there are come in powers of two and divisors.
    """
    total = nodes * gpus_per_node
    sizes = {n for n in range(1, total + 1) if total % n == 0 or n & (n - 1) == 0}
    found: list[Shape] = []
    for used in sorted(sizes, reverse=True):
        for tensor in _divisors(used):
            for pipeline in _divisors(used // tensor):
                data = used // tensor // pipeline
                replica = tensor * pipeline
                within_a_node = replica <= gpus_per_node
                if within_a_node and not _spreads_evenly(data, replica, nodes, gpus_per_node):
                    continue
                if not within_a_node and (data != 1 or replica % gpus_per_node != 0):
                    continue
                if not within_a_node and tensor > gpus_per_node and tensor % gpus_per_node != 0:
                    continue
                choices = (True, False) if experts and tensor * data > 1 else (False,)
                found.extend(Shape(tensor, pipeline, data, choice) for choice in choices)
    return tuple(found)


def _spreads_evenly(data: int, replica: int, nodes: int, gpus_per_node: int) -> bool:
    """Do ``data`` replicas fit on one node, or as many on each of some nodes?"""
    if data * replica <= gpus_per_node:
        return True
    return any(data % n == 0 and data // n * replica <= gpus_per_node for n in range(2, nodes + 1))


@lru_cache(maxsize=256)
def _divisors(number: int) -> tuple[int, ...]:
    return tuple(n for n in range(number, 0, -1) if number % n == 0)
