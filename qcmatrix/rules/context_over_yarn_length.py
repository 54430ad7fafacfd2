"""Rule: a context longer than the YaRN that was asked for gives."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import forced_long, length_error, positions_of
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.yarn_fix import yarn_fixes
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "env"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.29.0/vllm/config/model.py",
            'if rope_type == "yarn": derived_max_model_len = rp["original_max_position_embeddings"]',
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/config/model.py",
            "YaRN variants leave max_position_embeddings already scaled",
            Level.PROBED,
        ),
    ),
)
def context_over_yarn_length(deployment: Deployment) -> Verdict:
    """The context asked for is longer than YaRN's factor gives

    What it finds
    A position scaling that takes effect, and a `--max-model-len` above what it reaches: for YaRN,
    `original_max_position_embeddings` x `factor`.

    Why it fails
    Up to 0.29.0 vLLM multiplies the original length by the factor and refuses anything longer. From 0.30.0 on it
    compares with `max_position_embeddings` alone. Both stop with "User-specified max_model_len ... is greater than
    the derived max_model_len".

    What to do
    Raise the factor if it is below the validated one (4 for Qwen3-Coder), or ask for the length that the factor
    gives. Nobody has validated Qwen3-Coder past 1048576 tokens.

    Not covered
    From 0.30.0 on, a scaled launch whose only fault is a missing `max_position_embeddings`:
    `yarn-needs-max-position-embeddings`.
    """
    asked, rope = deployment.max_model_len, deployment.rope
    if asked is None or rope is None:
        return None
    version = deployment.release.version
    positions = positions_of(version, deployment.architecture, deployment.checkpoint, rope)
    if not positions.scaled or asked <= positions.derived or forced_long(deployment.env):
        return None
    if asked <= positions.reach:
        return None  # yarn-needs-max-position-embeddings
    length = min(positions.derived, positions.reach)
    fixes = [Fix(f"ask for what the scaling gives: `--max-model-len {length}`", set={"max_model_len": length})]
    fixes = [*yarn_fixes(deployment, asked, "ask for YaRN with factor {factor}", drop=("rope_scaling",)), *fixes]
    reached = f"{rope.original_max_position_embeddings} x {rope.factor:g} = {positions.reach}"
    return Breach(
        because=f"--max-model-len asks for {asked} tokens, the scaling that was asked for reaches {reached}",
        about=("max_model_len", "hf_overrides", "rope_scaling"),
        fixes=tuple(fixes),
        error=length_error(version, asked, positions.derived, scaled=True),
    )
