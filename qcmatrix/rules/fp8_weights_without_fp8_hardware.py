"""Rule: FP8 weights on a card without FP8 tensor cores."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Level, Outcome, RuleSource, Severity, Unknown, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("gpu", "quantization"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/quantization/fp8.py",
            "For GPUs that lack FP8 hardware support, we can leverage the Marlin kernel for fast weight-only FP8 "
            "quantization",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/issues/17581",
            "Qwen3 FP8 on 0.8.5: type fp8e4nv not supported in this architecture.",
        ),
    ),
)
def fp8_weights_without_fp8_hardware(deployment: Deployment) -> Verdict:
    """FP8 weights run in 16 bit on this card

    What it finds
    An FP8 checkpoint on an NVIDIA card older than compute capability 8.9 (A100, A10, RTX 3090 ...).

    Why it fails
    It does not fail from 0.10.0 on. The card cannot multiply FP8 numbers, so the Marlin kernels expand the weights to
    16 bit on the way: the memory is saved, the FP8 arithmetic is not gained, and prompts are processed no faster than
    in BF16. Releases before 0.10.0 could end with "type fp8e4nv not supported in this architecture" for mixtures of
    experts.

    What to do
    Nothing, when memory is what matters. A 4-bit checkpoint (AWQ, GPTQ) saves more on such cards.

    Not covered
    The FP8 KV cache, which is another matter: `fp8-kv-cache-without-fp8-attention`.
    """
    quantization, gpu = deployment.quantization, deployment.gpu
    if gpu.vendor == "amd" or quantization.weight_bits != 8 or quantization.activation_bits != 8:
        return None
    if quantization.method not in ("fp8", "compressed-tensors", "modelopt"):
        return None
    if gpu.compute_capability is None:
        return Unknown(
            f"{gpu.name} is no listed card: FP8 hardware (compute capability 8.9 or higher) is assumed, and whether it "
            "has any is not known",
            decides=False,
        )
    if gpu.compute_capability >= (8, 9):
        return None
    major, minor = gpu.compute_capability
    return Breach(
        because=f"{gpu.name} (compute capability {major}.{minor}) has no FP8 hardware: weights are expanded to 16 bit",
        about=("model",),
        severity=Severity.INFO,
    )
