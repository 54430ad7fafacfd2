"""What the profile run of each vLLM release allocates, tensor by tensor.

Before it sizes the KV cache, vLLM runs the model once on ``max_num_batched_tokens`` dummy tokens and then the sampler
on ``max_num_seqs`` dummy requests, and takes the peak of PyTorch's allocator as "peak activation". The tensors that
make that peak have known shapes, so the peak can be computed. Every formula here was read in the source of the releases
(``vllm/v1/worker/gpu_model_runner.py``, ``vllm/v1/worker/gpu/``, ``vllm/v1/sample/``,
``vllm/model_executor/layers/fused_moe/``; sdists of 0.10.0 to 0.33.0, read 2026-11-22). Sizes are bytes of one GPU.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from qcmatrix.catalogue.models import Architecture, Quantization
from qcmatrix.versions import Version, parse_version

__all__ = ["Graphs", "Profile", "Traits", "graphs_captured", "peak", "traits"]

_KIB = 1 << 10
_MIB = 1 << 20

MOE_CHUNK_TOKENS = 32 * _KIB
"""``VLLM_FUSED_MOE_CHUNK_SIZE``: up to 0.17 an expert layer worked on at most so many tokens at a time."""

HOPPER_CUBLAS_WORKSPACE = 32 * _MIB
OTHER_CUBLAS_WORKSPACE = 8 * _MIB
"""cuBLAS keeps a workspace per handle: 32 MiB from compute capability 9.0, 8 MiB before (cuBLAS documentation)."""

GUARD_BYTES = 8 * _MIB
"""Positions, slot mappings, token ids and the allocator's rounding."""


class Traits(msgspec.Struct, frozen=True):
    """What a release does in its profile run; each field is a switch read in the source."""

    sort_sampler: bool
    """Up to 0.16 top-k/top-p sorts the whole vocabulary (``logits.sort``); from 0.17 a Triton kernel selects."""
    workspace_manager: bool
    """From 0.13 the expert layers' scratch space is kept after the forward pass, so the sampler's peak comes on top."""
    moe_chunks: bool
    """Up to 0.17 expert layers work in chunks of at most 32 Ki tokens."""
    nccl_in_budget: bool
    """Up to 0.10.2 free memory is first read before NCCL starts, so NCCL's buffers count against the budget."""
    graphs_profiled: bool
    """From 0.18 a few CUDA graphs are captured while profiling."""
    graphs_leave_memory: bool
    """From 0.18 to 0.26 what that capture leaves behind is measured as well."""
    graphs_in_budget: bool
    """From 0.20 the estimate is taken out of the budget (``VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS`` is 1)."""
    counts_everything: bool
    """From 0.27 all that left the free memory since start counts, the model runner's own buffers included."""
    dense_cudagraph_step: bool
    """Up to 0.11.0 graphs are captured every 8 tokens up to 512; later every 16 above 256."""
    full_cudagraphs: bool
    """From 0.11.0 decoding has whole-model graphs besides the piecewise ones."""
    fused_allreduce: bool
    """From 0.17 Hopper and Blackwell fuse all-reduce and norm with FlashInfer's workspace."""
    deep_gemm: bool
    """From 0.11.0 FP8 block experts run on DeepGEMM where the card can (``VLLM_USE_DEEP_GEMM`` is 1)."""
    kernels_timed: bool
    """From 0.11.1 (torch 2.9) Inductor times fused kernels on dummy inputs while the profile run compiles the model
    (``benchmark_combo_kernel``), the embedding table among them: a cold start reaches a higher peak than a restart."""
    kernels_timed_twice: bool
    """From 0.27 (torch 2.13) all three public logs of Qwen2.5 show the table twice, of Qwen3 one in nine: the reason is
    not known, so the first have two in the middle and the second two at the high end."""
    second_runner_profiles_graphs: bool
    """From 0.29 the V2 model runner estimates its CUDA graphs; before, its ``profile_cudagraph_memory`` returns 0."""


def _at_least(version: Version, bound: str) -> bool:
    return version >= parse_version(bound)


@lru_cache(maxsize=128)
def traits(version: Version) -> Traits:
    """The switches of ``version``."""
    return Traits(
        sort_sampler=not _at_least(version, "0.17.0"),
        workspace_manager=_at_least(version, "0.13.0"),
        moe_chunks=not _at_least(version, "0.18.0"),
        nccl_in_budget=not _at_least(version, "0.11.0"),
        graphs_profiled=_at_least(version, "0.18.0"),
        graphs_leave_memory=_at_least(version, "0.18.0") and not _at_least(version, "0.27.0"),
        graphs_in_budget=_at_least(version, "0.20.0"),
        counts_everything=_at_least(version, "0.27.0"),
        dense_cudagraph_step=not _at_least(version, "0.11.1"),
        full_cudagraphs=_at_least(version, "0.11.0"),
        fused_allreduce=_at_least(version, "0.17.0"),
        deep_gemm=_at_least(version, "0.11.0"),
        kernels_timed=_at_least(version, "0.11.1"),
        kernels_timed_twice=_at_least(version, "0.27.0"),
        second_runner_profiles_graphs=_at_least(version, "0.29.0"),
    )


def second_runner_is_default(version: Version, architecture: Architecture, quantization: Quantization) -> bool:
    """Does ``version`` run this model with the V2 model runner by default? Its warm-up of the sampler is smaller.

    ``vllm/config/vllm.py``: 0.22 and 0.23 only unquantized ``Qwen3ForCausalLM``; 0.24 a list of classes; 0.25 to 0.28
    every model without experts that is not a hybrid; from 0.29 every model.
    """
    if _at_least(version, "0.29.0"):
        return True
    if _at_least(version, "0.25.0"):
        return architecture.moe is None and architecture.linear_attention is None
    if _at_least(version, "0.24.0"):
        return architecture.architecture in ("Qwen3ForCausalLM", "LlamaForCausalLM", "MistralForCausalLM")
    if _at_least(version, "0.22.0"):
        return architecture.architecture == "Qwen3ForCausalLM" and quantization.method == "none"
    return False


class Profile(msgspec.Struct, frozen=True):
    """The profile run of one pipeline stage, bytes."""

    peak: float
    """Peak of PyTorch's allocations above the weights (vLLM's "peak activation", kept buffers included)."""
    sampler: float
    """What the sampler's warm-up reaches; 0 on a stage without it."""
    forward: float
    """What the forward pass reaches."""
    compiling: float
    """What compiling the model reaches on a start with an empty compile cache; 0 where nothing is compiled."""
    workspace: float
    """Scratch space of the expert layers (part of both)."""
    copy: float
    """One float32 tensor of ``max_num_seqs`` rows over the vocabulary."""
    second_runner: bool
    """Run by the V2 model runner."""


class Graphs(msgspec.Struct, frozen=True):
    """The CUDA graphs that a release captures by default."""

    count: int
    largest: int
    """Tokens."""
    full: int
    """How many of them are of the whole model (the others are piecewise)."""


def graphs_captured(
    version: Version,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    *,
    sizes: tuple[int, ...] | None = None,
    largest: int | None = None,
) -> Graphs:
    """Piecewise graphs for 1, 2, 4, then every 8 tokens (every 16 above 256), and whole-model ones for decoding.

    ``sizes`` and ``largest`` are ``--cudagraph-capture-sizes`` and ``--max-cudagraph-capture-size`` when given.
    """
    release = traits(version)
    if largest is None:
        largest = min(max_num_seqs * 2, 512)
    if sizes is not None:
        captured = sorted(set(sizes))
    elif release.dense_cudagraph_step:
        captured = [1, 2, 4, *range(8, largest + 1, 8)]
    else:
        largest = min(largest, max_num_batched_tokens)
        captured = [size for size in (1, 2, 4) if size <= largest]
        captured += [*range(8, min(largest + 1, 256), 8), *range(256, largest + 1, 16)]
    full = sum(1 for size in captured if size <= max_num_seqs) if release.full_cudagraphs else 0
    return Graphs(len(captured) + full, max(captured, default=0), full)


def _sampler(
    version: Version,
    vocab: int,
    seqs: int,
    *,
    v2: bool,
    flashinfer: bool,
    multiprocessors: int,
) -> float:
    """Peak of the sampler's warm-up: copies of a ``[seqs, vocab]`` float32 tensor.

    Logits in 16 bit are half a copy, their float32 form one. Up to 0.16: the sort gives values (1), int64 indices (2)
    and as much scratch again plus the reordered indices (5): 9.5 together. From 0.17: probabilities (1) and the
    exponential noise (1), or FlashInfer's masked logits and probabilities: 3.5, and one row of scratch per
    multiprocessor. The V2 runner's warm-up asks for no top-k/top-p up to 0.32: only the 16-bit logits.
    """
    row = vocab * 4
    if v2:
        return seqs * row * (3.5 if _at_least(version, "0.33.0") else 0.5)
    if flashinfer:
        return seqs * row * 3.5
    if traits(version).sort_sampler or seqs < 8:
        return seqs * row * 9.5
    return seqs * row * 3.5 + multiprocessors * row


def moe_workspace(
    architecture: Architecture,
    *,
    version: Version,
    tokens: int,
    split: int,
    local_experts: int,
    aligned: bool,
) -> float:
    """Scratch space of one expert layer for ``tokens`` tokens, its width cut by ``split`` ranks.

    Two intermediate results of ``tokens * experts_per_token`` rows. From 0.13 (modular kernels) both are as wide as the
    wider of what they hold; before, the second was just the activation. ``aligned`` (DeepGEMM): the rows of every
    expert are padded to 128.
    """
    moe = architecture.moe
    if moe is None:
        return 0.0
    t = traits(version)
    if t.moe_chunks:
        tokens = min(tokens, MOE_CHUNK_TOKENS)
    rows = tokens * moe.num_experts_per_tok + (127 * local_experts if aligned else 0)
    inner = moe.moe_intermediate_size / split
    hidden = architecture.hidden_size
    second = max(inner, hidden) if t.workspace_manager else inner
    return rows * (max(2 * inner, hidden) + second) * 2


def _forward(
    architecture: Architecture,
    quantization: Quantization,
    *,
    version: Version,
    tokens: int,
    tp: int,
    dp: int,
    ep: bool,
    workspace: float,
) -> float:
    """Peak of the forward pass: the largest of an attention layer, a dense MLP and an expert layer."""
    kept = workspace if traits(version).workspace_manager else 0.0
    row = tokens * architecture.hidden_size * 2
    stream = 3 * row  # the residual before and after, and the attention output that the compiled graph still holds
    quantized = 1 if quantization.activation_bits <= 8 else 0
    query = architecture.num_attention_heads * (3 if architecture.attn_output_gate else 2)
    heads = query + 2 * max(architecture.num_key_value_heads, tp)
    peaks = [stream + kept + tokens * architecture.head_dim * heads / tp * 2]
    moe = architecture.moe
    if moe is None or moe.dense_layers:
        peaks.append(stream + kept + tokens * architecture.intermediate_size / tp * (3 * 2 + quantized))
    if moe is not None:
        together = tokens * dp  # every rank computes its experts on the tokens of all
        gathered = 2 * together * architecture.hidden_size * 2 if dp > 1 else 0
        router = together * moe.num_experts * (2 + 4)
        codes = 0.0
        if quantized:
            chunk = min(together, MOE_CHUNK_TOKENS) if traits(version).moe_chunks else together
            inner = moe.num_experts_per_tok * moe.moe_intermediate_size / (1 if ep else tp * dp)
            codes = chunk * (architecture.hidden_size + inner)
        shared = tokens * moe.shared_expert_intermediate_size / tp * 6
        out = 0 if kept else row
        peaks.append(stream + gathered + router + codes + out + shared + workspace)
    return max(peaks)


def peak(
    architecture: Architecture,
    quantization: Quantization,
    version: Version,
    *,
    max_num_batched_tokens: int,
    max_num_seqs: int,
    tensor_parallel_size: int,
    data_parallel_size: int,
    enable_expert_parallel: bool,
    pipeline_parallel_size: int,
    first_stage: bool,
    last_stage: bool,
    compiled: bool,
    large_cublas: bool,
    deep_gemm: bool,
    multiprocessors: int,
    second_runner: bool | None = None,
    flashinfer_sampler: bool | None = None,
) -> Profile:
    """The profile run of one stage.

    ``compiled``: ``torch.compile`` is on (no ``--enforce-eager``);
    ``large_cublas``: compute capability 9.0 or later; ``deep_gemm``: 9.0, 10.x; ``multiprocessors``: of the GPU (about
    130 when not known); ``second_runner``: ``VLLM_USE_V2_MODEL_RUNNER`` when it is set;
    ``flashinfer_sampler``: ``VLLM_USE_FLASHINFER_SAMPLER`` likewise (up to 0.11.0 FlashInfer, which `pip install vllm`
    does not bring, is used where it happens to be installed: it is taken to be missing).
    """
    t = traits(version)
    v2 = second_runner_is_default(version, architecture, quantization) if second_runner is None else second_runner
    tokens = max(max_num_batched_tokens, 1)
    seqs = min(max_num_seqs, tokens)
    dp = data_parallel_size if architecture.moe is not None else 1
    split = 1 if enable_expert_parallel else tensor_parallel_size * dp
    ranks = tensor_parallel_size * dp
    local_experts = 0
    if architecture.moe is not None:
        local_experts = architecture.moe.num_experts // (ranks if enable_expert_parallel else 1)
    workspace = moe_workspace(
        architecture,
        version=version,
        tokens=tokens * dp,
        split=split,
        local_experts=local_experts,
        aligned=deep_gemm and t.deep_gemm and quantization.method == "fp8" and quantization.block is not None,
    )
    fixed = (HOPPER_CUBLAS_WORKSPACE if large_cublas else OTHER_CUBLAS_WORKSPACE) + GUARD_BYTES
    row = tokens * architecture.hidden_size * 2
    between = 2 * row if pipeline_parallel_size > 1 else 0  # hidden states and residual received from or sent on
    forward = (
        fixed
        + between
        + _forward(
            architecture,
            quantization,
            version=version,
            tokens=tokens,
            tp=tensor_parallel_size,
            dp=dp,
            ep=enable_expert_parallel,
            workspace=workspace,
        )
    )
    sampler = 0.0
    if last_stage:
        sampler = (
            fixed
            + between
            + row
            + seqs * architecture.hidden_size * 2
            + _sampler(
                version,
                architecture.vocab_size,
                seqs,
                v2=v2,
                flashinfer=bool(flashinfer_sampler),
                multiprocessors=multiprocessors,
            )
            + (workspace if t.workspace_manager else 0)
        )
    compiling = 0.0
    if compiled and first_stage and t.kernels_timed:
        embedding = architecture.vocab_size * architecture.hidden_size * 2 / tensor_parallel_size
        tables = 2 if t.kernels_timed_twice and architecture.attention_bias else 1
        compiling = fixed + tables * embedding + row
    kept = 0.0
    if v2 and t.counts_everything and last_stage:
        kept = max_num_seqs * architecture.vocab_size * 4  # counts of the tokens each request has produced
    return Profile(
        peak=max(forward, sampler, compiling) + kept,
        sampler=sampler,
        forward=forward,
        compiling=compiling,
        workspace=workspace,
        copy=seqs * architecture.vocab_size * 4,
        second_runner=v2,
    )
