"""Why there is no plan: the broken rules with their numbers, nearest miss first."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from qcmatrix.planner.search import Blocked, Outcomes
from qcmatrix.planner.space import Shape

__all__ = ["Reason", "reasons", "spell_shape"]


class Reason(msgspec.Struct, frozen=True):
    """One rule that blocks launches, told by the launch that comes nearest to obeying it."""

    rule: str
    text: str
    nearest: Blocked
    launches: int
    """How many launches it blocks."""


def reasons(outcomes: Outcomes) -> list[Reason]:
    """Every rule that blocks a launch, the one that blocks the best launches first.

    Among memory's misses the nearest is the one with the smallest shortage; among shapes that cannot be cut the one
    that uses the most GPUs.
    """
    by_rule: dict[str, list[Blocked]] = defaultdict(list)
    for blocked in outcomes.blocked:
        by_rule[blocked.rule].append(blocked)
    found = []
    for rule, launches in by_rule.items():
        nearest = min(launches, key=lambda blocked: (blocked.shortage_gib, -blocked.shape.gpus, _spread(blocked.shape)))
        text = f"{spell_shape(nearest.shape)}: {nearest.text}"
        found.append(Reason(rule, text, nearest, len(launches)))
    # Memory decides last, so what fails there has passed everything else: it comes nearest to the wish.
    return sorted(found, key=lambda reason: (not reason.nearest.shortage_gib, -reason.launches, reason.rule))


def _spread(shape: Shape) -> tuple[int, int]:
    return (shape.data_parallel_size, shape.pipeline_parallel_size)


def spell_shape(shape: Shape) -> str:
    """``TP 4, DP 2, expert parallel`` in the field's short words."""
    words = [f"TP {shape.tensor_parallel_size}"]
    if shape.pipeline_parallel_size > 1:
        words.append(f"PP {shape.pipeline_parallel_size}")
    if shape.data_parallel_size > 1:
        words.append(f"DP {shape.data_parallel_size}")
    if shape.enable_expert_parallel:
        words.append("expert parallel")
    return ", ".join(words)
