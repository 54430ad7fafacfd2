"""Where the KV cache of a model lies: layers, heads, pages and cache groups of each pipeline stage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from qcmatrix.catalogue.models import Architecture, LinearAttention
from qcmatrix.errors import RequestError
from qcmatrix.memory.hybrid import StatePage, group_layers, raised_block_size, state_page
from qcmatrix.memory.kv_behaviour import Behaviour, behaviour, bytes_per_head_and_token
from qcmatrix.versions import Version

__all__ = ["DEFAULT_BLOCK_SIZE", "Layout", "StageLayout", "kv_layout", "stage_layers"]

DEFAULT_BLOCK_SIZE = 16
"""Tokens per block on CUDA and ROCm when ``--block-size`` is not given (0.10.0 to 0.33.0, head dim up to 256)."""


class StageLayout(msgspec.Struct, frozen=True):
    """The KV cache of one rank of one pipeline stage. Sizes in bytes."""

    stage: int
    first_layer: int
    layers: int
    """Hidden layers of the stage, of every kind."""
    attention_layers: int
    """With full attention, draft layers included."""
    state_layers: int
    """With a recurrent state (gated delta-net)."""
    kv_heads: int
    """Per rank, at least one."""
    head_dim: int
    block_size: int
    """Tokens per attention block and rank, in effect (raised for hybrid models)."""
    page_bytes: int
    """One block of one layer; state pages are padded to it."""
    bytes_per_token: int
    """Growth per token and rank, block rounding left out; with decode context parallelism a rank holds one token of so
    many as its size."""
    attention_groups: tuple[int, ...]
    """Layers of this stage in each attention group."""
    state_groups: tuple[int, ...]
    """Layers of this stage in each state group."""
    bytes_per_block: int
    """One block of the pool: the page times the layers of the largest group."""
    state: StatePage | None
    state_page_padding: int
    """Bytes per state page that padding wastes."""
    first_group_is_state: bool
    decode_context_parallel_size: int
    behaviour: Behaviour

    @property
    def hybrid(self) -> bool:
        """Has layers with a recurrent state."""
        return self.state is not None

    @property
    def state_blocks_per_request(self) -> int:
        """Blocks of the pool that one request takes for its recurrent states, however long it is."""
        return 0 if self.state is None else self.state.blocks_per_request * len(self.state_groups)


Layout = tuple[StageLayout, ...]


def stage_layers(
    num_hidden_layers: int, pipeline_parallel_size: int, partition: Sequence[int] | None = None
) -> tuple[tuple[int, int], ...]:
    """(first layer, number of layers) of each pipeline stage, as ``get_pp_indices`` splits them.

    Without a partition (``VLLM_PP_LAYER_PARTITION``) the rest of an uneven split goes to the last stages but one.

    Raises:
        RequestError: a partition of another length or sum, or more stages than layers.
    """
    if partition is None:
        if pipeline_parallel_size > num_hidden_layers:
            raise RequestError(f"{num_hidden_layers} layers cannot be split over {pipeline_parallel_size} stages")
        counts = [num_hidden_layers // pipeline_parallel_size] * pipeline_parallel_size
        for place in range(2, num_hidden_layers % pipeline_parallel_size + 2):
            counts[-place] += 1
    else:
        counts = list(partition)
        if len(counts) != pipeline_parallel_size or sum(counts) != num_hidden_layers:
            raise RequestError(
                f"the layer partition {','.join(map(str, counts))} does not fit {pipeline_parallel_size} stages of "
                f"{num_hidden_layers} layers in all"
            )
    starts = [sum(counts[:stage]) for stage in range(len(counts))]
    return tuple(zip(starts, counts, strict=True))


def kv_layout(
    architecture: Architecture,
    *,
    tensor_parallel_size: int,
    pipeline_parallel_size: int = 1,
    pipeline_partition: Sequence[int] | None = None,
    kv_cache_dtype: str = "auto",
    dtype: str = "auto",
    block_size: int | None = None,
    decode_context_parallel_size: int = 1,
    version: Version | str,
    enable_prefix_caching: bool | None = None,
    mamba_cache_dtype: str = "auto",
    mamba_ssm_cache_dtype: str = "auto",
    num_speculative_tokens: int = 0,
    draft_attention_layers: int = 0,
    compute_capability: tuple[int, int] | None = (9, 0),
) -> Layout:
    """The KV cache layout of each pipeline stage.

    ``kv_cache_dtype`` is the one in effect: a checkpoint that stores its own KV scheme turns ``auto`` into ``fp8``
    before this. ``enable_prefix_caching`` (``None``: the release's default) and everything after it matter for hybrid
    models only; ``draft_attention_layers`` are those of a speculative (MTP) module, kept by the last stage.
    ``compute_capability`` ``None`` stands for ROCm or an unknown card.

    Raises:
        RequestError: a dtype that is not modelled, or a split that vLLM refuses.
    """
    return _layout(
        architecture.num_hidden_layers,
        architecture.num_key_value_heads,
        architecture.head_dim,
        architecture.linear_attention,
        tensor_parallel_size,
        pipeline_parallel_size,
        None if pipeline_partition is None else tuple(pipeline_partition),
        kv_cache_dtype,
        dtype,
        block_size,
        decode_context_parallel_size,
        version,
        enable_prefix_caching,
        mamba_cache_dtype,
        mamba_ssm_cache_dtype,
        num_speculative_tokens,
        draft_attention_layers,
        compute_capability,
    )


@lru_cache(maxsize=4096)
def _layout(
    num_hidden_layers: int,
    num_key_value_heads: int,
    head_dim: int,
    linear: LinearAttention | None,
    tensor_parallel_size: int,
    pipeline_parallel_size: int,
    partition: tuple[int, ...] | None,
    kv_cache_dtype: str,
    dtype: str,
    given_block_size: int | None,
    decode_context_parallel_size: int,
    version: Version | str,
    enable_prefix_caching: bool | None,
    mamba_cache_dtype: str,
    mamba_ssm_cache_dtype: str,
    num_speculative_tokens: int,
    draft_attention_layers: int,
    compute_capability: tuple[int, int] | None,
) -> Layout:
    release = behaviour(version)
    kv_heads = max(1, num_key_value_heads // tensor_parallel_size)
    per_token = kv_heads * bytes_per_head_and_token(kv_cache_dtype, dtype, head_dim)
    stages = stage_layers(num_hidden_layers, pipeline_parallel_size, partition)

    state = None
    block_size = given_block_size or DEFAULT_BLOCK_SIZE
    if linear is not None:
        state = state_page(
            linear,
            tensor_parallel_size=tensor_parallel_size,
            dtype=dtype,
            mamba_cache_dtype=mamba_cache_dtype,
            mamba_ssm_cache_dtype=mamba_ssm_cache_dtype,
            enable_prefix_caching=enable_prefix_caching,
            num_speculative_tokens=num_speculative_tokens,
            compute_capability=compute_capability,
            behaviour=release,
        )
        block_size = raised_block_size(
            state,
            attention_bytes_per_token=per_token,
            head_dim=head_dim,
            block_size=given_block_size,
            compute_capability=compute_capability,
            behaviour=release,
        )
    page = block_size * per_token

    def is_state(layer: int) -> bool:
        return linear is not None and layer < num_hidden_layers and (layer + 1) % linear.full_attention_interval != 0

    everything = range(num_hidden_layers + draft_attention_layers)
    model_groups = group_layers(
        tuple(layer for layer in everything if not is_state(layer)), tuple(filter(is_state, everything)), release
    )
    result = []
    for stage, (first, count) in enumerate(stages):
        last = stage == len(stages) - 1
        own = range(first, first + count + (draft_attention_layers if last else 0))
        attention = tuple(layer for layer in own if not is_state(layer))
        states = tuple(filter(is_state, own))
        if release.groups_per_stage:
            groups = group_layers(attention, states, release)
            attention_groups, state_groups = (tuple(map(len, kind)) for kind in groups)
        else:
            attention_groups, state_groups = (
                tuple(sum(layer in own for layer in group) for group in kind) for kind in model_groups
            )
        result.append(
            StageLayout(
                stage=stage,
                first_layer=first,
                layers=count,
                attention_layers=len(attention),
                state_layers=len(states),
                kv_heads=kv_heads,
                head_dim=head_dim,
                block_size=block_size,
                page_bytes=page,
                bytes_per_token=len(attention) * per_token,
                attention_groups=attention_groups,
                state_groups=state_groups,
                bytes_per_block=page * max((*attention_groups, *state_groups)),
                state=state,
                state_page_padding=0 if state is None else page - state.page_bytes,
                # Groups stand in the order in which the layers are built; the first layer decides.
                first_group_is_state=is_state(0),
                decode_context_parallel_size=(
                    decode_context_parallel_size if release.has_decode_context_parallel else 1
                ),
                behaviour=release,
            )
        )
    return tuple(result)
