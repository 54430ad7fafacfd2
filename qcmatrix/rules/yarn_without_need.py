"""Rule: YaRN for a context that the model has natively."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import native_positions, positions_of, served_length
from qcmatrix.rules.declare import Breach, Fix, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://huggingface.co/Qwen/Qwen3-4B",
            "the scaling factor remains constant regardless of input length, potentially impacting performance on "
            "shorter texts",
        ),
    ),
)
def yarn_without_need(deployment: Deployment) -> Verdict:
    """YaRN is on for a context that the model has natively

    What it finds
    A position scaling that takes effect, and a context served that is not longer than the native one.

    Why it fails
    vLLM's YaRN is static: it changes the rotary frequencies and the attention temperature for every request, however
    short. Qwen warns that quality on shorter texts may suffer, and at this length nothing is gained for it.

    What to do
    Leave the scaling out, and put it in when a longer context is wanted.

    Not covered
    How much quality is lost: measure it on your own tasks. A context of `auto` is not judged.
    """
    rope = deployment.rope
    if rope is None:
        return None
    positions = positions_of(deployment.release.version, deployment.architecture, deployment.checkpoint, rope)
    native = native_positions(deployment.architecture, deployment.checkpoint)
    served = served_length(deployment.max_model_len, positions)
    if not positions.scaled or rope.form == "config" or served is None or not 0 < served <= native:
        return None
    return Breach(
        because=f"{served} tokens fit the native {native}, and {rope.rope_type} with factor {rope.factor:g} changes "
        "every answer",
        about=("hf_overrides", "rope_scaling"),
        fixes=(Fix("leave the scaling out", drop=("hf_overrides", "rope_scaling")),),
        severity=Severity.WARNING,
    )
