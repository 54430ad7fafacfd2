"""The KV cache arithmetic of a single pipeline stage as plain numbers: fast enough for a planner's inner loop.

Gives the same integers as :mod:`qcmatrix.memory.kv_cache`; a test holds the two together.
"""

from __future__ import annotations

import msgspec

from qcmatrix.memory import kv_cache
from qcmatrix.memory.kv_layout import Layout

__all__ = ["OneStage", "one_stage"]


class OneStage(msgspec.Struct, frozen=True):
    """What the arithmetic needs of a layout."""

    block: int
    """Bytes of one block of the pool."""
    span: int
    """Tokens that a block covers, all context parallel ranks together."""
    parallel: int
    """Context parallel ranks."""
    block_size: int
    groups: int
    """Cache groups of both kinds."""
    attention_groups: int
    state_blocks: int
    """Blocks of recurrent states per request."""
    fixed_need: int
    """Bytes that the length check counts whatever the length."""
    need_per_block: int
    reserved: int
    """Bytes that the length check leaves out."""
    override_is_checked: bool
    tokens_from_concurrency: bool
    smallest_is_length: bool
    """State blocks count as ``max_model_len`` tokens (states that are not cached by prefix)."""

    def blocks(self, memory: int, override: int | None) -> int:
        """Blocks of the pool."""
        if override is not None:
            return override
        return memory // self.block if memory > 0 else 0

    def checked(self, memory: int, override: int | None) -> int:
        """Bytes that vLLM's length check grants."""
        if override is not None and self.override_is_checked:
            memory = override * self.block
        return memory - self.reserved

    def needed(self, context: int) -> int:
        """Bytes of the "... GiB KV cache is needed" message."""
        per_rank = -(-context // self.parallel)
        return self.fixed_need + self.need_per_block * -(-per_rank // self.block_size)

    def largest(self, checked: int) -> int:
        """vLLM's estimated maximum model length."""
        if checked <= 0 or self.fixed_need > checked:
            return 0
        return (checked - self.fixed_need) // self.need_per_block * self.span

    def capacity(self, blocks: int) -> int:
        """Tokens of the longest request that the pool can really hold: one block is never handed out."""
        return max(0, (blocks - 1 - self.state_blocks) // self.attention_groups * self.span)

    def per_request(self, context: int) -> int:
        """Blocks that one request takes."""
        per_rank = -(-context // self.parallel)
        return self.attention_groups * -(-per_rank // self.block_size) + self.state_blocks

    def tokens(self, blocks: int, per_request: int, context: int) -> int:
        """What "GPU KV cache size" prints."""
        if self.tokens_from_concurrency:
            return int(blocks / per_request * context)
        smallest = min(self.block_size, context) if self.smallest_is_length else self.block_size
        return blocks // self.groups * smallest * self.parallel


def one_stage(layout: Layout) -> OneStage | None:
    """The numbers of ``layout``; ``None`` where the general functions are needed.

    That is with several stages, and where a release's check does not see the length (some hybrids).
    """
    if len(layout) != 1:
        return None
    stage = layout[0]
    release = stage.behaviour
    span = stage.block_size * stage.decode_context_parallel_size
    first = kv_cache.needed_bytes(layout, span)
    per_block = kv_cache.needed_bytes(layout, 2 * span) - first
    if per_block == 0 or not stage.attention_layers:
        return None
    return OneStage(
        block=stage.bytes_per_block,
        span=span,
        parallel=stage.decode_context_parallel_size,
        block_size=stage.block_size,
        groups=len(stage.attention_groups) + len(stage.state_groups),
        attention_groups=len(stage.attention_groups),
        state_blocks=stage.state_blocks_per_request,
        fixed_need=first - per_block,
        need_per_block=per_block,
        reserved=stage.bytes_per_block if release.reserves_null_block else 0,
        override_is_checked=release.override_is_checked,
        tokens_from_concurrency=release.tokens_from_concurrency,
        smallest_is_length=stage.state is not None and stage.state.mode == "none",
    )
