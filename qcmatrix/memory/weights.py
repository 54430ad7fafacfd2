"""Bytes of parameters that each rank holds, as vLLM's own model code creates them.

The integers are asked of real releases (``qcmatrix probe``, part ``weights``: every release from 0.10.0 to 0.33.0; and
``tests/memory/oracle/weights.jsonl``: 0.32.0, all schemes). How sure each part is:

* *exact* (``as_created=True``): 16 bit, FP8 by block, AWQ for sparse (Qwen3-MoE) and hybrid (Qwen3-Next) models, under
  TP, PP, DP and EP, in every release; FP8 by tensor or channel, GPTQ, compressed-tensors W4A16 and NVFP4 in 0.32.0;
* *derived* from the sources: what loading frees or repacks (``as_created=False``), FP8 made while loading, cards
  without FP8 units (Marlin), rounding on compute capability 10.x, and the rest of what other releases do differently.

"Model loading took X GiB" is `loaded_bytes`: this, the rotary cache and what PyTorch's allocator adds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from qcmatrix.catalogue.models import Architecture, LinearAttention, MixtureOfExperts, Quantization
from qcmatrix.errors import RequestError
from qcmatrix.memory.allocator import taken_beyond
from qcmatrix.memory.weights_schemes import (
    PLAIN,
    Scheme,
    experts_bytes,
    grouped_tensors,
    holder_bytes,
    largest_rest,
    matrix_bytes,
    scheme_of,
)
from qcmatrix.versions import Range, Version, parse_version

__all__ = ["layers_per_stage", "loaded_bytes", "made_while_loading", "rotary_cache_bytes", "weights_bytes"]

_VOCABULARY_PADDING = 64
_ROUTER_FOLLOWS_QUANTIZATION = Range("0.10.1", None)
"""Qwen3-MoE's router takes the model's quantization from 0.10.1. Checkpoints leave it out, FP8 made while loading not:
https://github.com/vllm-project/vllm/blob/v0.10.1/vllm/model_executor/models/qwen3_moe.py, 2026-11-22."""
_HYBRID_ROUTER_FOLLOWS_QUANTIZATION = Range("0.10.2", "0.17.0")
"""The same of Qwen3-Next: https://github.com/vllm-project/vllm/blob/v0.17.0/vllm/model_executor/models/qwen3_next.py."""
_SHARED_EXPERT_REPLICATED_FROM = parse_version("0.20.0")
"""With sequence parallel experts (TP > 1, DP > 1, EP) each rank keeps the whole shared expert from 0.20.0:
https://github.com/vllm-project/vllm/blob/v0.20.0/vllm/model_executor/models/qwen2_moe.py (``disable_tp``)."""
_EXPERTS_SPREAD_FROM = parse_version("0.10.1")
"""Experts that do not divide go one each to the first ranks; in 0.10.0 all of them go to the last rank:
https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/fused_moe/layer.py."""
_MODELOPT_QUANTIZES_HEAD = Range("0.23.0", None)
"""https://github.com/vllm-project/vllm/blob/v0.23.0/vllm/model_executor/layers/quantization/modelopt.py, 2026-11-22."""
_DECAYS_IN_16_BIT = Range("0.11.1", "0.19.0")
"""The gated delta net's ``A_log`` has the model's dtype there, float32 before and after (asked of all releases):
https://github.com/vllm-project/vllm/blob/v0.11.1/vllm/model_executor/models/qwen3_next.py, 2026-11-22."""
_PARTIAL_ROTARY = 4
"""Qwen3-Next rotates a quarter of each head (``partial_rotary_factor`` 0.25 of its ``config.json``)."""


class _Shape(NamedTuple):
    """The hashable part of an `Architecture` that sizes depend on."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool
    bias: bool
    qk_norm: bool
    gated: bool
    moe: MixtureOfExperts | None
    linear: LinearAttention | None


class _Layer(NamedTuple):
    """Bytes of the parts of one layer, norms left out."""

    attention: int
    linear: int
    dense: int
    feed_forward: int
    """The dense MLP of a dense model, else router, experts and shared expert."""

    def of(self, *, full: bool, dense: bool) -> int:
        return (self.attention if full else self.linear) + (self.dense if dense else self.feed_forward)


class _Ranks(NamedTuple):
    tensor: int
    pipeline: int
    data: int
    experts: bool
    partition: tuple[int, ...] | None


def layers_per_stage(
    num_hidden_layers: int, pipeline_parallel_size: int, partition: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """How many layers each pipeline stage gets, first to last.

    Left-over layers go to the last stages but the very last. The same in 0.10.0 to 0.33.0:
    https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/distributed/utils.py (``get_pp_indices``).

    Raises:
        RequestError: ``partition`` (``VLLM_PP_LAYER_PARTITION``) does not fit.
    """
    if partition is not None:
        if len(partition) != pipeline_parallel_size or sum(partition) != num_hidden_layers:
            raise RequestError(
                f"VLLM_PP_LAYER_PARTITION={','.join(map(str, partition))} does not split {num_hidden_layers} layers "
                f"into {pipeline_parallel_size} stages"
            )
        return tuple(partition)
    stages = [num_hidden_layers // pipeline_parallel_size] * pipeline_parallel_size
    for place in range(2, num_hidden_layers % pipeline_parallel_size + 2):
        stages[-place] += 1
    return tuple(stages)


def weights_bytes(
    architecture: Architecture,
    quantization: Quantization,
    *,
    tensor_parallel_size: int,
    pipeline_parallel_size: int = 1,
    data_parallel_size: int = 1,
    enable_expert_parallel: bool = False,
    pipeline_partition: tuple[int, ...] | None = None,
    version: Version,
    online: bool | None = None,
    as_created: bool = False,
    compute_capability: tuple[int, int] | None = None,
) -> tuple[int, ...]:
    """Bytes of parameters per rank, one integer per pipeline stage (of its largest rank, where experts are uneven).

    A launch that vLLM refuses (heads that do not divide ...) still gets a number, rounded down: refusing is for rules.
    Embeddings, norms and routers are 16 bit whatever the checkpoint, and so is nearly every ``lm_head``.

    Args:
        online: ``quantization`` is made from 16 bit weights while loading (``--quantization fp8`` on a BF16 one);
            ``None``: when it is vLLM's own FP8 without blocks.
        as_created: before loading frees and repacks anything: what the oracle counts.
        compute_capability: of the card; matters for FP8 below 8.9, 16 bit experts on 10.x, GPTQ on 9.0.

    Raises:
        RequestError: ``pipeline_partition`` does not fit the model.
    """
    shape, ranks = (
        _shape(architecture),
        _Ranks(
            tensor_parallel_size, pipeline_parallel_size, data_parallel_size, enable_expert_parallel, pipeline_partition
        ),
    )
    if online is None:
        online = made_while_loading(quantization)
    return _stages(shape, quantization, ranks, version, online, as_created, False, compute_capability)


def loaded_bytes(
    architecture: Architecture,
    quantization: Quantization,
    *,
    tensor_parallel_size: int,
    pipeline_parallel_size: int = 1,
    data_parallel_size: int = 1,
    enable_expert_parallel: bool = False,
    pipeline_partition: tuple[int, ...] | None = None,
    version: Version,
    online: bool | None = None,
    compute_capability: tuple[int, int] | None = None,
    positions: int | None = None,
    allocator_rounding: bool = True,
) -> tuple[int, ...]:
    """What "Model loading took X GiB" says, in bytes, per pipeline stage.

    The weights after loading, what PyTorch's allocator adds to large tensors, and the rotary cache (``positions`` as in
    `rotary_cache_bytes`). Within 0.05% of the public logs in ``tests/memory/test_weights.py``. The logs of NVIDIA's own
    container on GB10 show no ``allocator_rounding``. The other arguments and errors are those of `weights_bytes`.
    """
    shape, ranks = (
        _shape(architecture),
        _Ranks(
            tensor_parallel_size, pipeline_parallel_size, data_parallel_size, enable_expert_parallel, pipeline_partition
        ),
    )
    if online is None:
        online = made_while_loading(quantization)
    stages = _stages(shape, quantization, ranks, version, online, False, allocator_rounding, compute_capability)
    cache = rotary_cache_bytes(architecture, positions=positions)
    return tuple(stage + cache for stage in stages)


def made_while_loading(quantization: Quantization) -> bool:
    """Is it FP8 that vLLM makes of 16 bit weights? vLLM's own FP8 checkpoints have blocks."""
    return quantization.method == "fp8" and quantization.block is None


def _shape(a: Architecture) -> _Shape:
    return _Shape(
        a.hidden_size, a.intermediate_size, a.num_hidden_layers, a.num_attention_heads, a.num_key_value_heads,
        a.head_dim, a.vocab_size, a.tie_word_embeddings, a.attention_bias, a.qk_norm, a.attn_output_gate, a.moe,
        a.linear_attention,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _stages(
    shape: _Shape,
    quantization: Quantization,
    ranks: _Ranks,
    version: Version,
    online: bool,
    as_created: bool,
    allocated: bool,
    compute_capability: tuple[int, int] | None,
) -> tuple[int, ...]:
    scheme = scheme_of(
        quantization,
        online=online,
        as_created=as_created,
        allocated=allocated,
        compute_capability=compute_capability,
        version=version,
    )
    plain = PLAIN._replace(rounds_to=scheme.rounds_to, allocated=allocated, keeps_rest=scheme.keeps_rest)
    quantized = _layer_sizes(shape, ranks, scheme, plain, quantization.unquantized, version)
    kept = set(quantization.unquantized_layers)
    whole = _layer_sizes(shape, ranks, plain, plain, (), version) if kept else quantized
    dense_layers = shape.moe.dense_layers if shape.moe is not None else ()
    every = shape.linear.full_attention_interval if shape.linear is not None else 1
    head = _head_scheme(quantization, scheme, plain, version)

    stages = []
    start = 0
    for place, layers in enumerate(layers_per_stage(shape.layers, ranks.pipeline, ranks.partition)):
        end = start + layers
        full = end // every - start // every
        size = full * quantized.attention + (layers - full) * quantized.linear
        dense = sum(1 for layer in dense_layers if start <= layer < end)
        size += dense * quantized.dense + (layers - dense) * quantized.feed_forward
        for layer in kept:
            if start <= layer < end:
                is_full, is_dense = (layer + 1) % every == 0, layer in dense_layers
                size += whole.of(full=is_full, dense=is_dense) - quantized.of(full=is_full, dense=is_dense)
        size += layers * 2 * 2 * shape.hidden  # the two norms of a layer
        stages.append(size + _ends(shape, ranks, head, plain, first=place == 0, last=place == ranks.pipeline - 1))
        start = end
    if allocated and len(stages) == 1 and quantization.method in ("awq", "gptq") and not scheme.keeps_zero_points:
        stages[0] += _between(shape, ranks, scheme)
    return tuple(stages)


def _between(shape: _Shape, ranks: _Ranks, scheme: Scheme) -> int:
    """What the allocator loses between the smaller tensors of a dense model in 4 bit, whole on its ranks."""
    if shape.moe is not None or shape.linear is not None or scheme.bits != 4:
        return 0
    queries = shape.heads // ranks.tensor * shape.head
    keys = max(1, shape.kv_heads // ranks.tensor) * shape.head
    columns = shape.intermediate // ranks.tensor
    layer = tuple(
        grouped_tensors(scheme, outputs, inputs)
        for outputs, inputs in (
            (queries + 2 * keys, shape.hidden),
            (shape.hidden, queries),
            (2 * columns, shape.hidden),
            (shape.hidden, columns),
        )
    )
    table = 2 * shape.vocabulary // ranks.tensor * shape.hidden
    return max(0, taken_beyond(table, layer, shape.layers, 0 if shape.tied else table, largest_rest(scheme)))


def _layer_sizes(
    shape: _Shape, ranks: _Ranks, scheme: Scheme, plain: Scheme, skipped: tuple[str, ...], version: Version
) -> _Layer:
    attention = _attention(shape, ranks.tensor, plain if "attention" in skipped else scheme) + holder_bytes(scheme)
    linear = 0
    if shape.linear is not None:
        of_it = plain if "linear_attention" in skipped else scheme
        linear = _linear_attention(shape, shape.linear, ranks.tensor, of_it, version)
    if shape.moe is None:
        dense = _mlp(shape.hidden, shape.intermediate, ranks.tensor, plain if "mlp" in skipped else scheme)
        return _Layer(attention, linear, dense, dense)
    dense = 0
    if shape.moe.dense_layers:
        dense = _mlp(shape.hidden, shape.intermediate, ranks.tensor, plain if "mlp" in skipped else scheme)
    return _Layer(attention, linear, dense, _sparse(shape, shape.moe, ranks, scheme, plain, skipped, version))


def _head_scheme(quantization: Quantization, scheme: Scheme, plain: Scheme, version: Version) -> Scheme:
    """GPTQ quantizes ``lm_head`` if the checkpoint says so, ModelOpt from 0.23.0 unless it is left out; nobody else."""
    if "lm_head" in quantization.unquantized or scheme.online:
        return plain
    if quantization.method == "gptq" or (quantization.method == "modelopt" and version in _MODELOPT_QUANTIZES_HEAD):
        return scheme
    return plain


def _ends(shape: _Shape, ranks: _Ranks, head: Scheme, plain: Scheme, *, first: bool, last: bool) -> int:
    """Embedding, ``lm_head`` and the last norm of a stage.

    Qwen3-MoE and Qwen3-Next build embedding and ``lm_head`` on every stage, the dense models only where they are used
    (asked of 0.32.0; the same lines stand in every release from 0.10.0).
    """
    padded = -(-shape.vocabulary // _VOCABULARY_PADDING) * _VOCABULARY_PADDING // ranks.tensor
    embedding = matrix_bytes(plain, padded, shape.hidden)
    if shape.moe is not None:
        size = embedding + (0 if shape.tied else matrix_bytes(head, padded, shape.hidden))
        norm = last or shape.linear is None
    elif shape.tied:
        size, norm = (embedding if first or last else 0), last
    else:
        size, norm = (embedding if first else 0) + (matrix_bytes(head, padded, shape.hidden) if last else 0), last
    return size + (2 * shape.hidden if norm else 0)


def _attention(shape: _Shape, tensor: int, scheme: Scheme) -> int:
    queries = shape.heads // tensor * shape.head
    keys = max(1, shape.kv_heads // tensor) * shape.head
    outputs = queries * (2 if shape.gated else 1) + 2 * keys
    size = matrix_bytes(scheme, outputs, shape.hidden, 3) + matrix_bytes(scheme, shape.hidden, queries)
    if shape.bias:
        size += 2 * outputs
    if shape.qk_norm:
        size += 2 * 2 * shape.head
    return size


def _linear_attention(shape: _Shape, linear: LinearAttention, tensor: int, scheme: Scheme, version: Version) -> int:
    keys = linear.num_key_heads * linear.key_head_dim
    values = linear.num_value_heads * linear.value_head_dim
    heads = linear.num_value_heads // tensor
    gates = scheme if scheme.online else PLAIN  # b and a are too narrow for a block or for Marlin
    return (
        matrix_bytes(scheme, 2 * (keys + values) // tensor, shape.hidden)
        + matrix_bytes(gates, 2 * linear.num_value_heads // tensor, shape.hidden)
        + matrix_bytes(scheme, shape.hidden, values // tensor)
        + 2 * (2 * keys + values) // tensor * linear.conv_kernel_dim
        + 2 * linear.value_head_dim
        + (2 + (2 if version in _DECAYS_IN_16_BIT else 4)) * heads  # dt_bias, A_log
    )


def _mlp(hidden: int, intermediate: int, tensor: int, scheme: Scheme) -> int:
    columns = intermediate // tensor
    return matrix_bytes(scheme, 2 * columns, hidden, 2) + matrix_bytes(scheme, hidden, columns)


def _sparse(
    shape: _Shape,
    moe: MixtureOfExperts,
    ranks: _Ranks,
    scheme: Scheme,
    plain: Scheme,
    skipped: tuple[str, ...],
    version: Version,
) -> int:
    world = ranks.tensor * ranks.data  # experts see data parallel ranks as further ranks
    experts, columns = moe.num_experts, moe.moe_intermediate_size
    if ranks.experts:
        even = experts // world
        experts = -(-experts // world) if version >= _EXPERTS_SPREAD_FROM else experts - even * (world - 1)
    else:
        columns //= world
    size = experts_bytes(
        plain if "experts" in skipped else scheme,
        experts,
        shape.hidden,
        columns,
        sharded=not ranks.experts and world > 1,
    )
    follows = _ROUTER_FOLLOWS_QUANTIZATION if shape.linear is None else _HYBRID_ROUTER_FOLLOWS_QUANTIZATION
    router = scheme if scheme.online and version in follows else PLAIN
    size += matrix_bytes(router, moe.num_experts, shape.hidden)
    if moe.shared_expert_intermediate_size:
        whole = ranks.experts and ranks.tensor > 1 and ranks.data > 1 and version >= _SHARED_EXPERT_REPLICATED_FROM
        size += 2 * shape.hidden  # the shared expert's gate
        size += _mlp(
            shape.hidden,
            moe.shared_expert_intermediate_size,
            1 if whole else ranks.tensor,
            plain if "shared_expert" in skipped else scheme,
        )
    return size


def rotary_cache_bytes(architecture: Architecture, *, positions: int | None = None) -> int:
    """Bytes of the one table of cosines and sines that all layers of a rank share (16 bit).

    ``positions``: rows, when not the native ones: YaRN makes factor x original positions of them.
    """
    dimensions = architecture.head_dim
    if architecture.linear_attention is not None:
        dimensions //= _PARTIAL_ROTARY
    return 2 * dimensions * (positions or architecture.max_position_embeddings)
