"""Rule: a YaRN factor above what the context needs."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import native_positions, positions_of, served_length, yarn_factor, yarn_for
from qcmatrix.rules.declare import Breach, Fix, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://huggingface.co/Qwen/Qwen3-4B",
            "if the typical context length for your application is 65,536 tokens, it would be better to set `factor` "
            "as 2.0",
        ),
    ),
)
def yarn_factor_larger_than_needed(deployment: Deployment) -> Verdict:
    """The YaRN factor is larger than the context needs

    What it finds
    YaRN that takes effect, a context beyond the native one, and a factor at least one half above the smallest that
    reaches it.

    Why it fails
    The larger the factor, the more the rotary frequencies of every request are bent, short ones included. Qwen's
    advice is to set the factor to what the context needs.

    What to do
    Take the smaller factor: context / original length, rounded up.

    Not covered
    How much quality the difference makes.
    """
    rope, asked = deployment.rope, deployment.max_model_len
    if rope is None or rope.rope_type != "yarn" or rope.form == "config" or asked is None:
        return None
    if rope.factor is None or rope.original_max_position_embeddings is None:
        return None
    version = deployment.release.version
    architecture, checkpoint = deployment.architecture, deployment.checkpoint
    positions = positions_of(version, architecture, checkpoint, rope)
    served = served_length(asked, positions)
    if not positions.scaled or served is None or served <= native_positions(architecture, checkpoint):
        return None
    needed = yarn_factor(served, rope.original_max_position_embeddings)
    if rope.factor < needed + 0.5:
        return None
    options, _ = yarn_for(version, architecture, checkpoint, served)
    return Breach(
        because=f"factor {rope.factor:g} reaches {positions.reach} tokens, and {served} need {needed:g}",
        about=("hf_overrides", "rope_scaling"),
        fixes=(Fix(f"use factor {needed:g}", set=options, drop=("rope_scaling",)),),
        severity=Severity.INFO,
    )
