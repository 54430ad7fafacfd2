"""Rule: a quantization method below its least compute capability."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

# From get_min_capability() of the method's configuration class, and of the scheme for compressed-tensors.
_LEAST = {
    "fp8": ((Range("0.10.0", "0.14.0"), (8, 0)), (Range("0.14.0"), (7, 5))),
    "modelopt": ((Range("0.10.0", "0.14.0"), (8, 0)), (Range("0.14.0"), (7, 5))),
    "compressed-tensors": ((Range("0.10.0", "0.16.0"), (8, 0)), (Range("0.16.0"), (7, 5))),
    "awq": ((Range("0.10.0"), (7, 5)),),
    "gptq": ((Range("0.10.0"), (6, 0)),),
}
_MARLIN_EXPERTS = Range("0.10.0", "0.14.0")
"""Releases whose AWQ experts need Marlin kernels, and whose Marlin kernels need compute capability 8.0."""


@rule(
    holds=Range("0.10.0"),
    reads=(
        "release",
        "gpu",
        "quantization",
        "architecture",
        "tensor_parallel_size",
        "data_parallel_size",
        "enable_expert_parallel",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/vllm.py",
            "is not supported for the current GPU. Minimum capability:",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "is not supported for the current GPU. Minimum capability:",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/model_executor/layers/quantization/utils/"
            "marlin_utils.py",
            "Marlin does not support weight_bits = uint4. Only types = [] are supported (for group_size = 128, "
            "device_capability = 75, zp = True).",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.14.0/vllm/model_executor/layers/quantization/fp8.py",
            "def get_min_capability(cls) -> int: return 75",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def quantization_needs_newer_gpu(deployment: Deployment) -> Verdict:
    """The GPU is too old for the checkpoint's quantization

    What it finds
    An NVIDIA card whose compute capability is below the least that vLLM's code for the quantization method accepts:
    8.0 for FP8 up to 0.13.0, 7.5 from 0.14.0; 7.5 for AWQ; 6.0 for GPTQ; 8.0 for the weight-only kernels of
    compressed-tensors up to 0.15.1, 7.5 from 0.16.0. The experts of an AWQ checkpoint need 8.0 up to 0.13.0.

    Why it fails
    vLLM compares the two before it loads anything: "The quantization method fp8 is not supported for the current GPU.
    Minimum capability: 80. Current capability: 75."

    What to do
    Use a checkpoint in another format (AWQ, GPTQ), a newer release, or a newer card.

    Not covered
    Cards that are new enough and merely slower: `fp8-weights-without-fp8-hardware`. AMD cards are not judged.
    """
    method, gpu = deployment.quantization.method, deployment.gpu
    bounds = _LEAST.get(method)
    if bounds is None or gpu.vendor == "amd":
        return None
    least = next(capability for holds, capability in bounds if deployment.release.version in holds)
    if gpu.compute_capability is None:
        return Unknown(
            f"{method} needs compute capability {least[0]}.{least[1]}, and that of {gpu.name} is not known",
            decides=False,
        )
    if gpu.compute_capability >= least:
        return _marlin_experts(deployment)
    have, need = gpu.compute_capability, least[0] * 10 + least[1]
    return Breach(
        because=f"{method} needs compute capability {least[0]}.{least[1]}, and {gpu.name} has {have[0]}.{have[1]}",
        about=("model",),
        error=f"is not supported for the current GPU. Minimum capability: {need}. "
        f"Current capability: {have[0] * 10 + have[1]}.",
    )


def _marlin_experts(deployment: Deployment) -> Verdict:
    """AWQ experts below compute capability 8.0; those whose groups are cut go to other kernels."""
    moe, capability, stored = deployment.architecture.moe, deployment.gpu.compute_capability, deployment.quantization
    if stored.method != "awq" or moe is None or deployment.release.version not in _MARLIN_EXPERTS:
        return None
    ranks = 1 if deployment.enable_expert_parallel else deployment.tensor_parallel_size * deployment.data_parallel_size
    cut = ranks < 1 or moe.moe_intermediate_size % (ranks * (stored.group_size or 1))
    if capability is None or capability >= (8, 0) or cut:
        return None
    return Breach(
        because=f"AWQ experts need compute capability 8.0 in vLLM {deployment.release}, and {deployment.gpu.name} has "
        f"{capability[0]}.{capability[1]}",
        about=("model",),
        error="Marlin does not support weight_bits = uint4.",
    )
