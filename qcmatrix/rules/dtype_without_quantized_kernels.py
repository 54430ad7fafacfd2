"""Rule: a data type that the kernels of the quantized weights do not compute in."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_PLAIN_KERNELS = Range("0.10.0", "0.24.0")
"""Releases where `--quantization awq` and `gptq` mean the old kernels, not the Marlin ones."""


@rule(
    holds=Range("0.10.0"),
    reads=("release", "checkpoint", "quantization_flag", "dtype"),
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
            "https://github.com/vllm-project/vllm/blob/v0.18.1/vllm/config/vllm.py",
            "torch.bfloat16 is not supported for quantization method awq. Supported dtypes: [torch.float16]",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "if model_config.dtype not in supported_dtypes: raise ValueError(",
            Level.DERIVED,
        ),
    ),
)
def dtype_without_quantized_kernels(deployment: Deployment) -> Verdict:
    """The kernels of the quantized weights do not compute in this data type

    What it finds
    `--dtype float32` (or `float`) with FP8, AWQ or GPTQ weights. Before 0.24.0 also `--dtype bfloat16` together with
    `--quantization awq` or `gptq`, which ask for the old kernels.

    Why it fails
    The kernels of these formats compute in 16 bit, and vLLM says so before it loads anything: "torch.float32 is not
    supported for quantization method fp8." The old AWQ and GPTQ kernels know float16 only; without the option vLLM
    takes the Marlin ones, which know both.

    What to do
    Leave `--dtype` out, so that the checkpoint's own 16-bit type is taken, and `--quantization` as well.

    Not covered
    Compressed-tensors and online quantization under another name than `fp8`, which the check lets pass. The type that
    a checkpoint's `config.json` names: with `--quantization awq` or `gptq` and no `--dtype` it decides, and the answer
    is unknown before 0.24.0.
    """
    dtype, flag = deployment.dtype, deployment.quantization_flag
    method = deployment.checkpoint.quantization.method
    if method == "none" and flag == "fp8":
        method = "fp8"
    if method not in ("fp8", "awq", "gptq"):
        return None
    plain = flag == method and flag != "fp8" and deployment.release.version in _PLAIN_KERNELS
    if plain and dtype == "auto":
        return Unknown(f"--quantization {flag} asks for kernels that know float16 only; config.json's type decides")
    if plain and dtype == "bfloat16":
        return Breach(
            because=f"the kernels of --quantization {flag} compute in float16 only, and --dtype says bfloat16",
            about=("quantization", "dtype"),
            fixes=(Fix("drop `--quantization`", drop=("quantization",)), Fix("drop `--dtype`", drop=("dtype",))),
            error=f"torch.bfloat16 is not supported for quantization method {flag}.",
        )
    if dtype not in ("float32", "float"):
        return None
    return Breach(
        because=f"--dtype {dtype} over weights of method {method}, whose kernels compute in 16 bit",
        about=("dtype",),
        fixes=(Fix("drop `--dtype`", drop=("dtype",)),),
        error="torch.float32 is not supported for quantization method",
    )
