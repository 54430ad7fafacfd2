"""Rule: a scaled length that the YaRN factor does not reach."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import positions_of, served_length, yarn_for
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.30.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope"),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/layers/rotary_embedding/"
            "yarn_scaling_rope.py",
            "factor 1.5 with max_model_len 1048576 is accepted; cos_sin_cache has 393216 rows",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/config/model.py",
            "`factor` must not be applied to it again.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/model_executor/layers/rotary_embedding/"
            "yarn_scaling_rope.py",
            "self.max_position_embeddings * self.scaling_factor, dtype=torch.float32",
            Level.DERIVED,
        ),
    ),
)
def yarn_factor_too_small(deployment: Deployment) -> Verdict:
    """max_position_embeddings promises more than the YaRN factor reaches

    What it finds
    From 0.30.0 on: YaRN with `max_position_embeddings` beside it, and a context above original length x factor.

    Why it fails
    The length check now looks at `max_position_embeddings` alone, so any factor is accepted. The rotary table is
    still built for original length x factor positions. A token past it reads outside of the table.

    What to do
    Set the factor to context / original length.

    Not covered
    Releases up to 0.29.0 refuse this: `context-over-yarn-length`.
    """
    rope = deployment.rope
    if rope is None or rope.rope_type != "yarn":
        return None
    version = deployment.release.version
    positions = positions_of(version, deployment.architecture, deployment.checkpoint, rope)
    served = served_length(deployment.max_model_len, positions)
    if not positions.scaled or served is None or not positions.reach < served <= positions.derived:
        return None
    options, _ = yarn_for(version, deployment.architecture, deployment.checkpoint, served)
    return Breach(
        because=f"{served} tokens are served, and the rotary table ends at {rope.original_max_position_embeddings} x "
        f"{rope.factor:g} = {positions.reach}",
        about=("hf_overrides",),
        fixes=(Fix("raise the factor to what the context needs", set=options),),
    )
