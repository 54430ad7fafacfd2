"""Which checkpoints to try: when no model was named, and instead of one that does not fit."""

from __future__ import annotations

from functools import lru_cache

from qcmatrix.catalogue.models import ResolvedCheckpoint, find_checkpoint

__all__ = ["LINE_UP", "families", "line_up", "siblings"]

LINE_UP = (("480b-fp8", "480b", "480b-awq"), ("next-fp8", "next"), ("30b-fp8", "30b", "30b-awq"))
"""Qwen3-Coder by strength; of each model Qwen's own FP8 first, whose accuracy is that of BF16 in half the memory."""


@lru_cache(maxsize=1)
def families() -> tuple[tuple[ResolvedCheckpoint, ...], ...]:
    """The Qwen3-Coder models to try when none was named, strongest first, each with its checkpoints in order."""
    return tuple(tuple(find_checkpoint(name) for name in names) for names in LINE_UP)


@lru_cache(maxsize=1)
def line_up() -> tuple[ResolvedCheckpoint, ...]:
    """All of them, one after the other."""
    return tuple(checkpoint for family in families() for checkpoint in family)


def siblings(checkpoint: ResolvedCheckpoint) -> tuple[ResolvedCheckpoint, ...]:
    """Checkpoints to try instead: the same model in fewer bits first, then smaller models of the line-up.

    Never the same one; empty when nothing is smaller.
    """
    bits = checkpoint.checkpoint.quantization.weight_bits
    same = [
        other
        for other in line_up()
        if other.architecture == checkpoint.architecture and other.checkpoint.quantization.weight_bits < bits
    ]
    size = checkpoint.architecture.mlp_elements
    smaller = [other for other in line_up() if other.architecture.mlp_elements < size]
    return (*same, *smaller)
