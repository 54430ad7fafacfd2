"""Bytes of one weight matrix, or of a layer's experts, under each way of storing weights.

Sizes are what vLLM's quantization methods create (``create_weights`` of ``vllm/model_executor/layers/quantization/``,
read in 0.32.0) and, with ``as_created=False``, what is left when ``process_weights_after_loading`` is done. Shapes are
those of one rank: a matrix is ``outputs`` x ``inputs``, made of ``parts`` merged projections (3 for q, k, v).
"""

from __future__ import annotations

from enum import Enum
from math import gcd
from typing import NamedTuple

from qcmatrix.catalogue.models import Quantization
from qcmatrix.memory.allocator import LARGE, Linear, segment_bytes
from qcmatrix.versions import Version, parse_version

__all__ = [
    "PLAIN",
    "Kind",
    "Scheme",
    "experts_bytes",
    "grouped_tensors",
    "holder_bytes",
    "largest_rest",
    "matrix_bytes",
    "scheme_of",
]

_BLOCK_REFINED_FROM = parse_version("0.29.0")
"""From here FP8 block scales of experts are refined when tensor parallelism cuts a block:
https://github.com/vllm-project/vllm/blob/v0.29.0/vllm/model_executor/layers/fused_moe/oracle/fp8.py, 2026-11-22."""
_TRTLLM_ROUNDS_FROM = parse_version("0.31.0")
"""From here 16 bit experts on compute capability 10.x are rounded up to 128 columns for FlashInfer's TRT-LLM kernel:
https://github.com/vllm-project/vllm/blob/v0.31.0/vllm/model_executor/layers/fused_moe/oracle/unquantized.py."""
_KEEPS_REST_FROM = parse_version("0.20.0")
"""From here vLLM runs on PyTorch 2.11 (``requirements/cuda.txt`` of 0.19.1: 2.10)."""
_LARGEST_REST_KEPT = 1 / 12
"""Share of a segment. In logs of 0.21 to 0.29 rests of 6.3% are kept, of 10.7% split off (``public_cases.jsonl``)."""
_ONLINE_SCALES_OF_ONE_TENSOR_FROM = parse_version("0.13.0")
_ONLINE_SCALES_MADE_WHILE_LOADING_FROM = parse_version("0.19.0")
"""FP8 made while loading: the model code creates 3 scales per expert beside the 16 bit weights, then 2, then none:
https://github.com/vllm-project/vllm/blob/v0.18.1/vllm/model_executor/layers/quantization/fp8.py (asked of all
releases)."""
_ONLINE_WITHOUT_HOLDERS_FROM = parse_version("0.31.0")
"""From here ``--quantization fp8`` on 16 bit weights is ``OnlineQuantizationConfig``, which leaves attention alone:
https://github.com/vllm-project/vllm/blob/v0.31.0/vllm/model_executor/model_loader/weight_utils.py."""
_HOLDERS_WITH_ZERO_POINTS_FROM = parse_version("0.15.0")
"""``CompressedTensorsKVCacheMethod.create_weights`` of ``quantization/compressed_tensors/compressed_tensors.py``:
https://github.com/vllm-project/vllm/tree/v0.15.0, 2026-11-22."""
_SMALLEST_REFINED_BLOCK = 32
_SMALLEST_GROUP = 32
_NATIVE_FP8 = (8, 9)
"""Cards below it keep FP8 weights for the Marlin kernel, whose scales are 16 bit and one per column and group."""
_MACHETE = (9, 0)
"""Machete (Hopper) leaves the unused zero points of symmetric GPTQ in memory, Marlin (the others) frees them."""


class Kind(Enum):
    """How the numbers of a matrix are stored."""

    PLAIN = "16 bit"
    FP8_BLOCK = "FP8, one float32 scale per block"
    FP8_TENSOR = "FP8, one float32 scale per merged projection"
    FP8_TENSOR_STATIC = "the same with a static input scale"
    FP8_CHANNEL = "8 bit, one float32 scale per output"
    GROUPED_INTEGERS = "4 or 8 bit integers, one 16 bit scale per group of inputs"
    NVFP4 = "4 bit floats, one 8 bit scale per 16 inputs, float32 scales per projection"


class Scheme(NamedTuple):
    """All that the sizes of one checkpoint's matrices depend on."""

    kind: Kind
    method: str = "none"
    bits: int = 16
    group: int = 0
    """Inputs that share a scale; 0: all of them."""
    block: tuple[int, int] = (128, 128)
    symmetric: bool = True
    online: bool = False
    as_created: bool = False
    refines: bool = False
    rounds_to: int = 1
    """Columns of an expert are rounded up to a multiple of it."""
    marlin_fp8: bool = False
    keeps_zero_points: bool = False
    created_scales: int = 0
    """Float32 scales per expert that are created beside 16 bit weights (``online`` and ``as_created``)."""
    holders: int = 0
    """Bytes of the q, k and v scale holders of one attention layer, which loading deletes."""
    allocated: bool = False
    """Count what PyTorch's allocator takes, not only what the tensors need."""
    keeps_rest: bool = False
    """The allocator of PyTorch 2.11 and later: it splits a large tensor's segment less often."""


PLAIN = Scheme(Kind.PLAIN)


def scheme_of(
    quantization: Quantization,
    *,
    online: bool,
    as_created: bool,
    allocated: bool,
    compute_capability: tuple[int, int] | None,
    version: Version,
) -> Scheme:
    """What ``quantization`` means for the sizes. ``online``: made from 16 bit weights while loading."""
    kind = _kind(quantization)
    created_scales = 0
    if online and as_created:
        kind = Kind.PLAIN  # the model code creates 16 bit weights, which loading replaces one by one
        if version < _ONLINE_SCALES_MADE_WHILE_LOADING_FROM:
            created_scales = 2 if version >= _ONLINE_SCALES_OF_ONE_TENSOR_FROM else 3
    group = quantization.group_size or 0
    return Scheme(
        kind,
        quantization.method,
        quantization.weight_bits,
        16 if kind is Kind.NVFP4 else max(group, 0),
        quantization.block or (128, 128),
        quantization.symmetric,
        online,
        as_created,
        version >= _BLOCK_REFINED_FROM,
        128 if compute_capability is not None and compute_capability[0] == 10 and version >= _TRTLLM_ROUNDS_FROM else 1,
        not as_created and compute_capability is not None and compute_capability < _NATIVE_FP8,
        as_created or compute_capability == _MACHETE,
        created_scales,
        _holders(quantization.method, online=online, version=version) if as_created else 0,
        allocated,
        version >= _KEEPS_REST_FROM,
    )


def _kind(quantization: Quantization) -> Kind:
    match quantization.method:
        case "none":
            return Kind.PLAIN
        case "awq" | "gptq":
            return Kind.GROUPED_INTEGERS
        case "modelopt":
            return Kind.NVFP4 if quantization.weight_bits == 4 else Kind.FP8_TENSOR_STATIC
    if quantization.weight_bits == 4:
        return Kind.NVFP4 if quantization.activation_bits == 4 else Kind.GROUPED_INTEGERS
    if quantization.block is not None:
        return Kind.FP8_BLOCK
    if quantization.method == "fp8":
        return Kind.FP8_TENSOR
    return Kind.GROUPED_INTEGERS if quantization.activation_bits == 16 and quantization.group_size else Kind.FP8_CHANNEL


def matrix_bytes(scheme: Scheme, outputs: int, inputs: int, parts: int = 1) -> int:
    """Bytes of a linear layer's weight and its scales on one rank, bias left out."""
    kind = scheme.kind
    elements = outputs * inputs
    if kind is Kind.PLAIN:
        return _tensor(scheme, 2 * elements)
    if kind is Kind.FP8_BLOCK:
        block_n, block_k = scheme.block
        if scheme.marlin_fp8:
            return _tensor(scheme, elements) + 2 * outputs * -(-inputs // block_k)
        return _tensor(scheme, elements) + 4 * -(-outputs // block_n) * -(-inputs // block_k)
    if kind is Kind.FP8_CHANNEL:
        return _tensor(scheme, elements) + (2 if scheme.marlin_fp8 else 4) * outputs
    if kind is Kind.FP8_TENSOR or kind is Kind.FP8_TENSOR_STATIC:
        if scheme.marlin_fp8:
            return _tensor(scheme, elements) + 2 * outputs
        scales = parts if scheme.as_created else 1  # loading keeps the largest of the merged ones
        return _tensor(scheme, elements) + 4 * scales * (2 if kind is Kind.FP8_TENSOR_STATIC else 1)
    if kind is Kind.NVFP4:
        return _tensor(scheme, elements // 2) + _tensor(scheme, elements // scheme.group) + 8 * parts
    size = _grouped_bytes(scheme, outputs, inputs)
    return size + (16 if scheme.method == "compressed-tensors" else 0)  # ``weight_shape``, two int64


def _grouped_bytes(scheme: Scheme, outputs: int, inputs: int, experts: int = 0) -> int:
    groups = inputs // scheme.group if scheme.group else 1
    count = experts or 1
    size = _tensor(scheme, count * outputs * inputs * scheme.bits // 8) + _tensor(scheme, count * 2 * outputs * groups)
    if scheme.method == "gptq":  # always created; freed when they mean nothing, by dense Marlin only
        zero_points = bool(experts) or not scheme.symmetric or scheme.keeps_zero_points
    else:
        zero_points = scheme.method == "awq" or not scheme.symmetric
    return size + (_tensor(scheme, count * outputs * groups * scheme.bits // 8) if zero_points else 0)


def experts_bytes(scheme: Scheme, experts: int, hidden: int, columns: int, *, sharded: bool) -> int:
    """Bytes of one layer's ``experts`` on one rank.

    An expert is gate and up (2 x ``columns`` x ``hidden``) and down (``hidden`` x ``columns``), each in one tensor for
    all experts. ``sharded``: ``columns`` are a part of the expert's (tensor parallel experts).
    """
    kind = scheme.kind
    if kind is Kind.PLAIN:
        columns = -(-columns // scheme.rounds_to) * scheme.rounds_to
        elements = experts * columns * hidden
        scales = 4 * scheme.created_scales * experts
        return _tensor(scheme, 4 * elements) + _tensor(scheme, 2 * elements) + scales
    elements = experts * columns * hidden
    weights = _tensor(scheme, 2 * elements) + _tensor(scheme, elements)
    if kind is Kind.FP8_BLOCK:
        block_n, block_k = scheme.block
        if scheme.marlin_fp8:
            return weights + 2 * experts * (2 * columns * -(-hidden // block_k) + hidden * -(-columns // block_k))
        if scheme.refines and (columns % block_n or (sharded and columns % block_k)):
            refined = gcd(block_n, block_k, columns, hidden)
            if refined >= _SMALLEST_REFINED_BLOCK:
                block_n = block_k = refined
        gate_up = 2 * -(-columns // block_n) * -(-hidden // block_k)
        return weights + 4 * experts * (gate_up + -(-hidden // block_n) * -(-columns // block_k))
    if kind is Kind.FP8_CHANNEL:
        return weights + (2 if scheme.marlin_fp8 else 4) * experts * (2 * columns + hidden)
    if kind is Kind.FP8_TENSOR or kind is Kind.FP8_TENSOR_STATIC:
        if scheme.marlin_fp8:
            return weights + 2 * experts * (2 * columns + hidden)
        scales = 3 if scheme.as_created else 2
        return weights + experts * (4 * scales + (8 if kind is Kind.FP8_TENSOR_STATIC else 0))
    if kind is Kind.NVFP4:
        values = _tensor(scheme, elements) + _tensor(scheme, elements // 2)
        scales = _tensor(scheme, 2 * elements // scheme.group) + _tensor(scheme, elements // scheme.group)
        return values + scales + 24 * experts
    group = scheme.group
    if scheme.method in ("awq", "gptq") and group and columns % group:
        # Marlin cannot; the older kernels (moe_wna16.py) take a smaller group, and no zero points that mean nothing
        while (columns % group or hidden % group) and group > _SMALLEST_GROUP:
            group //= 2
        scheme = scheme._replace(group=group, method="awq" if not scheme.symmetric else "none")
    size = _grouped_bytes(scheme, 2 * columns, hidden, experts) + _grouped_bytes(scheme, hidden, columns, experts)
    if scheme.method == "compressed-tensors":
        return size + 8 * experts  # two ``weight_shape`` of two 16 bit numbers
    if scheme.method == "gptq" and scheme.as_created:
        return size + 2 * experts * (2 * columns + hidden)  # biases few checkpoints have; freed when not loaded
    return size


def _tensor(scheme: Scheme, size: int) -> int:
    """Bytes that a tensor of ``size`` bytes takes: more than ``size`` when the allocator's share is asked for.

    PyTorch gives a tensor from 10 MiB its own segment, a multiple of 2 MiB, and splits the rest off only when it is
    more than 1 MiB: https://github.com/pytorch/pytorch/blob/v2.9.0/c10/cuda/CUDACachingAllocator.cpp. Logs of releases
    on PyTorch 2.11 and later show larger rests of large segments as well.
    """
    return segment_bytes(size, largest_rest(scheme)) if scheme.allocated and size >= LARGE else size


def largest_rest(scheme: Scheme) -> float:
    """Share of a large segment whose rest stays with the tensor even above 1 MiB."""
    return _LARGEST_REST_KEPT if scheme.keeps_rest else 0.0


def grouped_tensors(scheme: Scheme, outputs: int, inputs: int) -> Linear:
    """The tensors of a dense matrix in groups of integers: those that stay after loading, those that it frees."""
    groups = inputs // scheme.group if scheme.group else 1
    weights, scales, zeros = (
        outputs * inputs * scheme.bits // 8,
        2 * outputs * groups,
        outputs * groups * scheme.bits // 8,
    )
    if scheme.method == "gptq" and scheme.symmetric:
        return (weights, scales), (zeros,)
    return (weights, scales, zeros), ()


def holder_bytes(scheme: Scheme) -> int:
    """Bytes of the q, k and v scale holders of one attention layer, which loading deletes."""
    return scheme.holders


def _holders(method: str, *, online: bool, version: Version) -> int:
    if online and version >= _ONLINE_WITHOUT_HOLDERS_FROM:
        return 0
    if method == "compressed-tensors":
        return 18 if version >= _HOLDERS_WITH_ZERO_POINTS_FROM else 8
    return 8 if method in ("fp8", "modelopt") else 0
