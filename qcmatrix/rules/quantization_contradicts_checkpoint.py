"""Rule: ``--quantization`` that does not go with the checkpoint."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

# Other names that a class of vLLM takes for the same checkpoint: its override_quantization_method().
_ALSO = {
    "awq": frozenset({"auto_awq", "awq_marlin", "marlin"}),
    "gptq": frozenset({"auto_gptq", "gptq_marlin", "marlin"}),
}
# Taken as well, with kernels that are not modelled.
_OTHER_KERNELS = {
    "awq": frozenset({"humming", "moe_wna16"}),
    "gptq": frozenset({"humming", "moe_wna16", "bitblas", "gptq_bitblas"}),
    "fp8": frozenset({"humming", "deepseek_v4_fp8"}),
    "compressed-tensors": frozenset({"humming"}),
}
_MARLIN = "marlin"
"""No method of its own in newer releases, and still taken for the other two."""
_ONLINE = frozenset({"fp8", "fp8_per_block", "fp8_per_channel", "fp8_per_tensor"})
_NEED_A_CONFIG = frozenset(
    {
        "auto_awq",
        "auto_gptq",
        "awq",
        "awq_marlin",
        "gptq",
        "gptq_marlin",
        "modelopt",
        "modelopt_fp4",
        "moe_wna16",
    }
)
_NOT_MADE_OF_NOTHING = {"compressed-tensors": "CompressedTensorsConfig.__init__() missing"}
"""Methods without a file of their own, made without arguments where config.json says nothing, and the words then."""


@rule(
    holds=Range("0.10.0"),
    reads=("release", "checkpoint", "quantization_flag"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/model.py",
            "Quantization method specified in the model config (fp8) does not match the quantization method specified "
            "in the `quantization` argument (awq).",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/model_loader/weight_utils.py",
            "Cannot find the config file for awq",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "Quantization method specified in the model config",
            Level.DERIVED,
        ),
    ),
)
def quantization_contradicts_checkpoint(deployment: Deployment) -> Verdict:
    """--quantization does not go with the checkpoint

    What it finds
    `--quantization` with another method than the checkpoint's `config.json` names, with a method that the release does
    not know, or with a method that needs a quantized checkpoint where there is none.

    Why it fails
    The format of the weights is a matter of the checkpoint; the option cannot change it. vLLM compares the two:
    "Quantization method specified in the model config (fp8) does not match the quantization method specified in the
    `quantization` argument (awq)." For a 16-bit checkpoint it says "Cannot find the config file for awq", or "Unknown
    quantization method: foo." With `compressed-tensors` it breaks: "CompressedTensorsConfig.__init__() missing".

    What to do
    Drop the option: vLLM reads the method from the checkpoint. `--quantization fp8` is for 16-bit checkpoints, whose
    weights are then converted while they load.

    Not covered
    Methods that a plugin registers. What a method that is taken, and whose kernels are not modelled, does to memory
    is unknown.
    """
    name = deployment.quantization_flag
    published = deployment.checkpoint.quantization.method
    if name is None or name == published:
        return None
    known = deployment.release.flag_by_dest["quantization"].known
    drop = (Fix("drop `--quantization`", drop=("quantization",)),)
    if published == "none":
        if known and name not in known:
            return Breach(
                because=f"vLLM {deployment.release} knows no quantization method {name!r}",
                about=("quantization",),
                fixes=drop,
                error=f"Unknown quantization method: {name}. Must be one of",
            )
        if name in _ONLINE:
            return None
        if name in _NEED_A_CONFIG or name in _NOT_MADE_OF_NOTHING:
            return Breach(
                because=f"the checkpoint is not quantized, and {name} needs one that is",
                about=("quantization",),
                fixes=drop,
                error=_NOT_MADE_OF_NOTHING.get(name, f"Cannot find the config file for {name}"),
            )
        return Unknown(f"what --quantization {name} makes of a 16-bit checkpoint is not modelled")
    if not known or name in known or name == _MARLIN:
        if name in _ALSO.get(published, ()):
            return None
        if name in _OTHER_KERNELS.get(published, ()):
            return Unknown(f"the kernels of --quantization {name} are not modelled")
    return Breach(
        because=f"the checkpoint is quantized with {published}, and --quantization asks for {name}",
        about=("quantization",),
        fixes=drop,
        error=f"Quantization method specified in the model config ({published}) does not match the quantization method "
        f"specified in the `quantization` argument ({name}).",
    )
