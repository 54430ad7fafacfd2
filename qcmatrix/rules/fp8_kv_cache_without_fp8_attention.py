"""Rule: an FP8 KV cache that the attention backend cannot read."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_TRITON_ONLY = Range("0.11.0", "0.11.1")
_TRITON_SAYS_SO = Range("0.24.0")
_TRITON = ("TRITON_ATTN", "TRITON_ATTN_VLLM_V1")


@rule(
    holds=Range("0.11.0"),
    reads=("release", "gpu", "kv_cache_dtype", "attention_backend"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/v1/attention/backends/triton_attn.py",
            "FP8 KV cache is not supported by the Triton attention backend",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.24.0/vllm/v1/attention/backends/triton_attn.py",
            "FP8 KV cache is not supported by the Triton attention backend",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.0/vllm/platforms/cuda.py",
            "if (has_sink or use_fp8_kv_cache) and not cls.is_device_capability(90):",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/v1/attention/backends/flashinfer.py",
            "return capability >= DeviceCapability(8, 0) and capability <= DeviceCapability(12, 1)",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def fp8_kv_cache_without_fp8_attention(deployment: Deployment) -> Verdict:
    """The attention backend cannot read an FP8 KV cache on this card

    What it finds
    `--kv-cache-dtype fp8` with an attention backend that has no FP8 on this card: Triton below compute capability
    8.9, FlashAttention on Ampere, Ada and consumer Blackwell, FlexAttention anywhere.

    Why it fails
    Triton has no e4m3 type below compute capability 8.9: "type fp8e4nv not supported in this architecture", or from
    0.24.0 "FP8 KV cache is not supported by the Triton attention backend on ... (compute capability 8.0); native FP8
    (fp8e4nv) requires SM89+." vLLM 0.11.0 takes Triton for every FP8 KV cache outside Hopper and Blackwell, so it
    fails there on A100 or RTX 3090 by default. FlashAttention reads FP8 in its version 3 only, on Hopper.

    What to do
    Leave the attention backend to vLLM: from 0.11.1 it takes FlashInfer for an FP8 KV cache on such cards. Or keep
    the KV cache in 16 bit.

    Not covered
    Whether FlashInfer is installed (it is a requirement of the CUDA packages from 0.11.1), and AMD cards.
    """
    gpu, capability = deployment.gpu, deployment.gpu.compute_capability
    if not deployment.kv_cache_dtype.startswith("fp8") or gpu.vendor == "amd":
        return None
    backend, version = deployment.attention_backend, deployment.release.version
    if capability is None:
        return Unknown(f"which attention backends read an FP8 KV cache on {gpu.name} is not known")
    card = f"{gpu.name} (compute capability {capability[0]}.{capability[1]})"
    if backend in _TRITON or (backend is None and version in _TRITON_ONLY and capability[0] == 8):
        if capability >= (8, 9):
            return None
        why = f"{card} has no FP8 type in Triton, and the attention backend is Triton"
        error = (
            "FP8 KV cache is not supported by the Triton attention backend"
            if version in _TRITON_SAYS_SO
            else "type fp8e4nv not supported in this architecture"
        )
    elif backend in ("FLASH_ATTN", "FLASH_ATTN_VLLM_V1") and capability[0] in (8, 12):
        why, error = f"FlashAttention reads FP8 on Hopper only, and this is {card}", "FLASH_ATTN"
    elif backend == "FLEX_ATTENTION" or (backend is None and version in _TRITON_ONLY and capability < (8, 0)):
        why, error = (
            "FlexAttention does not read a quantized KV cache",
            "FlexAttention does not support quantized kv-cache",
        )
    elif backend is None and capability < (8, 0):
        return Unknown(f"whether FlashInfer reads an FP8 KV cache on {card} in this release is not known")
    elif backend is None and capability < (8, 9):
        return Unknown(
            f"{card} reads an FP8 KV cache through FlashInfer only: vLLM chooses it where it is installed",
            decides=False,
        )
    else:
        return None
    fixes = [Fix("drop `--kv-cache-dtype`", drop=("kv_cache_dtype",))]
    if backend is not None:
        fixes.insert(
            0, Fix("drop `--attention-backend`", drop=("attention_backend",), drop_env=("VLLM_ATTENTION_BACKEND",))
        )
    return Breach(because=why, about=("kv_cache_dtype", "attention_backend"), fixes=tuple(fixes), error=error)
