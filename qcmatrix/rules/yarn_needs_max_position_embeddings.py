"""Rule: YaRN without the scaled length beside it, from 0.30.0 on."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import (
    forced_long,
    length_error,
    native_positions,
    positions_of,
    trained_positions,
    yarn_factor,
    yarn_for,
)
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.30.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "env"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/config/model.py",
            "YaRN variants leave max_position_embeddings already scaled, as Transformers' "
            "_compute_yarn_parameters assumes, so `factor` must not be applied to it again.",
            Level.PROBED,
        ),
    ),
)
def yarn_needs_max_position_embeddings(deployment: Deployment) -> Verdict:
    """YaRN is asked for without the scaled max_position_embeddings

    What it finds
    From 0.30.0 on: YaRN with a factor that would reach the length asked for, but no `max_position_embeddings` of that
    length in the same configuration. Every YaRN command written for 0.12 to 0.29 is like that.

    Why it fails
    Up to 0.29.0 vLLM multiplied the original length by the factor. 0.30.0 stopped doing so, because Transformers
    expects `max_position_embeddings` to be scaled already. The derived length stays the native one, and a longer one
    is refused.

    What to do
    Add `"max_position_embeddings"`: original length x factor to the same `--hf-overrides`.

    Not covered
    With `VLLM_ALLOW_LONG_MAX_MODEL_LEN=1` such a launch starts, and is right: the rotary embedding is built from the
    original length and the factor alone. The way above needs no such switch.
    """
    asked, rope = deployment.max_model_len, deployment.rope
    if asked is None or rope is None or forced_long(deployment.env):
        return None
    version = deployment.release.version
    positions = positions_of(version, deployment.architecture, deployment.checkpoint, rope)
    if not positions.scaled or not positions.derived < asked <= positions.reach:
        return None
    native = native_positions(deployment.architecture, deployment.checkpoint)
    options, _ = yarn_for(version, deployment.architecture, deployment.checkpoint, asked)
    trained = trained_positions(native)
    same = yarn_factor(asked, trained) == rope.factor and rope.original_max_position_embeddings == trained
    return Breach(
        because=f"YaRN would reach {positions.reach} tokens, but max_position_embeddings still says "
        f"{positions.derived} and {asked} are asked for",
        about=("hf_overrides", "max_model_len"),
        fixes=(Fix(f'add `"max_position_embeddings": {positions.reach}` to `--hf-overrides`', set=options, safe=same),),
        error=length_error(version, asked, positions.derived, scaled=False),
    )
