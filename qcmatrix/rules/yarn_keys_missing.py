"""Rule: YaRN without its factor or its original length."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import (
    LENGTH_SCALED,
    length_error,
    native_positions,
    takes_effect,
    trained_positions,
    yarn_for,
)
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope"),
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
    the original one, the refusal speaks of the length first.

    What to do
    Give both: `"factor": 4.0, "original_max_position_embeddings": 262144` for 1M tokens on Qwen3-Coder.

    Not covered
    A `config.json` with `rope_scaling` and no original length under Transformers 5, which fills it in.
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
    native = native_positions(deployment.architecture, deployment.checkpoint)
    wanted = max(deployment.max_model_len or 0, native + 1)
    options, _ = yarn_for(version, deployment.architecture, deployment.checkpoint, wanted)
    if deployment.max_model_len is None:
        options.pop("max_model_len")
    asked, original = deployment.max_model_len, rope.original_max_position_embeddings
    error = f"KeyError: '{missing[-1]}'"
    if original is not None and asked is not None and asked > original and version in LENGTH_SCALED:
        error = length_error(version, asked, original, scaled=True)  # original length x 1
    return Breach(
        because=f"YaRN needs {' and '.join(missing)}; the model's original length is {trained_positions(native)}",
        about=("hf_overrides", "rope_scaling"),
        fixes=(Fix("give the whole YaRN dictionary", set=options, drop=("rope_scaling",)),),
        error=error,
    )
