"""The recurrent state of hybrid models (Qwen3-Next) in vLLM's paged cache.

vLLM keeps the state of a gated delta-net layer in the same pool of blocks as the KV cache. For that it raises the
attention block size until an attention page covers a state page, pads the state page to that size, and splits the
layers into groups of equal size; a request then takes blocks in every group.
"""

from __future__ import annotations

from math import lcm

import msgspec

from qcmatrix.catalogue.models import LinearAttention
from qcmatrix.errors import RequestError
from qcmatrix.memory.kv_behaviour import Behaviour, element_bytes

__all__ = ["FLASHINFER_CHECKPOINT_ALIGNMENT", "StatePage", "group_layers", "raised_block_size", "state_page"]

FLASHINFER_CHECKPOINT_ALIGNMENT = 64
"""Tokens; ``vllm/v1/attention/backends/gdn_attn.py`` of 0.33.0."""


class StatePage(msgspec.Struct, frozen=True):
    """The state of one gated delta-net layer on one rank, and what a request holds of it. Sizes in bytes."""

    conv_shape: tuple[int, int]
    """(kernel - 1 + speculative tokens, channels of this rank)."""
    conv_element_bytes: int
    ssm_shape: tuple[int, int, int]
    """(value heads of this rank, value head dim, key head dim); up to 0.15 the last two are swapped (same size)."""
    ssm_element_bytes: int
    page_bytes: int
    """Without padding."""
    mode: str
    """``mamba_cache_mode`` in effect: ``none`` or ``align`` (Qwen3-Next never runs in ``all``)."""
    blocks_per_request: int
    """Blocks that one request takes in each group of state layers, as vLLM counts them."""
    blocks_per_sequence: int
    """Blocks that one running sequence really holds in each group: a state, speculative ones, checkpoints."""
    checkpoint_alignment: int
    """Tokens; 1 where no prefill checkpoints are kept."""


def state_page(
    linear: LinearAttention,
    *,
    tensor_parallel_size: int,
    dtype: str,
    mamba_cache_dtype: str,
    mamba_ssm_cache_dtype: str,
    enable_prefix_caching: bool | None,
    num_speculative_tokens: int,
    compute_capability: tuple[int, int] | None,
    behaviour: Behaviour,
) -> StatePage:
    """The state page of one layer on one rank.

    Source: ``MambaStateShapeCalculator.gated_delta_net_state_shape`` / ``_dtype``, ``MambaSpec.max_memory_usage_bytes``
    and ``MambaModelConfig`` of each release.

    Raises:
        RequestError: tensor parallelism does not divide the channels or value heads, or a dtype is not modelled.
    """
    channels = 2 * linear.key_head_dim * linear.num_key_heads + linear.value_head_dim * linear.num_value_heads
    if channels % tensor_parallel_size or linear.num_value_heads % tensor_parallel_size:
        raise RequestError(
            f"tensor parallel size {tensor_parallel_size} does not divide the {linear.num_value_heads} value heads "
            "of the gated delta-net layers"
        )
    conv_bytes = element_bytes(dtype if mamba_cache_dtype == "auto" else mamba_cache_dtype)
    ssm_bytes = conv_bytes
    if behaviour.ssm_dtype_is_separate and mamba_ssm_cache_dtype != "auto":
        ssm_bytes = element_bytes(mamba_ssm_cache_dtype)
    conv_shape = (linear.conv_kernel_dim - 1 + num_speculative_tokens, channels // tensor_parallel_size)
    ssm_shape = (linear.num_value_heads // tensor_parallel_size, linear.value_head_dim, linear.key_head_dim)

    caching = behaviour.hybrid_prefix_caching_default if enable_prefix_caching is None else enable_prefix_caching
    mode = "align" if caching and behaviour.mamba_align_mode else "none"
    checkpoints = int(
        mode == "align" and behaviour.prefill_checkpoints and _flashinfer_prefill(linear, compute_capability)
    )
    # 'align' counts the running state and the one that the next block boundary leaves behind.
    held = (2 if mode == "align" else 1) + num_speculative_tokens + checkpoints
    return StatePage(
        conv_shape=conv_shape,
        conv_element_bytes=conv_bytes,
        ssm_shape=ssm_shape,
        ssm_element_bytes=ssm_bytes,
        page_bytes=conv_shape[0] * conv_shape[1] * conv_bytes + ssm_shape[0] * ssm_shape[1] * ssm_shape[2] * ssm_bytes,
        mode=mode,
        blocks_per_request=held if behaviour.counts_speculative_states else 1,
        blocks_per_sequence=held,
        checkpoint_alignment=FLASHINFER_CHECKPOINT_ALIGNMENT if checkpoints else 1,
    )


def _flashinfer_prefill(linear: LinearAttention, compute_capability: tuple[int, int] | None) -> bool:
    """Does ``gdn_prefill_backend`` ``auto`` resolve to FlashInfer (0.33.0)? 10.x and 12.x also want CUDA 13."""
    if compute_capability is None:
        return False
    major = compute_capability[0]
    return major == 9 or (major in (10, 12) and linear.key_head_dim == 128)


def raised_block_size(
    page: StatePage,
    *,
    attention_bytes_per_token: int,
    head_dim: int,
    block_size: int | None,
    compute_capability: tuple[int, int] | None,
    behaviour: Behaviour,
) -> int:
    """Tokens per attention block, raised so that one attention page covers one state page.

    Source: ``HybridAttentionMambaModelConfig`` (up to 0.19) and ``_align_hybrid_block_size`` (from 0.20.0).
    """
    alignment = 16
    blackwell = compute_capability is not None and compute_capability[0] == 10
    if head_dim == 256 and blackwell and (behaviour.blackwell_family or compute_capability == (10, 0)):
        alignment = behaviour.blackwell_alignment
    if behaviour.aligns_to_given_block_size and block_size is not None:
        alignment = max(alignment, block_size)
    alignment = lcm(alignment, page.checkpoint_alignment)
    raised = alignment * -(-page.page_bytes // (alignment * attention_bytes_per_token))
    return max(block_size or 16, raised)


def group_layers(
    attention: tuple[int, ...], state: tuple[int, ...], behaviour: Behaviour
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Split the layer indices of a model (or stage) into vLLM's cache groups: (attention groups, state groups).

    Source: ``_get_kv_cache_groups_uniform_page_size``.
    """
    kinds = [kind for kind in (attention, state) if kind]
    if len(kinds) == 1:
        return ((attention,) if attention else ()), ((state,) if state else ())
    size = min(len(kind) for kind in kinds)
    largest = max(len(kind) for kind in kinds)
    if largest < size * behaviour.padding_ratio:
        size = largest

    def split(layers: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        if behaviour.groups_per_stage:
            return tuple(layers[start : start + size] for start in range(0, len(layers), size))
        count = -(-len(layers) // size)
        return tuple(layers[start::count] for start in range(count))

    return split(attention), split(state)
