"""Rule: NVFP4 weights on a card before Blackwell."""

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
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/quantization/"
            "compressed_tensors/compressed_tensors.py",
            "Current platform does not support cutlass NVFP4. Running CompressedTensorsW4A16Fp4.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/quantization/"
            "compressed_tensors/schemes/compressed_tensors_w4a4_nvfp4.py",
            "def get_min_capability(cls) -> int: return 75",
            Level.DERIVED,
        ),
    ),
)
def nvfp4_weights_without_fp4_hardware(deployment: Deployment) -> Verdict:
    """NVFP4 weights run in 16 bit on this card

    What it finds
    An NVFP4 checkpoint (4-bit floating point weights and activations) on a card older than Blackwell.

    Why it fails
    Only compute capability 10.0 and newer multiplies such numbers. Elsewhere vLLM keeps the weights in 4 bit and
    expands them on the way (Marlin): memory is saved, the arithmetic is that of 16 bit.

    What to do
    On Hopper an FP8 checkpoint is the faster one where it fits; NVFP4 is the smaller one.

    Not covered
    Cards that are too old for that as well: `quantization-needs-newer-gpu`.
    """
    quantization, gpu = deployment.quantization, deployment.gpu
    if gpu.vendor == "amd" or quantization.weight_bits != 4 or quantization.activation_bits != 4:
        return None
    if gpu.compute_capability is None:
        return Unknown(f"whether {gpu.name} has FP4 hardware (compute capability 10.0) is not known", decides=False)
    if gpu.compute_capability >= (10, 0):
        return None
    major, minor = gpu.compute_capability
    return Breach(
        because=f"{gpu.name} (compute capability {major}.{minor}) has no FP4 hardware: weights are expanded to 16 bit",
        about=("model",),
        severity=Severity.INFO,
    )
