"""Rule: DeepGEMM is demanded of a card or a checkpoint that it does not work with."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_DEMANDS = Range("0.15.0")
_CONSUMER_BLACKWELL = Range("0.24.0")
_ON = ("1", "2")
_BLOCK = (128, 128)


@rule(
    holds=Range("0.10.0"),
    reads=("release", "gpu", "architecture", "quantization", "env", "moe_backend"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.15.0/vllm/model_executor/layers/fused_moe/oracle/fp8.py",
            'if envs.is_set("VLLM_USE_DEEP_GEMM") or envs.is_set("VLLM_MOE_USE_DEEP_GEMM"):',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/platforms/cuda.py",
            "Currently, only Hopper and Blackwell GPUs are supported.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/quantization/fp8.py",
            "DeepGemm not supported on the current platform.",
            Level.DERIVED,
        ),
    ),
)
def deep_gemm_on_card_that_cannot(deployment: Deployment) -> Verdict:
    """DeepGEMM is demanded where it does not work

    What it finds
    `VLLM_USE_DEEP_GEMM=1`, as many Qwen3-Coder guides of 2025 have it, for an FP8 mixture-of-experts checkpoint on a
    card other than Hopper or data-centre Blackwell (consumer Blackwell counts from 0.24.0 on), or whose FP8 weights
    have no 128 x 128 blocks.

    Why it fails
    Up to 0.14.1 the variable was a wish: vLLM logged a warning and took another kernel. From 0.15.0 on a variable
    that is set is a demand: vLLM stops with "FP8 MoE backend DEEPGEMM does not support the deployment configuration
    since kernel does not support current device" (or "quantization scheme").

    What to do
    Take the variable away. From 0.11.0 on DeepGEMM is used by itself where it works.

    Not covered
    Whether the DeepGEMM package is installed; without it the demand is refused as well. Dense FP8 models, where the
    variable stays a wish.
    """
    if deployment.env.get("VLLM_USE_DEEP_GEMM") not in _ON or deployment.env.get("VLLM_MOE_USE_DEEP_GEMM") == "0":
        return None
    quantization = deployment.quantization
    if deployment.architecture.moe is None or quantization.method != "fp8" or deployment.moe_backend != "auto":
        return None
    version, gpu = deployment.release.version, deployment.gpu
    capability = gpu.compute_capability
    if capability is None:
        return Unknown(f"whether {gpu.name} runs DeepGEMM: its compute capability is not known", decides=False)
    family = capability[0]
    works = gpu.vendor == "nvidia" and (
        capability == (9, 0) or family == 10 or (family == 12 and version in _CONSUMER_BLACKWELL)
    )
    if works and quantization.block == _BLOCK:
        return None
    reason = "quantization scheme" if works else "current device"
    why = (
        "its FP8 weights have no 128 x 128 blocks" if works else f"{gpu.name} is neither Hopper nor supported Blackwell"
    )
    fixes = (Fix("take `VLLM_USE_DEEP_GEMM` away", drop_env=("VLLM_USE_DEEP_GEMM",)),)
    if version in _DEMANDS:
        return Breach(
            because=f"VLLM_USE_DEEP_GEMM=1 demands DeepGEMM for the experts, and {why}",
            about=("VLLM_USE_DEEP_GEMM",),
            fixes=fixes,
            error="FP8 MoE backend DEEPGEMM does not support the deployment configuration since kernel does not "
            f"support {reason}",
        )
    return Breach(
        because=f"VLLM_USE_DEEP_GEMM=1 is ignored with a warning, because {why}; 0.15.0 and later stop",
        about=("VLLM_USE_DEEP_GEMM",),
        fixes=fixes,
        outcome=Outcome.REDUNDANT,
    )
