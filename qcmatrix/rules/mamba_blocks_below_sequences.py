"""Rule: fewer state blocks than running sequences on a hybrid model."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.memory import kv_cache
from qcmatrix.memory.ledger import GIB, Footprint
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_NO_FULL_GRAPHS = ("NONE", "PIECEWISE")


@rule(
    holds=Range("0.20.0"),
    reads=(
        "footprint",
        "release",
        "gpu",
        "architecture",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "pipeline_partition",
        "decode_context_parallel_size",
        "kv_cache_dtype",
        "dtype",
        "block_size",
        "num_gpu_blocks_override",
        "max_num_seqs",
        "enforce_eager",
        "optimization_level",
        "cudagraph_mode",
        "enable_prefix_caching",
        "mamba_cache_dtype",
        "mamba_ssm_cache_dtype",
    ),
    outcome=Outcome.DOES_NOT_FIT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.20.0/vllm/config/compilation.py",
            "Each decode sequence requires one Mamba cache block, so CUDA graph capture cannot proceed.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/compilation.py",
            "exceeds available Mamba cache",
            Level.DERIVED,
        ),
        RuleSource("https://github.com/vllm-project/vllm/issues/34094", "Mamba cache blocks"),
    ),
)
def mamba_blocks_below_sequences(deployment: Deployment, footprint: Footprint) -> Verdict:
    """A hybrid model has fewer state blocks than sequences may run

    What it finds
    A hybrid model (Qwen3-Coder-Next) whose cache has fewer blocks than `--max-num-seqs`, which is often left at its
    default of 256 or 1024.

    Why it fails
    The linear attention layers keep one block of state per running sequence. With full CUDA graphs (the default) vLLM
    from 0.20.0 on checks that every sequence can have one: "max_num_seqs (1024) exceeds available Mamba cache blocks
    (939). Each decode sequence requires one Mamba cache block, so CUDA graph capture cannot proceed." Releases 0.18
    and 0.19 capture fewer graph sizes instead; before that, capture could crash.

    What to do
    Lower `--max-num-seqs`: the message names the number. More memory for the cache helps too.

    Not covered
    Speculative decoding, which needs more than one block per sequence.
    """
    if deployment.enforce_eager or deployment.optimization_level == 0 or deployment.cudagraph_mode in _NO_FULL_GRAPHS:
        return None
    if deployment.architecture.linear_attention is None or footprint.kv_gib.high <= 0:
        return None
    layout = kv_cache.kv_layout(
        deployment.architecture,
        tensor_parallel_size=deployment.tensor_parallel_size,
        pipeline_parallel_size=deployment.pipeline_parallel_size,
        pipeline_partition=deployment.pipeline_partition,
        kv_cache_dtype=deployment.kv_cache_dtype,
        dtype=deployment.dtype,
        block_size=deployment.block_size,
        decode_context_parallel_size=deployment.decode_context_parallel_size,
        version=deployment.release.version,
        enable_prefix_caching=deployment.enable_prefix_caching,
        mamba_cache_dtype=deployment.mamba_cache_dtype,
        mamba_ssm_cache_dtype=deployment.mamba_ssm_cache_dtype,
        compute_capability=deployment.gpu.compute_capability if deployment.gpu.vendor == "nvidia" else None,
    )
    number = footprint.stage.rpartition(" ")[2]
    stage = int(number) if number.isdecimal() else 0
    low, mid, high = (
        kv_cache.mamba_blocks(
            layout[stage : stage + 1],
            max(0, int(gib * GIB)),
            num_gpu_blocks_override=deployment.num_gpu_blocks_override,
        )
        or 0
        for gib in (footprint.kv_gib.low, footprint.kv_gib.mid, footprint.kv_gib.high)
    )
    sequences = deployment.max_num_seqs
    if sequences <= low:
        return None
    because = f"--max-num-seqs {sequences} asks for as many state blocks, and there are {mid}"
    if sequences <= high:
        return Unknown(f"{because} ({low} to {high})", decides=mid < sequences)
    fewer = max(1, low // 8 * 8)
    return Breach(
        because=f"{because} (at most {high})",
        about=("max_num_seqs",),
        fixes=(Fix(f"use `--max-num-seqs {fewer}`", set={"max_num_seqs": fewer}),),
        error=f"max_num_seqs ({sequences}) exceeds available Mamba cache blocks ({mid}).",
    )
