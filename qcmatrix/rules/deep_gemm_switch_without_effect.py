"""Rule: DeepGEMM is switched on where it is on already, or has nothing to do."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_ON_BY_DEFAULT = Range("0.11.0")
_ON = ("1", "2")


@rule(
    holds=Range("0.10.0"),
    reads=("release", "quantization", "env"),
    outcome=Outcome.REDUNDANT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.0/vllm/envs.py",
            'lambda: bool(int(os.getenv("VLLM_USE_DEEP_GEMM", "1")))',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/envs.py",
            'lambda: bool(int(os.getenv("VLLM_USE_DEEP_GEMM", "0")))',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/quantization/fp8.py",
            "Model is not block quantized. Not using DeepGemm kernels",
            Level.DERIVED,
        ),
    ),
)
def deep_gemm_switch_without_effect(deployment: Deployment) -> Verdict:
    """DeepGEMM is switched on where that changes nothing

    What it finds
    `VLLM_USE_DEEP_GEMM=1` from 0.11.0 on, where it is the default, or for a checkpoint without FP8 weights.

    Why it fails
    It does not fail. DeepGEMM multiplies FP8 matrices in blocks, so a BF16 or 4-bit checkpoint has nothing for it.
    For FP8 experts the set variable is worse than nothing from 0.15.0 on: it takes away vLLM's fall-back to another
    kernel, so a launch that would run elsewhere stops (`deep-gemm-on-card-that-cannot`).

    What to do
    Take it away. On 0.10.x with FP8 weights on Hopper it does matter, together with the DeepGEMM package.

    Not covered
    Switching it off with 0, which has reasons of its own.
    """
    if deployment.env.get("VLLM_USE_DEEP_GEMM") not in _ON:
        return None
    if deployment.quantization.weight_bits != 8:
        because = "the checkpoint has no FP8 weights for DeepGEMM to multiply"
    elif deployment.release.version in _ON_BY_DEFAULT:
        because = "DeepGEMM is on by default since 0.11.0; from 0.15.0 on setting it takes the fall-back away"
    else:
        return None
    return Breach(
        because=because,
        about=("VLLM_USE_DEEP_GEMM",),
        fixes=(Fix("take `VLLM_USE_DEEP_GEMM` away", drop_env=("VLLM_USE_DEEP_GEMM",), safe=True),),
    )
