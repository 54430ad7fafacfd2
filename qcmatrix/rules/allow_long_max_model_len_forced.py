"""Rule: the length check is switched off instead of asking for positions."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import forced_long, positions_of
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.yarn_fix import yarn_fixes
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "unknown", "env"),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/config/model.py",
            "relative position encoding (RoPE), positions exceeding derived_max_model_len lead to nan.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "This may lead to incorrect model outputs or CUDA errors.",
            Level.DERIVED,
        ),
    ),
)
def allow_long_max_model_len_forced(deployment: Deployment) -> Verdict:
    """The length check is switched off, and the model has no such positions

    What it finds
    `VLLM_ALLOW_LONG_MAX_MODEL_LEN=1` with a `--max-model-len` beyond every position that the rotary embedding is made
    for.

    Why it fails
    The variable only turns the refusal into a warning. The embedding's table still ends at the native (or YaRN)
    length, so a token past it reads outside of the table: not-a-number, garbage or an illegal memory access, on the
    first request that is long enough and not at start-up.

    What to do
    Take the variable away and ask for YaRN in the way of your release, or for a length that the model has.

    Not covered
    Scaling requests that the release ignores: rules of their own, which speak up with the variable as well.
    """
    asked, rope = deployment.max_model_len, deployment.rope
    if asked is None or not forced_long(deployment.env):
        return None
    version = deployment.release.version
    positions = positions_of(version, deployment.architecture, deployment.checkpoint, rope)
    if asked <= positions.derived or asked <= positions.reach:
        return None
    if rope is not None and not positions.scaled and rope.form != "max-position-embeddings":
        return None
    if any(word.replace("_", "-").startswith("--rope-scaling") for word in deployment.unknown):
        return None  # yarn-by-removed-rope-scaling-flag: it does not start
    drop_env = ("VLLM_ALLOW_LONG_MAX_MODEL_LEN",)
    length = min(positions.derived, positions.reach)
    fixes = [
        Fix(
            f"take `VLLM_ALLOW_LONG_MAX_MODEL_LEN` away and ask for `--max-model-len {length}`",
            set={"max_model_len": length},
            drop_env=drop_env,
        )
    ]
    text = "take `VLLM_ALLOW_LONG_MAX_MODEL_LEN` away and ask for YaRN with factor {factor}"
    fixes = [*yarn_fixes(deployment, asked, text, drop=("rope_scaling",), drop_env=drop_env), *fixes]
    return Breach(
        because=f"{asked} tokens are forced on a model whose rotary embedding ends at position {positions.reach}",
        about=("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "max_model_len"),
        fixes=tuple(fixes),
    )
