"""Rule: ``--quantization`` names another format than the checkpoint's."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_GROUPED = ("moe_wna16", "inc", "ipex", "humming")
_SAME = {
    "fp8": ("fp8", "humming", "deepseek_v4_fp8"),
    "awq": ("awq", "awq_marlin", "auto_awq", "cpu_awq", *_GROUPED),
    "gptq": ("gptq", "gptq_marlin", "auto_gptq", "gptq_bitblas", "gptq_marlin_24", *_GROUPED),
    "compressed-tensors": ("compressed-tensors", "humming"),
    "modelopt": ("modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed", "nvfp4", "humming"),
}
"""Names that agree with a checkpoint's ``quant_method`` in some release: nothing is said about them."""
_NEEDS_QUANTIZED = ("awq", "awq_marlin", "auto_awq", "gptq", "gptq_marlin", "auto_gptq", "modelopt", "modelopt_fp4")
"""Formats that only a checkpoint can bring: there is no online conversion to them."""


@rule(
    holds=Range("0.10.0"),
    reads=("checkpoint", "quantization_flag"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/model.py",
            "Quantization method specified in the model config (fp8) does not match the quantization method specified "
            "in the `quantization` argument (awq).",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/config/model.py",
            "Quantization method specified in the model config (awq) does not match the quantization method specified "
            "in the `quantization` argument (fp8).",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "does not match the quantization method specified in the `quantization` argument",
            Level.DERIVED,
        ),
    ),
)
def quantization_flag_contradicts_checkpoint(deployment: Deployment) -> Verdict:
    """--quantization names another format than the checkpoint has

    What it finds
    `--quantization` on a checkpoint that is stored in another format (`awq` for an FP8 one, `fp8` for an AWQ one), or
    a format that only a checkpoint can bring (`awq`, `gptq`, `modelopt`) on one that is not quantized.

    Why it fails
    The checkpoint's `config.json` says how it is stored; the option may only agree. For 16-bit checkpoints vLLM looks
    for the format's own configuration file and finds none: "Cannot find the config file for awq".

    What to do
    Leave the option out: vLLM reads the format from the checkpoint.

    Not covered
    Names that no release knows, and what a name that agrees chooses among kernels. `compressed-tensors` and other
    names on a 16-bit checkpoint are not judged.
    """
    given = deployment.quantization_flag
    if given is None:
        return None
    stored = deployment.checkpoint.quantization.method
    fixes = (Fix("drop `--quantization`", drop=("quantization",)),)
    if stored == "none":
        if given not in _NEEDS_QUANTIZED:
            return None
        return Breach(
            because=f"the checkpoint is stored in 16 bit, and {given} cannot be made while loading",
            about=("quantization",),
            fixes=fixes,
            error=f"Cannot find the config file for {given}",
        )
    if given in _SAME[stored]:
        return None
    return Breach(
        because=f"the checkpoint is stored as {stored}, and --quantization says {given}",
        about=("quantization",),
        fixes=fixes,
        error=f"Quantization method specified in the model config ({stored}) does not match the quantization method "
        f"specified in the `quantization` argument ({given}).",
    )
