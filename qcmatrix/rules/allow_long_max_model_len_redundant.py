"""Rule: the length check is switched off where nothing needs it."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import forced_long, positions_of
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "env"),
    outcome=Outcome.REDUNDANT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/config/__init__.py",
            "if envs.VLLM_ALLOW_LONG_MAX_MODEL_LEN:",
            Level.PROBED,
        ),
    ),
)
def allow_long_max_model_len_redundant(deployment: Deployment) -> Verdict:
    """The length check is switched off where nothing needs it

    What it finds
    `VLLM_ALLOW_LONG_MAX_MODEL_LEN=1` although vLLM accepts the length anyway: it is native, or YaRN was asked for in
    a way that takes effect.

    Why it fails
    It does not fail today. But the variable hides tomorrow's mistake: after an upgrade that ignores the way in which
    YaRN was asked for, the launch starts all the same and answers garbage past the native length.

    What to do
    Take it away. No release from 0.10.0 on needs it when YaRN is asked for in that release's own way.

    Not covered
    From 0.30.0 on, YaRN without `max_position_embeddings`: there the variable does let the right launch start, and
    giving the length is the better way.
    """
    if not forced_long(deployment.env):
        return None
    positions = positions_of(
        deployment.release.version, deployment.architecture, deployment.checkpoint, deployment.rope
    )
    asked = deployment.max_model_len
    if asked is not None and asked > positions.derived:
        return None
    length = positions.derived if asked is None or asked < 0 else asked
    return Breach(
        because=f"vLLM accepts {length} tokens without VLLM_ALLOW_LONG_MAX_MODEL_LEN",
        about=("VLLM_ALLOW_LONG_MAX_MODEL_LEN",),
        fixes=(
            Fix("take `VLLM_ALLOW_LONG_MAX_MODEL_LEN` away", drop_env=("VLLM_ALLOW_LONG_MAX_MODEL_LEN",), safe=True),
        ),
    )
