"""Roofline bounds: no server is faster than its GPUs' peak arithmetic and memory bandwidth.

These are bounds, not predictions: kernels, communication, scheduling and the sampler come on top.
``reports/latency.md`` shows how far public measurements lie above them.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from qcmatrix.catalogue.models import Architecture, Quantization
from qcmatrix.deployment import Deployment
from qcmatrix.latency.work import expected_experts, layer_work

__all__ = ["Bounds", "bounds", "decode_step_seconds", "prefill_seconds"]


class Bounds(msgspec.Struct, frozen=True):
    """Lower bounds for one deployment; ``None`` where the card's peak is not known."""

    prompt_tokens: int
    """The prompt that the prefill bound speaks of: the whole context."""
    attention: Literal["bf16", "fp8"]
    """The precision in which attention is taken to run."""
    prefill_seconds: float | None
    """At least this long until the first token of such a prompt (TTFT)."""
    decode_milliseconds: float | None
    """At least this long per token (TPOT) for one request at that context."""
    decode_empty_milliseconds: float | None
    """The same with an empty context: short chats."""


def bounds(deployment: Deployment) -> Bounds:
    """Bounds for a prompt that fills the served context."""
    prefill = prefill_seconds(deployment, deployment.context)
    # With speculation one step gives several tokens: there is no bound on the time of one.
    speculates = deployment.speculation is not None
    full = None if speculates else decode_step_seconds(deployment, deployment.context, 1)
    empty = None if speculates else decode_step_seconds(deployment, 0, 1)
    return Bounds(
        prompt_tokens=deployment.context,
        attention="fp8" if _attends_in_fp8(deployment) else "bf16",
        prefill_seconds=prefill,
        decode_milliseconds=None if full is None else full * 1000,
        decode_empty_milliseconds=None if empty is None else empty * 1000,
    )


def prefill_seconds(deployment: Deployment, tokens: int) -> float | None:
    """At least this many seconds to prefill one prompt of ``tokens`` tokens on an idle server.

    The larger of arithmetic over peak and weight bytes per chunk over bandwidth. Tensor and pipeline parallel ranks
    share the work evenly (chunks flow through the stages); data parallel ranks share the experts only.
    """
    matmul = _matmul_flops_per_second(deployment)
    attend = _attention_flops_per_second(deployment)
    bandwidth = deployment.gpu.bandwidth_gbs
    if matmul is None or attend is None or bandwidth is None:
        return None
    a = deployment.architecture
    work = layer_work(a)
    sharing = deployment.tensor_parallel_size * deployment.pipeline_parallel_size
    moe_sharing = sharing * deployment.data_parallel_size
    met_experts = work.moe_layers * work.one_expert * (a.moe.num_experts_per_tok if a.moe else 0)
    dense_flops = 2 * tokens * (work.attention + work.linear_attention + work.mlp)
    # Causal: half of the tokens x tokens square, for scores and for values.
    attention_flops = 2 * work.full_attention_layers * a.num_attention_heads * a.head_dim * tokens * tokens
    arithmetic = (
        dense_flops / sharing / matmul
        + 2 * tokens * met_experts / moe_sharing / matmul
        + attention_flops / sharing / attend
    )
    chunk = max(1, deployment.max_num_batched_tokens) if deployment.enable_chunked_prefill else tokens
    chunks = math.ceil(tokens / chunk)
    # A router may send every token of a chunk to the same experts: only those are sure to be read.
    weights = _weight_bytes(a, deployment.quantization, 1)
    traffic = chunks * (weights.dense / sharing + weights.experts / moe_sharing) / (bandwidth * 1e9)
    return max(arithmetic, traffic)


def decode_step_seconds(deployment: Deployment, context: int, concurrency: float, *, engines: int = 1) -> float | None:
    """At least this many seconds for one decode step of ``concurrency`` requests that hold ``context`` tokens each.

    All weights that the step meets and all KV that it attends to are read once. Pipeline stages follow each other, so
    they add up and do not divide. ``concurrency`` is per engine (data parallel rank); ``engines`` run as many each at
    the same time: their tokens meet the experts together. For one request this is a bound; for several it takes the
    router to choose evenly, which a skewed one beats.
    """
    bandwidth = deployment.gpu.bandwidth_gbs
    matmul = _matmul_flops_per_second(deployment)
    if bandwidth is None or matmul is None:
        return None
    a = deployment.architecture
    work = layer_work(a)
    tp = deployment.tensor_parallel_size
    moe_sharing = tp * deployment.data_parallel_size
    weights = _weight_bytes(a, deployment.quantization, concurrency * engines)
    kv_heads = max(1.0, a.num_key_value_heads / tp)
    kv_width = 1 if deployment.kv_cache_dtype.startswith("fp8") else 2
    kv = concurrency * context * work.full_attention_layers * 2 * kv_heads * a.head_dim * kv_width
    kv /= deployment.decode_context_parallel_size
    head = work.head * 2 / tp
    traffic = (weights.dense / tp + weights.experts / moe_sharing + head + kv) / (bandwidth * 1e9)
    met = work.attention + work.linear_attention + work.mlp + work.head
    met_experts = work.moe_layers * work.one_expert * (a.moe.num_experts_per_tok if a.moe else 0)
    arithmetic = 2 * concurrency * (met / tp + engines * met_experts / moe_sharing) / matmul
    return max(traffic, arithmetic)


class _WeightBytes(msgspec.Struct, frozen=True):
    dense: float
    experts: float


def _weight_bytes(architecture: Architecture, quantization: Quantization, tokens: float) -> _WeightBytes:
    """Bytes of the layers' weights that ``tokens`` tokens meet, whole model, scales left out."""
    work = layer_work(architecture)
    quantized = quantization.weight_bits / 8
    kept = set(quantization.unquantized)

    def width(part: str) -> float:
        return 2.0 if part in kept else quantized

    dense = (
        work.attention * width("attention")
        + work.linear_attention * width("linear_attention")
        + work.mlp * min(width("mlp"), width("shared_expert"))
    )
    experts = 0.0
    if architecture.moe is not None:
        met = expected_experts(architecture.moe.num_experts, architecture.moe.num_experts_per_tok, tokens)
        experts = met * work.moe_layers * work.one_expert * width("experts")
    return _WeightBytes(dense=dense, experts=experts)


def _matmul_flops_per_second(deployment: Deployment) -> float | None:
    gpu = deployment.gpu
    if gpu.bf16_tflops is None:
        return None
    bits = deployment.quantization.activation_bits
    if bits == 16 or gpu.fp8_tflops is None:
        return gpu.bf16_tflops * 1e12
    # No FP4 peak is in the catalogue: twice the FP8 peak is what tensor cores that have it reach at best.
    return gpu.fp8_tflops * 1e12 * (2 if bits == 4 else 1)


def _attends_in_fp8(deployment: Deployment) -> bool:
    """FlashAttention 3 and FlashInfer can attend in FP8 when the KV cache is FP8: the bound must allow it."""
    return deployment.kv_cache_dtype.startswith("fp8") and deployment.gpu.fp8_tflops is not None


def _attention_flops_per_second(deployment: Deployment) -> float | None:
    gpu = deployment.gpu
    if gpu.bf16_tflops is None:
        return None
    if _attends_in_fp8(deployment) and gpu.fp8_tflops is not None:
        return gpu.fp8_tflops * 1e12
    return gpu.bf16_tflops * 1e12
