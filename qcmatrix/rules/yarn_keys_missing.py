"""Rule: YaRN without its factor or its original length."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import (
    LENGTH_SCALED,
    forced_long,
    length_error,
    native_positions,
    takes_effect,
    trained_positions,
    yarn_for,
)
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_ANY_TRANSFORMERS_5 = Range("0.19.1", "0.31.0")
"""Releases that take Transformers 5 and do not keep it below 5.21."""


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "env"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/model_executor/layers/rotary_embedding/__init__.py",
            'original_max_position = rope_parameters["original_max_position_embeddings"]',
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/config/__init__.py",
            'if rope_type == "yarn": derived_max_model_len = rope_scaling["original_max_position_embeddings"]',
            Level.PROBED,
        ),
    ),
)
def yarn_keys_missing(deployment: Deployment) -> Verdict:
    """YaRN is asked for without its factor or its original length

    What it finds
    A YaRN dictionary that takes effect in this release and lacks `factor` or `original_max_position_embeddings`.

    Why it fails
    vLLM looks both up without a default: in every release it stops with a KeyError of that name, while it derives the
    longest context or, at the latest, while it builds the rotary embedding. Without a factor and with a length above
    the original one, the refusal speaks of the length first; so does any refusal from 0.30.0 on where the length is
    above `max_position_embeddings`.

    What to do
    Give both: `"factor": 4.0, "original_max_position_embeddings": 262144` for 1M tokens on Qwen3-Coder.

    Not covered
    A `config.json` with `rope_scaling` and no original length under Transformers 5, which fills it in. From 5.21 on it
    does so for the override of that name as well: from 0.19.1 to 0.30.0 it hangs on the Transformers release.
    """
    rope = deployment.rope
    if rope is None or rope.rope_type != "yarn" or rope.form == "config":
        return None
    version = deployment.release.version
    if not takes_effect(version, rope.form):
        return None
    missing = [
        key
        for key, value in (
            ("factor", rope.factor),
            ("original_max_position_embeddings", rope.original_max_position_embeddings),
        )
        if value is None
    ]
    if not missing:
        return None
    filled_in = missing == ["original_max_position_embeddings"] and rope.form == "hf-overrides-rope-scaling"
    if filled_in and version in _ANY_TRANSFORMERS_5:
        return Unknown(
            "the rope_scaling override has no original_max_position_embeddings: Transformers 5.21 and newer fill it "
            "in, with 5.20 and older it is a KeyError"
        )
    native = native_positions(deployment.architecture, deployment.checkpoint)
    wanted = max(deployment.max_model_len or 0, native + 1)
    options, _ = yarn_for(version, deployment.architecture, deployment.checkpoint, wanted)
    if deployment.max_model_len is None:
        options.pop("max_model_len")
    asked, original = deployment.max_model_len, rope.original_max_position_embeddings
    error = f"KeyError: '{missing[-1]}'"
    if asked is not None and not forced_long(deployment.env):
        if version not in LENGTH_SCALED:  # the length alone is looked at, and first
            if asked > (derived := rope.max_position_embeddings or native):
                error = length_error(version, asked, derived, scaled=False)
        elif original is not None and asked > original:
            error = length_error(version, asked, original, scaled=True)  # original length x 1
    return Breach(
        because=f"YaRN needs {' and '.join(missing)}; the model's original length is {trained_positions(native)}",
        about=("hf_overrides", "rope_scaling"),
        fixes=(Fix("give the whole YaRN dictionary", set=options, drop=("rope_scaling",)),),
        error=error,
    )
