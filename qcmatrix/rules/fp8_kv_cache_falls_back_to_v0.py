"""Rule: an FP8 KV cache that makes 0.10 fall back to the old engine."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.memory.kv_behaviour import leaves_v1_for_fp8
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range


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
    slower and divides memory its own way. The ledger reckons with V1's figures, and takes that the old engine may
    leave more to the KV cache: with the 30B in FP8 at 200K tokens on a 4090 with 48 GB, which was reported as served
    (https://www.jamesflare.com, read 2026-11-22), that agrees. With `VLLM_USE_V1=1` it refuses to start instead.

    What to do
    Use 0.11.1 or newer. On 0.10.2, `VLLM_ATTENTION_BACKEND=FLASHINFER` keeps the V1 engine where FlashInfer is
    installed.

    Not covered
    What memory the old engine takes exactly: no log of it with all figures is known.
    """
    gpu = deployment.gpu
    if not deployment.kv_cache_dtype.startswith("fp8") or gpu.vendor == "amd":
        return None
    leaves = leaves_v1_for_fp8(
        deployment.release.version,
        deployment.kv_cache_dtype,
        deployment.attention_backend,
        vendor=gpu.vendor,
        compute_capability=gpu.compute_capability,
    )
    capability = gpu.compute_capability
    if leaves is None or capability is None:
        return Unknown(f"an FP8 KV cache under V1 needs Hopper or Blackwell here, and {gpu.name} is not known")
    if not leaves:
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
