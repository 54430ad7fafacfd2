"""Rule: 32-bit activations over quantized weights."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("checkpoint", "quantization_flag", "dtype"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/vllm.py",
            "torch.float32 is not supported for quantization method fp8.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/config/vllm.py",
            "torch.float32 is not supported for quantization method auto_awq.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "if model_config.dtype not in supported_dtypes: raise ValueError(",
            Level.DERIVED,
        ),
    ),
)
def float32_with_quantized_weights(deployment: Deployment) -> Verdict:
    """Quantized weights do not go with 32-bit activations

    What it finds
    `--dtype float32` (or `float`) with FP8, AWQ or GPTQ weights.

    Why it fails
    The kernels of these formats compute in 16 bit, and vLLM says so before it loads anything: "torch.float32 is not
    supported for quantization method fp8."

    What to do
    Leave `--dtype` out: the checkpoint's own 16-bit type is taken.

    Not covered
    Compressed-tensors and online quantization under another name than `fp8`, which the check lets pass.
    """
    if deployment.dtype not in ("float32", "float"):
        return None
    method = deployment.checkpoint.quantization.method
    if method == "none" and deployment.quantization_flag == "fp8":
        method = "fp8"
    if method not in ("fp8", "awq", "gptq"):
        return None
    return Breach(
        because=f"--dtype {deployment.dtype} over weights of method {method}, whose kernels compute in 16 bit",
        about=("dtype",),
        fixes=(Fix("drop `--dtype`", drop=("dtype",)),),
        error="torch.float32 is not supported for quantization method",
    )
