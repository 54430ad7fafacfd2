"""Rule: a KV cache type that the card's attention cannot hold."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.28.0"),
    reads=("gpu", "kv_cache_dtype"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/platforms/cuda.py",
            "No valid attention backend found for cuda with AttentionSelectorConfig(... kv_cache_dtype=fp8_inc",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/v1/attention/backends/triton_attn.py",
            "bfloat16 KV cache is not supported on Tesla T4 (compute capability 7.5); bfloat16 requires SM80+.",
            Level.PROBED,
        ),
    ),
)
def kv_cache_type_of_other_hardware(deployment: Deployment) -> Verdict:
    """The KV cache type is for other hardware

    What it finds
    `--kv-cache-dtype fp8_inc`, which belongs to Intel Gaudi, on an NVIDIA card; `bfloat16` on one older than compute
    capability 8.0.

    Why it fails
    No attention backend for the card takes the type, and vLLM stops while it builds the layers.

    What to do
    `--kv-cache-dtype fp8` on a card that has FP8, or leave it out.

    Not covered
    FP8 on cards without it: `fp8-kv-cache-without-fp8-attention`. Releases before 0.28.0 were not asked.
    """
    asked, gpu = deployment.kv_cache_dtype, deployment.gpu
    if gpu.vendor == "amd":
        return None
    drop = (Fix("drop `--kv-cache-dtype`", drop=("kv_cache_dtype",)),)
    if asked == "fp8_inc":
        return Breach(
            because=f"fp8_inc is a type of Intel Gaudi, and {gpu.name} has none of its kernels",
            about=("kv_cache_dtype",),
            fixes=drop,
            error="No valid attention backend found for cuda",
        )
    if asked == "bfloat16" and gpu.compute_capability is not None and gpu.compute_capability < (8, 0):
        major, minor = gpu.compute_capability
        return Breach(
            because=f"{gpu.name} has compute capability {major}.{minor}, and bfloat16 needs 8.0",
            about=("kv_cache_dtype",),
            fixes=drop,
            error="bfloat16 KV cache is not supported on",
        )
    return None
