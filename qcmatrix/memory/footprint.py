"""The memory ledger of a deployment: does it fit, and what is left for the KV cache?

A pure function of the deployment. What does not depend on the asked context, the utilisation or the size of the card is
computed once per combination and kept, so that a planner can ask thousands of times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from qcmatrix.deployment import Deployment
from qcmatrix.errors import RequestError
from qcmatrix.launch.plain import environment_number
from qcmatrix.memory import kv_cache
from qcmatrix.memory.calibration import startup_gib
from qcmatrix.memory.kv_behaviour import leaves_v1_for_fp8
from qcmatrix.memory.kv_layout import Layout, kv_layout
from qcmatrix.memory.ledger import GIB, Fit, Footprint, Interval, Term
from qcmatrix.memory.one_stage import OneStage, one_stage
from qcmatrix.memory.overhead import overhead
from qcmatrix.memory.weights import loaded_bytes, rotary_cache_bytes, weights_bytes
from qcmatrix.memory.weights_basis import weights_basis

__all__ = ["footprint"]

_Figure = TypeVar("_Figure", int, str)
GRAPHS_VARIABLE = "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS"
RUNNER_VARIABLE = "VLLM_USE_V2_MODEL_RUNNER"
SAMPLER_VARIABLE = "VLLM_USE_FLASHINFER_SAMPLER"
ENGINE_VARIABLE = "VLLM_USE_V1"
VARIABLES = (GRAPHS_VARIABLE, RUNNER_VARIABLE, SAMPLER_VARIABLE, ENGINE_VARIABLE)
"""The environment that changes the ledger."""
ROUNDING = "allocator rounding"
ROUNDING_BASIS = "exact: PyTorch takes memory for large tensors in pieces of 2 MiB"
_AT_LEAST_ONE = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "decode_context_parallel_size",
    "max_num_batched_tokens",
    "max_num_seqs",
    "block_size",
)
"""What has to be 1 or more before anything can be divided by it; rules name what is not."""
_LIMIT = 20_000
"""Entries kept before the cache starts anew."""


class _Frame(msgspec.Struct, frozen=True):
    """All that does not depend on context, utilisation, usable memory or overrides. One entry per pipeline stage."""

    layout: Layout
    single: OneStage | None
    weights: tuple[int, ...]
    overheads: tuple[Interval, ...]
    """What the budget loses besides the weights, GiB."""
    low: tuple[float, ...]
    """Weights and the largest overhead, bytes: what the least KV memory is left after."""
    mid: tuple[float, ...]
    high: tuple[float, ...]
    """Weights and the smallest overhead, bytes."""
    outside: Interval
    """Memory taken outside the budget by the worst stage, GiB: graphs, and what the process holds before the start."""
    terms: tuple[tuple[Term, ...], ...]
    per_token: tuple[int, ...]
    alive: tuple[object, ...]
    """The objects whose identity is part of the key: kept so that an identity is never used twice."""


_frames: dict[tuple[object, ...], _Frame] = {}


def footprint(deployment: Deployment) -> Footprint:
    """The ledger of the GPU that decides (the tightest pipeline stage); every DP rank holds a whole KV cache.

    Raises:
        RequestError: a split or a dtype that is not modelled; a size below 1, a share that is none.
    """
    if not 0 < deployment.gpu_memory_utilization <= 1:
        raise RequestError(f"--gpu-memory-utilization {deployment.gpu_memory_utilization}: no share of the memory")
    frame = _frame(deployment)
    gpu = deployment.gpu
    usable = gpu.visible_gib
    spread = gpu.visible_gib_spread
    share = deployment.gpu_memory_utilization
    given = deployment.kv_cache_memory_bytes
    budget = share * usable * GIB
    width = share * spread * GIB
    if given is None:
        low = [int(budget - width - held) for held in frame.low]
        mid = [int(budget - held) for held in frame.mid]
        high = [int(budget + width - held) for held in frame.high]
    else:
        low = mid = high = [given] * len(frame.mid)
    layout = frame.layout
    blocks = deployment.num_gpu_blocks_override
    stage = 0
    kv = Interval(low[0] / GIB, mid[0] / GIB, high[0] / GIB)
    if len(mid) > 1:
        stage = min(range(len(mid)), key=lambda index: mid[index] / layout[index].bytes_per_block)
        kv = Interval(*(_tightest(layout, bound, stage) / GIB for bound in (low, mid, high)))

    context = max(deployment.context, 1)
    automatic = deployment.max_model_len == -1
    single = frame.single
    longest, context, fit, needed, concurrency, tokens = (
        _general(layout, low, mid, high, context, automatic, blocks)
        if single is None
        else _fast(single, low[0], mid[0], high[0], context, automatic, blocks)
    )

    held_in_budget = frame.mid[stage] / GIB if given is not None else 0.0
    room = _room(frame, stage, usable, spread, budget / GIB, given)
    if room.high < 0:
        fit = Fit.DOES_NOT_FIT
    elif room.mid < 0 and fit is Fit.FITS:
        fit = Fit.TIGHT
    return Footprint(
        usable_gib=usable,
        budget_gib=budget / GIB if given is None else held_in_budget + given / GIB,
        weights_bytes=frame.weights[stage],
        terms=frame.terms[stage],
        overhead_gib=frame.overheads[stage],
        kv_gib=kv,
        kv_bytes_per_token=frame.per_token[stage],
        kv_tokens=Interval(*tokens),
        max_context=Interval(*longest),
        needed_kv_gib=needed / GIB,
        max_concurrency=Interval(*concurrency),
        fit=fit,
        stage=f"pipeline stage {stage}" if len(mid) > 1 else "",
        room_outside_gib=room,
    )


def _tightest(layout: Layout, memory: list[int], stage: int) -> float:
    """The least of the stages, as bytes of ``stage``: at either end it may be another stage that decides."""
    blocks = min(held / each.bytes_per_block for held, each in zip(memory, layout, strict=True))
    return min(memory[stage], blocks * layout[stage].bytes_per_block)


_Figures = tuple[tuple[int, int, int], int, Fit, int, tuple[float, float, float], tuple[int, int, int]]
"""Longest context (low, mid, high), the context in effect, the fit, bytes needed, concurrency, tokens."""


def _fast(
    stage: OneStage,
    least: int,
    middle: int,
    most: int,
    context: int,
    automatic: bool,
    override: int | None,
) -> _Figures:
    few, some, many = stage.blocks(least, override), stage.blocks(middle, override), stage.blocks(most, override)
    granted = stage.checked(least, override), stage.checked(middle, override), stage.checked(most, override)
    longest = stage.largest(granted[0]), stage.largest(granted[1]), stage.largest(granted[2])
    if stage.state_blocks:
        longest = (
            min(longest[0], stage.capacity(few)),
            min(longest[1], stage.capacity(some)),
            min(longest[2], stage.capacity(many)),
        )
    if automatic:
        context = max(1, min(context, longest[1]))
    needed = stage.needed(context)
    if (automatic and longest[0] > 0) or context <= longest[0]:
        fit = Fit.FITS
    elif context <= longest[2]:
        fit = Fit.TIGHT
    else:
        fit = Fit.DOES_NOT_FIT
    each = stage.per_request(context)
    concurrency = few / each, some / each, many / each
    tokens = stage.tokens(few, each, context), stage.tokens(some, each, context), stage.tokens(many, each, context)
    return longest, context, fit, needed, concurrency, tokens


def _general(
    layout: Layout,
    low: list[int],
    mid: list[int],
    high: list[int],
    context: int,
    automatic: bool,
    override: int | None,
) -> _Figures:
    bounds = (low, mid, high)
    limit = context if automatic else None
    few, some, many = (
        kv_cache.largest_context(layout, memory, limit=limit, num_gpu_blocks_override=override) for memory in bounds
    )
    if layout[0].hybrid:
        # Some releases check hybrids without looking at the length: what the pool holds counts as well.
        real = [kv_cache.capacity_context(layout, memory, num_gpu_blocks_override=override) for memory in bounds]
        few, some, many = min(few, real[0]), min(some, real[1]), min(many, real[2])
    if automatic:
        context = max(1, min(context, some))
    if (automatic and few > 0) or context <= few:
        fit = Fit.FITS
    elif context <= many:
        fit = Fit.TIGHT
    else:
        fit = Fit.DOES_NOT_FIT
    each = kv_cache.blocks_per_request(layout, context)
    blocks = [kv_cache.blocks(layout, memory, num_gpu_blocks_override=override) for memory in bounds]
    tokens = [kv_cache.tokens(layout, memory, context, num_gpu_blocks_override=override) for memory in bounds]
    return (
        (few, some, many),
        context,
        fit,
        kv_cache.needed_bytes(layout, context),
        (blocks[0] / each, blocks[1] / each, blocks[2] / each),
        (tokens[0], tokens[1], tokens[2]),
    )


def _room(frame: _Frame, stage: int, usable: float, spread: float, budget: float, given: int | None) -> Interval:
    """Free memory left outside the budget once everything stands, GiB."""
    outside = frame.outside
    if given is None:
        return Interval(
            usable - spread - budget - outside.high,
            usable - budget - outside.mid,
            usable + spread - budget - outside.low,
        )
    kv = given / GIB
    return Interval(
        usable - spread - kv - frame.low[stage] / GIB - outside.high,
        usable - kv - frame.mid[stage] / GIB - outside.mid,
        usable + spread - kv - frame.high[stage] / GIB - outside.low,
    )


def _frame(deployment: Deployment) -> _Frame:
    env = deployment.env
    speculation = deployment.speculation
    key = (
        id(deployment.architecture),
        id(deployment.quantization),
        id(deployment.gpu),
        id(deployment.release),
        deployment.tensor_parallel_size,
        deployment.pipeline_parallel_size,
        deployment.data_parallel_size,
        deployment.decode_context_parallel_size,
        deployment.enable_expert_parallel,
        deployment.pipeline_partition,
        deployment.kv_cache_dtype,
        deployment.attention_backend,
        deployment.dtype,
        deployment.block_size,
        deployment.max_num_batched_tokens,
        deployment.max_num_seqs,
        deployment.cuda_graphs,
        deployment.cudagraph_capture_sizes,
        deployment.max_cudagraph_capture_size,
        deployment.cpu_offload_gb,
        deployment.context if deployment.context > deployment.architecture.max_position_embeddings else 0,
        deployment.enable_prefix_caching,
        deployment.mamba_cache_dtype,
        deployment.mamba_ssm_cache_dtype,
        None if speculation is None else (speculation.method, speculation.num_speculative_tokens),
        tuple(env.get(name) for name in VARIABLES) if env else None,
    )
    frame = _frames.get(key)
    if frame is None:
        if len(_frames) >= _LIMIT:
            _frames.clear()
        frame = _frames[key] = _build(deployment)
    return frame


def _build(deployment: Deployment) -> _Frame:
    for name in _AT_LEAST_ONE:
        size = getattr(deployment, name)
        if size is not None and size < 1:
            raise RequestError(f"--{name.replace('_', '-')} is {size}: there is nothing to size")
    version = deployment.release.version
    gpu = deployment.gpu
    stages = deployment.pipeline_parallel_size
    capability = gpu.compute_capability if gpu.vendor == "nvidia" else None
    speculation = deployment.speculation
    ahead = 0 if speculation is None else speculation.num_speculative_tokens or 0
    layout = kv_layout(
        deployment.architecture,
        tensor_parallel_size=deployment.tensor_parallel_size,
        pipeline_parallel_size=stages,
        pipeline_partition=deployment.pipeline_partition,
        kv_cache_dtype=deployment.kv_cache_dtype,
        dtype=deployment.dtype,
        block_size=deployment.block_size,
        decode_context_parallel_size=deployment.decode_context_parallel_size,
        version=version,
        enable_prefix_caching=deployment.enable_prefix_caching,
        mamba_cache_dtype=deployment.mamba_cache_dtype,
        mamba_ssm_cache_dtype=deployment.mamba_ssm_cache_dtype,
        num_speculative_tokens=ahead,
        compute_capability=capability,
    )
    exact = _weights(deployment, weights_bytes)
    positions = max(deployment.context, deployment.architecture.max_position_embeddings)
    rotary = rotary_cache_bytes(deployment.architecture, positions=positions)
    # Public logs of the card with unified memory show none of the allocator's rounding.
    rounded = exact if gpu.unified_memory else _weights(deployment, partial(loaded_bytes, positions=positions))
    pieces = tuple(0 if gpu.unified_memory else r - rotary - e for r, e in zip(rounded, exact, strict=True))
    offloaded = int(deployment.cpu_offload_gb * GIB)
    weights = tuple(max(0, size - offloaded) for size in exact)
    old_engine = _switch(deployment, ENGINE_VARIABLE) is False or bool(
        leaves_v1_for_fp8(
            version,
            deployment.kv_cache_dtype,
            deployment.attention_backend,
            vendor=gpu.vendor,
            compute_capability=gpu.compute_capability,
        )
    )
    overheads = tuple(
        overhead(
            deployment.architecture,
            deployment.quantization,
            gpu,
            version,
            max_num_batched_tokens=deployment.max_num_batched_tokens,
            max_num_seqs=deployment.max_num_seqs,
            tensor_parallel_size=deployment.tensor_parallel_size,
            pipeline_parallel_size=stages,
            data_parallel_size=deployment.data_parallel_size,
            enable_expert_parallel=deployment.enable_expert_parallel,
            cuda_graphs=deployment.cuda_graphs,
            capture_sizes=deployment.cudagraph_capture_sizes,
            largest_capture_size=deployment.max_cudagraph_capture_size,
            graphs_estimated=_switch(deployment, GRAPHS_VARIABLE),
            second_runner=_switch(deployment, RUNNER_VARIABLE),
            flashinfer_sampler=_switch(deployment, SAMPLER_VARIABLE),
            old_engine=old_engine,
            first_stage=index == 0,
            last_stage=index == stages - 1,
        )
        for index in range(stages)
    )
    start = startup_gib(
        version,
        gpu,
        ranks=deployment.tensor_parallel_size * stages * deployment.data_parallel_size,
    )
    worst = max((each.outside for each in overheads), key=lambda interval: interval.mid)
    table = Term("rotary table", Interval.exact(rotary / GIB), basis="exact: one row of cosines and sines per position")
    rounding = tuple(Term(ROUNDING, Interval.exact(piece / GIB), basis=ROUNDING_BASIS) for piece in pieces)
    inside = tuple(o.in_budget + table.gib + r.gib for o, r in zip(overheads, rounding, strict=True))
    less = ", less --cpu-offload-gb" if offloaded else ""
    return _Frame(
        layout=layout,
        single=one_stage(layout),
        weights=weights,
        overheads=inside,
        low=tuple(w + o.high * GIB for w, o in zip(weights, inside, strict=True)),
        mid=tuple(w + o.mid * GIB for w, o in zip(weights, inside, strict=True)),
        high=tuple(w + o.low * GIB for w, o in zip(weights, inside, strict=True)),
        outside=start + worst,
        terms=tuple(
            (Term("weights", Interval.exact(w / GIB), basis=f"{known}{less}"), r, table, *o.terms)
            for w, known, r, o in zip(weights, _weights(deployment, weights_basis), rounding, overheads, strict=True)
        ),
        per_token=tuple(stage.bytes_per_token for stage in layout),
        alive=(deployment.architecture, deployment.quantization, gpu, deployment.release),
    )


def _weights(deployment: Deployment, figures: Callable[..., tuple[_Figure, ...]]) -> tuple[_Figure, ...]:
    """``figures`` of the deployment's weights, per stage: bytes, or how they are known."""
    gpu = deployment.gpu
    return figures(
        deployment.architecture,
        deployment.quantization,
        tensor_parallel_size=deployment.tensor_parallel_size,
        pipeline_parallel_size=deployment.pipeline_parallel_size,
        data_parallel_size=deployment.data_parallel_size,
        enable_expert_parallel=deployment.enable_expert_parallel,
        pipeline_partition=deployment.pipeline_partition,
        version=deployment.release.version,
        compute_capability=gpu.compute_capability if gpu.vendor == "nvidia" else None,
    )


def _switch(deployment: Deployment, name: str) -> bool | None:
    """An environment variable that vLLM reads as ``bool(int(...))``; ``None``: not set, or not a number."""
    number = environment_number(deployment.env, name)
    return None if number is None else bool(number)
