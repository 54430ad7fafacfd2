"""PyTorch's allocator on the tensors of a 4 bit model: what lies between them after loading.

Large tensors have segments of their own and a closed form (:mod:`qcmatrix.memory.weights_schemes`). The scales and zero
points of 4 bit weights are smaller: they share segments of 20 MiB or sit in what a large tensor left of its segment,
and a rest of up to 1 MiB stays with the tensor. So the allocator is played through, in the order in which vLLM creates
the parameters and repacks them: https://github.com/pytorch/pytorch/blob/v2.9.0/c10/cuda/CUDACachingAllocator.cpp.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from functools import lru_cache

__all__ = ["LARGE", "Linear", "segment_bytes", "taken_beyond"]

_MIB = 1 << 20
LARGE = 10 * _MIB
"""From here on a tensor has a segment of its own."""

Linear = tuple[tuple[int, ...], tuple[int, ...]]
"""Bytes of a matrix's tensors: those that are repacked one after the other, and those that loading frees."""


def segment_bytes(size: int, largest_rest: float) -> int:
    """What a tensor from 10 MiB takes of its segment; ``largest_rest``: see :func:`taken_beyond`."""
    segment = -(-size // (2 * _MIB)) * 2 * _MIB
    rest = segment - size
    return segment if rest <= max(_MIB, largest_rest * segment) else size


@lru_cache(maxsize=512)
def taken_beyond(first: int, layer: tuple[Linear, ...], layers: int, last: int, largest_rest: float) -> int:
    """Bytes that loading takes beyond the closed form: ``first`` and ``last`` are the embedding and the head.

    ``largest_rest``: a rest of a large segment up to this share stays with its tensor, however large; 0: up to 1 MiB.
    """
    free: list[int] = []
    taken = 0

    def take(size: int) -> int:
        nonlocal taken
        if size <= _MIB:
            return 0  # small ones share segments of 2 MiB without loss
        place = bisect_left(free, size)
        if place < len(free):
            block = free.pop(place)
        else:
            block = 20 * _MIB if size < LARGE else -(-size // (2 * _MIB)) * 2 * _MIB
        rest = block - size
        if rest > _MIB and not (size >= LARGE and rest <= largest_rest * block):
            insort(free, rest)
            block = size
        taken += block
        return block

    def release(block: int) -> None:
        nonlocal taken
        if block:
            taken -= block
            insort(free, block)

    take(first)
    held = []
    for _ in range(layers):
        for kept, freed in layer:
            held.append((kept, [take(size) for size in kept], [take(size) for size in freed]))
    take(last)
    for kept, blocks, unused in held:
        for block in unused:
            release(block)
        for size, block in zip(kept, blocks, strict=True):
            take(size)
            release(block)
    each = sum(_closed(size, largest_rest) for kept, _ in layer for size in kept)
    return taken - layers * each - _closed(first, largest_rest) - _closed(last, largest_rest)


def _closed(size: int, largest_rest: float) -> int:
    if size <= _MIB:
        return 0
    return size if size < LARGE else segment_bytes(size, largest_rest)
