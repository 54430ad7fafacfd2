"""Rule: a KV cache type that the card's attention cannot hold."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_ANY_NAME_IN_FP8 = Range(None, "0.22.0")
"""Releases whose FlashAttention takes every name that begins with fp8 on Hopper."""
_AUTO_ONLY = Range("0.11.1", "0.15.0")
"""Releases whose attention backends know no 16-bit type by name."""
_FLEX = Range("0.11.0", "0.11.1")
"""Releases that put FlexAttention on older cards, which takes `auto` only."""
_OLD_CARDS = Range("0.24.0", "0.33.0")


@rule(
    holds=Range("0.11.0"),
    reads=("release", "gpu", "kv_cache_dtype", "attention_backend"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/platforms/cuda.py",
            "No valid attention backend found for cuda with AttentionSelectorConfig(... kv_cache_dtype=fp8_inc",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.2/vllm/v1/attention/backends/flash_attn.py",
            "No valid attention backend found for cuda with head_size: 128, dtype: torch.bfloat16, "
            "kv_cache_dtype: bfloat16",
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
    """No attention backend of the card has this KV cache type

    What it finds
    `--kv-cache-dtype fp8_inc`, which belongs to Intel Gaudi, on an NVIDIA card; up to 0.21.0 Hopper takes it for an
    FP8 type of its own. `bfloat16` from 0.11.1 up to 0.14.1, whose attention backends know 16 bit as `auto` only (in
    0.11.0 FlexAttention alone, which older cards get), and from 0.24.0 to 0.32.0 on cards older than compute capability
    8.0 (later: `kv-cache-type-differs-from-model`).

    Why it fails
    No attention backend for the card takes the type, and vLLM stops while it builds the layers.

    What to do
    `--kv-cache-dtype fp8` on a card that has FP8, or leave it out.

    Not covered
    FP8 on cards without it: `fp8-kv-cache-without-fp8-attention`. Releases before 0.11.0.
    """
    asked, gpu = deployment.kv_cache_dtype, deployment.gpu
    version, backend, capability = deployment.release.version, deployment.attention_backend, gpu.compute_capability
    if gpu.vendor == "amd":
        return None
    nowhere = "No valid attention backend found for cuda" if backend is None else "Selected backend ... is not valid"
    if asked == "fp8_inc" and version not in _FLEX:
        hopper = capability is not None and capability[0] == 9 and version in _ANY_NAME_IN_FP8
        if capability is None or (hopper and backend in (None, "FLASH_ATTN")):
            return None
        return _breach(f"fp8_inc is a type of Intel Gaudi, and {gpu.name} has none of its kernels", nowhere)
    if asked != "bfloat16":
        return None
    old = capability is not None and capability < (8, 0)
    if version in _FLEX and (backend == "FLEX_ATTENTION" or (backend is None and old)):
        return _breach(
            "FlexAttention knows bfloat16 as `auto` only", "FlexAttention does not support quantized kv-cache"
        )
    if version in _AUTO_ONLY:
        return _breach(f"the attention backends of vLLM {deployment.release} know bfloat16 as `auto` only", nowhere)
    if version in _OLD_CARDS and capability is not None and capability < (8, 0):
        return _breach(
            f"{gpu.name} has compute capability {capability[0]}.{capability[1]}, and bfloat16 needs 8.0",
            "bfloat16 KV cache is not supported on",
        )
    return None


def _breach(because: str, error: str) -> Breach:
    drop = Fix("drop `--kv-cache-dtype`", drop=("kv_cache_dtype",))
    return Breach(because=because, about=("kv_cache_dtype",), fixes=(drop,), error=error)
