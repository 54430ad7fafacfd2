"""Everything that takes memory from the KV cache besides the weights: an interval per release, GPU and settings.

``available = utilization * usable - weights - overhead``; the overhead is the sum of three terms:

- **activations**: computed from tensor shapes (:mod:`qcmatrix.memory.profile_run`);
- **non-torch**: CUDA modules, NCCL and all-reduce buffers, what graph profiling leaves behind: taken from logs, by
  release, link and number of ranks (:mod:`qcmatrix.memory.calibration`);
- **cuda graphs**: estimated, inside the budget from 0.20 and outside before.
"""

from __future__ import annotations

import msgspec

from qcmatrix.catalogue.gpus import Gpu
from qcmatrix.catalogue.models import Architecture, Quantization
from qcmatrix.memory.calibration import activations_gib, graphs_gib, non_torch_gib
from qcmatrix.memory.ledger import Interval, Term
from qcmatrix.memory.profile_run import peak, traits
from qcmatrix.versions import Version

__all__ = ["Overhead", "overhead"]

MULTIPROCESSORS: dict[tuple[int, int], int] = {
    (8, 0): 108,
    (8, 6): 84,
    (8, 9): 128,
    (9, 0): 132,
    (10, 0): 148,
    (10, 3): 148,
    (12, 0): 170,
    (12, 1): 48,
}
"""Streaming multiprocessors of the largest card of a compute capability: scratch rows of the sampler's kernel.

No log states these counts. A row is 4 bytes per word of the vocabulary (0.6 MB for Qwen3): one that is off by 20 moves
the activations by 12 MB."""


class Overhead(msgspec.Struct, frozen=True):
    """The overhead of one stage, GiB."""

    terms: tuple[Term, ...]
    in_budget: Interval
    """Sum of the terms that count against the budget."""
    outside: Interval
    """Sum of those that do not."""


def overhead(
    architecture: Architecture,
    quantization: Quantization,
    gpu: Gpu,
    version: Version,
    *,
    max_num_batched_tokens: int,
    max_num_seqs: int,
    tensor_parallel_size: int = 1,
    pipeline_parallel_size: int = 1,
    data_parallel_size: int = 1,
    enable_expert_parallel: bool = False,
    cuda_graphs: bool = True,
    capture_sizes: tuple[int, ...] | None = None,
    largest_capture_size: int | None = None,
    graphs_estimated: bool | None = None,
    second_runner: bool | None = None,
    flashinfer_sampler: bool | None = None,
    old_engine: bool = False,
    first_stage: bool = True,
    last_stage: bool = True,
) -> Overhead:
    """What one GPU of a stage needs besides weights and KV cache.

    ``capture_sizes``, ``largest_capture_size``: ``--cudagraph-capture-sizes``, ``--max-cudagraph-capture-size``.
    ``graphs_estimated``: ``VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS`` when it is set; ``None``: the release's default;
    ``second_runner``, ``flashinfer_sampler``: ``VLLM_USE_V2_MODEL_RUNNER``, ``VLLM_USE_FLASHINFER_SAMPLER`` likewise;
    ``old_engine``: ``VLLM_USE_V1`` is 0 and the release still has the V0 engine.
    ``first_stage``: the stage with the embedding; ``last_stage``: the one that samples (without pipeline parallelism
    both are the only one).
    """
    capability = gpu.compute_capability
    profile = peak(
        architecture,
        quantization,
        version,
        max_num_batched_tokens=max_num_batched_tokens,
        max_num_seqs=max_num_seqs,
        tensor_parallel_size=tensor_parallel_size,
        data_parallel_size=data_parallel_size,
        enable_expert_parallel=enable_expert_parallel,
        pipeline_parallel_size=pipeline_parallel_size,
        first_stage=first_stage,
        last_stage=last_stage,
        compiled=cuda_graphs,
        large_cublas=capability is None or capability >= (9, 0),
        deep_gemm=capability is not None and gpu.vendor == "nvidia" and (9, 0) <= capability < (12, 0),
        multiprocessors=MULTIPROCESSORS.get(capability, 132) if capability is not None else 132,
        second_runner=second_runner,
        flashinfer_sampler=flashinfer_sampler,
    )
    release = traits(version)
    early = release.nccl_in_budget
    activations = activations_gib(
        profile,
        # Logs of 0.10 with data parallel experts agree with the formula within 1%; none of a later release is known.
        shared_experts_run=architecture.moe is not None and data_parallel_size > 1 and not early,
        old_pipeline=early and pipeline_parallel_size > 1 and last_stage,
        old_engine=old_engine and early,
        kernels_timed_twice=release.kernels_timed_twice and not architecture.attention_bias,
    )
    non_torch = non_torch_gib(
        version,
        gpu,
        tensor_parallel_size=tensor_parallel_size,
        pipeline_parallel_size=pipeline_parallel_size,
        data_parallel_size=data_parallel_size,
        cuda_graphs=cuda_graphs,
    )
    terms = [
        Term("activations", activations.gib, basis=activations.basis),
        Term("non-torch", non_torch.gib, basis=non_torch.basis),
    ]
    if cuda_graphs:
        counted = release.graphs_in_budget if graphs_estimated is None else graphs_estimated and release.graphs_profiled
        if profile.second_runner and not release.second_runner_profiles_graphs:
            counted = False
        graphs = graphs_gib(
            architecture,
            version,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            pipeline_parallel_size=pipeline_parallel_size,
            capture_sizes=capture_sizes,
            largest_capture_size=largest_capture_size,
            second_runner=profile.second_runner,
            unified_memory=gpu.unified_memory,
        )
        terms.append(Term("cuda graphs", graphs.gib, in_budget=counted, basis=graphs.basis))
    inside = outside = Interval.exact(0.0)
    for term in terms:
        if term.in_budget:
            inside += term.gib
        else:
            outside += term.gib
    return Overhead(terms=tuple(terms), in_budget=inside, outside=outside)
