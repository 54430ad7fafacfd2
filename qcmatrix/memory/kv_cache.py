"""KV cache arithmetic: the integers of vLLM's own KV cache manager, for each release.

A *block* is the unit of vLLM's block pool: ``block_size`` tokens of every attention layer, or one recurrent state of
every state layer of a group. All ranks of a pipeline stage are alike; the stage with the fewest blocks decides.
Available memory is what vLLM prints as "Available KV cache memory" (or what ``--kv-cache-memory-bytes`` gives): one
number, or one per pipeline stage.
"""

from __future__ import annotations

from collections.abc import Sequence

from qcmatrix.memory.kv_behaviour import LengthCheck, supported_kv_cache_dtypes
from qcmatrix.memory.kv_layout import Layout, StageLayout, kv_layout, stage_layers

__all__ = [
    "Layout",
    "StageLayout",
    "admits",
    "blocks",
    "blocks_per_request",
    "capacity_context",
    "kv_layout",
    "largest_context",
    "mamba_blocks",
    "max_concurrency",
    "needed_bytes",
    "stage_layers",
    "supported_kv_cache_dtypes",
    "tokens",
]


def _per_stage(layout: Layout, available_bytes: int | Sequence[int]) -> Sequence[int]:
    if isinstance(available_bytes, int):
        return (available_bytes,) * len(layout)
    if len(available_bytes) != len(layout):
        raise ValueError(f"{len(layout)} pipeline stages, but {len(available_bytes)} amounts of memory")
    return available_bytes


def blocks(layout: Layout, available_bytes: int | Sequence[int], *, num_gpu_blocks_override: int | None = None) -> int:
    """Blocks of the pool: the smallest stage decides."""
    if num_gpu_blocks_override is not None:
        return num_gpu_blocks_override
    if isinstance(available_bytes, int):
        return max(0, available_bytes // max(stage.bytes_per_block for stage in layout))
    return max(
        0,
        min(
            memory // stage.bytes_per_block
            for stage, memory in zip(layout, _per_stage(layout, available_bytes), strict=True)
        ),
    )


def _attention_blocks(layout: Layout, max_model_len: int) -> int:
    """Blocks in each attention group for one request of that length."""
    stage = layout[0]
    per_rank = -(-max_model_len // stage.decode_context_parallel_size)
    return -(-per_rank // stage.block_size)


def blocks_per_request(layout: Layout, max_model_len: int) -> int:
    """Blocks of the pool that one request of ``max_model_len`` tokens takes, as "Maximum concurrency" counts them."""
    # Every group takes its own blocks; groups without a layer on a stage still stand in the block table.
    stage = layout[0]
    return len(stage.attention_groups) * _attention_blocks(layout, max_model_len) + stage.state_blocks_per_request


def max_concurrency(
    layout: Layout,
    available_bytes: int | Sequence[int],
    max_model_len: int,
    *,
    num_gpu_blocks_override: int | None = None,
) -> float:
    """The number of the "Maximum concurrency for ... tokens per request" line, before it is rounded to two decimals."""
    have = blocks(layout, available_bytes, num_gpu_blocks_override=num_gpu_blocks_override)
    return have / blocks_per_request(layout, max_model_len)


def tokens(
    layout: Layout,
    available_bytes: int | Sequence[int],
    max_model_len: int | None = None,
    *,
    num_gpu_blocks_override: int | None = None,
) -> int:
    """What the "GPU KV cache size: ... tokens" line prints.

    Up to 0.20.0 that is blocks, shared out evenly over the cache groups, times block size: for hybrid models about the
    number of groups too few. From 0.20.1 it is concurrency times ``max_model_len``; without that length, the longest
    single request is counted, which is the same for models with attention only.
    """
    have = blocks(layout, available_bytes, num_gpu_blocks_override=num_gpu_blocks_override)
    stage = layout[0]
    if stage.behaviour.tokens_from_concurrency:
        if max_model_len is None:
            return _tokens_of(layout, have)
        return int(have / blocks_per_request(layout, max_model_len) * max_model_len)
    smallest = stage.block_size
    if stage.state is not None and stage.state.mode == "none" and max_model_len is not None:
        # A state block counts as max_model_len tokens when states are not cached by prefix.
        smallest = min(smallest, max_model_len)
    groups = len(stage.attention_groups) + len(stage.state_groups)
    return have // groups * smallest * stage.decode_context_parallel_size


def _tokens_of(layout: Layout, have: int) -> int:
    """Tokens of the longest request that ``have`` blocks hold."""
    stage = layout[0]
    left = have - stage.state_blocks_per_request
    groups = len(stage.attention_groups) or 1
    return max(0, left // groups * stage.block_size * stage.decode_context_parallel_size)


def capacity_context(
    layout: Layout, available_bytes: int | Sequence[int], *, num_gpu_blocks_override: int | None = None
) -> int:
    """Tokens of the longest single request that the block pool can really hold: one block is never handed out."""
    have = blocks(layout, available_bytes, num_gpu_blocks_override=num_gpu_blocks_override)
    return _tokens_of(layout, have - 1)


def needed_bytes(layout: Layout, max_model_len: int) -> int:
    """Bytes of the "... GiB KV cache is needed" message: one request of ``max_model_len`` on the stage that needs most.

    From 0.14 to 0.16 the message means the whole model, whatever the pipeline; from 0.14 to 0.18 it looks at the first
    cache group only, which for Qwen3-Next is one of recurrent states: the number does not grow with the length there.
    """
    return max(_needed(layout, index, max_model_len) for index in range(len(layout)))


def _needed(layout: Layout, index: int, max_model_len: int) -> int:
    fixed, per_block = _need_terms(layout, index)
    return fixed + per_block * _attention_blocks(layout, max_model_len)


def _need_terms(layout: Layout, index: int) -> tuple[int, int]:
    """(bytes whatever the length, bytes per attention block) that the length check of a stage counts."""
    stage = layout[index]
    state_blocks = 0 if stage.state is None else stage.state.blocks_per_request
    match stage.behaviour.length_check:
        case LengthCheck.LAYERS:
            return stage.state_layers * stage.page_bytes * state_blocks, stage.attention_layers * stage.page_bytes
        case LengthCheck.GROUPS:
            return (
                stage.bytes_per_block * state_blocks * len(stage.state_groups),
                stage.bytes_per_block * len(stage.attention_groups),
            )
        case LengthCheck.FIRST_GROUP:
            per_block = stage.bytes_per_block
        case LengthCheck.MODEL:
            # The largest group over all stages: stages split a group's layers among them.
            groups = range(len(stage.attention_groups)), range(len(stage.state_groups))
            per_block = stage.page_bytes * max(
                *(sum(other.attention_groups[group] for other in layout) for group in groups[0]),
                *(sum(other.state_groups[group] for other in layout) for group in groups[1]),
                0,
            )
    return (per_block * state_blocks, 0) if stage.first_group_is_state else (0, per_block)


def _checked_memory(
    layout: Layout, available_bytes: int | Sequence[int], num_gpu_blocks_override: int | None
) -> list[int]:
    """The memory that the length check grants each stage."""
    release = layout[0].behaviour
    memory = list(_per_stage(layout, available_bytes))
    if num_gpu_blocks_override is not None and release.override_is_checked:
        memory = [num_gpu_blocks_override * stage.bytes_per_block for stage in layout]
    if release.length_check is LengthCheck.MODEL:
        memory = [min(memory)] * len(layout)
    if release.reserves_null_block:
        memory = [have - stage.bytes_per_block for stage, have in zip(layout, memory, strict=True)]
    return memory


def admits(
    layout: Layout,
    available_bytes: int | Sequence[int],
    max_model_len: int,
    *,
    num_gpu_blocks_override: int | None = None,
) -> bool:
    """Does vLLM's own check let ``max_model_len`` pass? Not the same as: does such a request fit."""
    memory = _checked_memory(layout, available_bytes, num_gpu_blocks_override)
    return all(have > 0 and _needed(layout, index, max_model_len) <= have for index, have in enumerate(memory))


def largest_context(
    layout: Layout,
    available_bytes: int | Sequence[int],
    *,
    limit: int | None = None,
    num_gpu_blocks_override: int | None = None,
) -> int:
    """vLLM's "estimated maximum model length" (and what ``--max-model-len auto`` takes); 0: not even one token.

    vLLM searches from 1 to the configured length; ``limit`` is that length. Where the check of a release does not see
    the length (hybrid models, 0.14 to 0.18) the answer is ``limit``, or without one :func:`capacity_context`.
    """
    lengths = []
    for index, memory in enumerate(_checked_memory(layout, available_bytes, num_gpu_blocks_override)):
        fixed, per_block = _need_terms(layout, index)
        if memory <= 0 or fixed > memory:
            return 0
        if per_block:
            stage = layout[index]
            lengths.append((memory - fixed) // per_block * stage.block_size * stage.decode_context_parallel_size)
    if not lengths:
        if limit is not None:
            return limit
        return capacity_context(layout, available_bytes, num_gpu_blocks_override=num_gpu_blocks_override)
    largest = min(lengths)
    return largest if limit is None else min(largest, limit)


def mamba_blocks(
    layout: Layout, available_bytes: int | Sequence[int], *, num_gpu_blocks_override: int | None = None
) -> int | None:
    """The number that vLLM calls "available Mamba cache blocks": the blocks of the pool; ``None``: no recurrent states.

    From 0.20.0 a server with full CUDA graphs refuses to start when ``max_num_seqs`` is larger ("max_num_seqs (1024)
    exceeds available Mamba cache blocks (939)"); 0.18 and 0.19 capture fewer graph sizes instead.
    """
    if not layout[0].hybrid:
        return None
    return blocks(layout, available_bytes, num_gpu_blocks_override=num_gpu_blocks_override)
