"""Rule: an FP8 KV cache that makes 0.10 fall back to the old engine."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_NAMES_BACKENDS = Range("0.10.2", "0.11.0")


@rule(
    holds=Range("0.10.0", "0.11.0"),
    reads=("release", "gpu", "kv_cache_dtype", "attention_backend", "env"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/platforms/cuda.py",
            "All Blackwell backends support fp8",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/engine/arg_utils.py",
            "is not supported by the V1 Engine. Falling back to V0.",
            Level.DERIVED,
        ),
    ),
)
def fp8_kv_cache_falls_back_to_v0(deployment: Deployment) -> Verdict:
    """An FP8 KV cache makes vLLM 0.10 fall back to its old engine

    What it finds
    `--kv-cache-dtype fp8` with vLLM 0.10.x on a card that is neither Hopper nor Blackwell (compute capability 10.0).

    Why it fails
    The V1 engine of 0.10 has FP8 attention for FlashAttention 3 (Hopper) and Blackwell only. Elsewhere it says
    "--kv-cache-dtype is not supported by the V1 Engine. Falling back to V0." and starts the old engine, which is
    slower and divides memory otherwise than what is reckoned here. With `VLLM_USE_V1=1` it refuses to start instead.

    What to do
    Use 0.11.1 or newer. On 0.10.2, `VLLM_ATTENTION_BACKEND=FLASHINFER` keeps the V1 engine where FlashInfer is
    installed.

    Not covered
    What memory the old engine takes.
    """
    gpu = deployment.gpu
    if not deployment.kv_cache_dtype.startswith("fp8") or gpu.vendor == "amd":
        return None
    capability = gpu.compute_capability
    if capability is None:
        return Unknown(f"an FP8 KV cache under V1 needs Hopper or Blackwell here, and {gpu.name} is not known")
    if capability[0] == 9 or capability == (10, 0):
        return None
    backend = deployment.attention_backend
    if deployment.release.version in _NAMES_BACKENDS and (
        backend == "FLASHINFER" or (backend == "TRITON_ATTN_VLLM_V1" and capability >= (8, 9))
    ):
        return None
    because = f"{gpu.name} (compute capability {capability[0]}.{capability[1]}) has no FP8 attention in the V1 engine"
    fix = Fix("drop `--kv-cache-dtype`", drop=("kv_cache_dtype",))
    if deployment.env.get("VLLM_USE_V1", "") not in ("", "0"):
        return Breach(
            because=f"{because}, and VLLM_USE_V1 forbids the old one",
            about=("kv_cache_dtype", "VLLM_USE_V1"),
            fixes=(fix,),
            error="VLLM_USE_V1=1 is not supported with --kv-cache-dtype.",
            outcome=Outcome.REFUSES_TO_START,
        )
    return Breach(because=f"{because}, so vLLM falls back to V0", about=("kv_cache_dtype",), fixes=(fix,))
