"""Rule: the overriding dictionary leaves the partial rotary factor of a hybrid model out."""

from __future__ import annotations

from collections.abc import Mapping

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_PARTIAL = 0.25
_ONE_ATTRIBUTE = Range("0.19.1")
_ANY_TRANSFORMERS_5 = Range("0.19.1", "0.31.0")
"""Releases that take Transformers 5 and do not keep it below 5.21."""


@rule(
    holds=Range("0.13.0"),
    reads=("release", "architecture", "options"),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.20.2/vllm/model_executor/layers/rotary_embedding/__init__.py",
            'partial_rotary_factor = rope_parameters.get("partial_rotary_factor", 1.0)',
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.12.0/vllm/model_executor/models/qwen3_next.py",
            "partial_rotary_factor=config.partial_rotary_factor,",
            Level.DERIVED,
        ),
    ),
)
def yarn_loses_partial_rotary_factor(deployment: Deployment) -> Verdict:
    """The rope override leaves partial_rotary_factor of a hybrid model out

    What it finds
    A hybrid model (Qwen3-Coder-Next) with a `rope_parameters` override from 0.13.0 on (or a `rope_scaling` one from
    0.19.1 on) that has no `partial_rotary_factor`.

    Why it fails
    The model rotates a quarter of each head. Up to 0.12.0 the number was read from the configuration itself; from
    0.13.0 on it stands in the dictionary that the override replaces. Left out, it becomes 1: all 256 instead of 64
    dimensions of each head are rotated, and every answer is garbage, short ones too.

    What to do
    Put `"partial_rotary_factor": 0.25` into the dictionary.

    Not covered
    A wrong value. The `rope_scaling` override from 0.19.1 to 0.30.0 hangs on the Transformers release: 5.21 and newer
    keep the model's own number.
    """
    if deployment.architecture.linear_attention is None:
        return None
    overrides = deployment.options.get("hf_overrides")
    if not isinstance(overrides, Mapping):
        return None
    keys = ("rope_parameters", "rope_scaling") if deployment.release.version in _ONE_ATTRIBUTE else ("rope_parameters",)
    for key in keys:
        scaling = overrides.get(key)
        if isinstance(scaling, Mapping) and scaling and "partial_rotary_factor" not in scaling:
            if key == "rope_scaling" and deployment.release.version in _ANY_TRANSFORMERS_5:
                return Unknown(
                    "rope_scaling has no partial_rotary_factor: Transformers 5.21 and newer keep the model's own, with "
                    "5.20 and older it is lost"
                )
            fixed = {**overrides, key: {**scaling, "partial_rotary_factor": _PARTIAL}}
            head = deployment.architecture.head_dim
            return Breach(
                because=f"{key} has no partial_rotary_factor: {head} instead of {head * _PARTIAL:.0f} dimensions of "
                "each head are rotated",
                about=("hf_overrides",),
                fixes=(Fix(f'put `"partial_rotary_factor": {_PARTIAL}` into it', set={"hf_overrides": fixed}),),
            )
    return None
