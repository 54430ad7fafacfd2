"""The few numbers of the overhead that no tensor shape gives, fitted on public start-up logs.

The logs are in ``data/cases.jsonl``; :mod:`qcmatrix.memory.fit` recomputes every ``mid`` here from them (the median of
its group) and the error that each log would have had without itself. All figures are GiB of one GPU.
"""

from __future__ import annotations

import msgspec

from qcmatrix.catalogue.gpus import Gpu
from qcmatrix.catalogue.models import Architecture
from qcmatrix.memory.ledger import GIB, Interval
from qcmatrix.memory.profile_run import Profile, graphs_captured, traits
from qcmatrix.versions import Version

__all__ = [
    "NON_TORCH",
    "Estimate",
    "Group",
    "activations_gib",
    "graphs_gib",
    "group_of",
    "non_torch_gib",
    "startup_gib",
]


class Group(msgspec.Struct, frozen=True):
    """Launches that hold about the same memory outside PyTorch."""

    low: float
    mid: float
    high: float
    logs: int
    """How many logs the ``mid`` is the median of."""
    what: str


NON_TORCH: dict[str, Group] = {
    "one-gpu": Group(0.05, 0.13, 0.30, 7, "one GPU: CUDA modules"),
    "one-gpu-graphs-profiled": Group(0.18, 0.25, 0.40, 7, "one GPU: CUDA modules and what graph profiling leaves"),
    "pipeline": Group(0.0, 0.07, 0.60, 2, "pipeline stages on one node"),
    "nvlink-nccl-in-budget-2": Group(0.9, 1.4, 1.9, 0, "2 ranks over NVLink, NCCL counted (before 0.11)"),
    "nvlink-nccl-in-budget": Group(2.0, 2.52, 3.2, 3, "more ranks over NVLink, NCCL counted (before 0.11)"),
    "nvlink": Group(0.20, 0.55, 2.2, 1, "ranks over NVLink, NCCL counted at start (from 0.11)"),
    "nvlink-ampere": Group(0.05, 0.13, 1.0, 1, "ranks over NVLink before Hopper (from 0.11)"),
    "nvlink-fused": Group(1.6, 2.12, 2.6, 8, "ranks over NVLink with FlashInfer's fused all-reduce (from 0.17)"),
    "pcie": Group(0.10, 0.25, 1.1, 2, "ranks over PCIe"),
    "unified": Group(-2.2, 1.27, 3.0, 3, "memory shared with the CPU: the system's page cache counts too"),
    "unified-counts-everything": Group(-2.2, 0.05, 1.5, 0, "memory shared with the CPU (from 0.27)"),
}
"""``low`` and ``high`` are wider than the few logs of a group spread, since the next machine is another one. Two ranks
before 0.11 lie between one GPU and four; an older engine lost 1.8 GiB to NCCL there
(https://github.com/vllm-project/vllm/pull/10511, read 2026-11-22)."""


class Estimate(msgspec.Struct, frozen=True):
    """An interval and how it is known."""

    gib: Interval
    basis: str


def group_of(
    version: Version,
    gpu: Gpu,
    *,
    tensor_parallel_size: int,
    pipeline_parallel_size: int,
    data_parallel_size: int,
    cuda_graphs: bool,
) -> str:
    """The key of :data:`NON_TORCH` for a launch."""
    release = traits(version)
    if gpu.unified_memory:
        return "unified-counts-everything" if release.counts_everything else "unified"
    ranks = tensor_parallel_size * data_parallel_size
    if ranks > 1:
        if gpu.interconnect not in ("nvlink", "xgmi"):
            return "pcie"
        if release.nccl_in_budget:
            return "nvlink-nccl-in-budget-2" if ranks == 2 else "nvlink-nccl-in-budget"
        capability = gpu.compute_capability
        fused = (
            release.fused_allreduce
            and gpu.vendor == "nvidia"
            and capability is not None
            and (9, 0) <= capability < (12, 0)
            and data_parallel_size == pipeline_parallel_size == 1
            and cuda_graphs
        )
        if fused:
            return "nvlink-fused"
        return "nvlink-ampere" if capability is not None and capability < (9, 0) else "nvlink"
    if pipeline_parallel_size > 1:
        return "pipeline"
    return "one-gpu-graphs-profiled" if release.graphs_leave_memory and cuda_graphs else "one-gpu"


def non_torch_gib(
    version: Version,
    gpu: Gpu,
    *,
    tensor_parallel_size: int,
    pipeline_parallel_size: int,
    data_parallel_size: int,
    cuda_graphs: bool,
) -> Estimate:
    """Memory that is not PyTorch's: CUDA modules, communicators, what graph profiling leaves."""
    key = group_of(
        version,
        gpu,
        tensor_parallel_size=tensor_parallel_size,
        pipeline_parallel_size=pipeline_parallel_size,
        data_parallel_size=data_parallel_size,
        cuda_graphs=cuda_graphs,
    )
    group = NON_TORCH[key]
    match group.logs:
        case 0:
            fitted = "estimated, no log"
        case 1:
            fitted = "fitted on 1 log"
        case logs:
            fitted = f"fitted on {logs} logs"
    return Estimate(Interval(group.low, group.mid, group.high), f"{fitted}: {group.what}")


def activations_gib(
    profile: Profile,
    *,
    shared_experts_run: bool = False,
    old_pipeline: bool = False,
    old_engine: bool = False,
    kernels_timed_twice: bool = False,
) -> Estimate:
    """The computed peak with its scatter, on a first start; a restart with a warm compile cache is its low end.

    Where the sampler's warm-up decides, logs agree within 1%; a forward pass is known less well (compiled graphs keep
    and free buffers as they please: the logs ``llm-d-codellama-7b-h100-0.19`` and ``llm-d-granite-8b-h100-0.19`` lie 5%
    above the computed peak), and of the V2 runner no log with all figures is known. The logs are the rows of
    ``data/cases.jsonl`` with ``activation_gib``, and `qcmatrix.memory.fit.activation_misses` sets each beside its
    interval; the intervals hold all of them. Four cases are wide since
    no log, or few, shows them:

    - ``shared_experts_run``: from 0.11 data parallel ranks gather each other's tokens for the experts, and how the
      scratch space is cut depends on the kernels;
    - ``old_pipeline``: the last pipeline stage before 0.11. A public report of 700,000 tokens needs it to be smaller
      than computed (https://github.com/JamesFincher/vllm-server-config, docs/setup-guide.md, read 2026-11-22);
    - ``old_engine``: ``VLLM_USE_V1=0``;
    - ``kernels_timed_twice``: some starts time the kernels on two copies of the embedding table where the computed
      peak has one.
    """
    peak, forward, sampler = profile.peak / GIB, profile.forward / GIB, profile.sampler / GIB
    compiling = profile.compiling / GIB
    kept = peak - max(forward, sampler, compiling)
    # Each of the two candidates has its own scatter; the larger one wins on either side, so that nothing jumps.
    # The scratch space belongs to the forward pass: taken off there, more tokens never make the low end lower.
    scratch = 0.5 * profile.workspace / GIB if shared_experts_run else 0.0
    low = kept + max(0.98 * sampler, 0.91 * forward - scratch) - 0.02
    high = kept + max(1.03 * sampler, 1.15 * forward, (2.05 if kernels_timed_twice else 1.03) * compiling) + 0.05
    if profile.second_runner:
        high += 0.5 * profile.copy / GIB
    if shared_experts_run:
        high += 0.25 * profile.workspace / GIB
    if old_pipeline or old_engine:
        low = min(low, 0.9 * forward)
    if compiling > max(sampler, forward):
        basis = "compiling, on a start with an empty compile cache"
    else:
        basis = "sampler warm-up" if sampler >= forward else "forward pass"
    return Estimate(
        Interval(min(peak, max(0.0, low)), peak, max(peak, high)),
        f"computed: tensors of the release's profile run ({basis})",
    )


_MIB_PER_LAYER_AND_GRAPH = 0.03
_MIB_PER_LAYER_GRAPH_AND_TOKEN = 0.00038
_FIRST_GRAPH = 0.15
_OF_A_PIECEWISE_GRAPH = 0.87
_OF_A_FULL_GRAPH = 0.40
"""What the V2 model runner's estimate counts per graph, as a share of the V1 runner's: it captures the piecewise graphs
one by one and scales two whole-model graphs up (``qwen3-14b-l40s-0.29``, ``qwen3-14b-awq-l40s-0.29`` and its
``-tuned`` in ``data/cases.jsonl``)."""


def graphs_gib(
    architecture: Architecture,
    version: Version,
    *,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    pipeline_parallel_size: int,
    capture_sizes: tuple[int, ...] | None = None,
    largest_capture_size: int | None = None,
    second_runner: bool = False,
    unified_memory: bool = False,
) -> Estimate:
    """CUDA graphs: a first one, then a cost per layer and graph that grows with the largest batch captured.

    ``second_runner``: by the V2 model runner, which needs no first one; ``unified_memory``: where other processes take
    and give back memory while it is measured, so that the high end is twice as far away.
    """
    graphs = graphs_captured(
        version, max_num_seqs, max_num_batched_tokens, sizes=capture_sizes, largest=largest_capture_size
    )
    if not graphs.count:
        return Estimate(Interval.exact(0.0), "no graph is captured")
    layers = architecture.num_hidden_layers / pipeline_parallel_size
    each = _MIB_PER_LAYER_AND_GRAPH + _MIB_PER_LAYER_GRAPH_AND_TOKEN * graphs.largest
    what = f"{graphs.count} graphs, up to {graphs.largest} tokens"
    if second_runner:
        piecewise = graphs.count - graphs.full
        mid = (_OF_A_PIECEWISE_GRAPH * piecewise + _OF_A_FULL_GRAPH * graphs.full) * layers * each / 1024
        fitted = f"fitted on 3 logs of 0.29 (V2 model runner): {what}"
    else:
        mid = _FIRST_GRAPH + graphs.count * layers * each / 1024
        fitted = f"fitted on 9 logs of 0.19 to 0.22: {what}"
    beyond = 0.3 * mid + (0.75 if unified_memory else 0.25)
    return Estimate(Interval(max(0.0, 0.55 * mid - 0.05), mid, mid + beyond), fitted)


def startup_gib(version: Version, gpu: Gpu, *, ranks: int) -> Interval:
    """What is already gone when vLLM first reads the free memory: the CUDA context, from 0.11 also NCCL.

    "Free memory on device (78.68/79.19 GiB)" on one H100 (0.51 GiB gone; ``data/public_cases.jsonl``:
    ``llmd-qwen-qwen3-30b-a3b--h100-80gb--tp1pp1dp1--8192`` and six more), 77.66/79.19 on two with NVLink (1.53;
    ``llmd-fp8dyn-llama-3-3-70b--h100-80gb--tp2pp1dp1--8192``), 30.27/31.4 on two RTX 5090 (1.13;
    ``qwen38-27b-fp8-5090x2-util092``), 43.93/44.42 on eight L40S before 0.11 (0.49; ``q235-fp8-l40sx8-tp8ep-32768``).
    The low and high ends are estimated around these.
    """
    if gpu.unified_memory:
        return Interval.exact(0.0)
    if ranks > 1 and not traits(version).nccl_in_budget:
        return Interval(0.4, 1.5, 1.9) if gpu.interconnect in ("nvlink", "xgmi") else Interval(0.4, 0.9, 1.3)
    return Interval(0.3, 0.5, 0.7)
