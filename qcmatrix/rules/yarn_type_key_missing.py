"""Rule: the overriding dictionary has no ``rope_type``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.deployment import Deployment
from qcmatrix.launch.plain import number
from qcmatrix.launch.yarn import ASSIGNED_WHOLE, forced_long, length_error, native_positions, takes_effect
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_ANY_TRANSFORMERS_5 = Range("0.19.1", "0.31.0")
_KEYS = (("rope_scaling", "hf-overrides-rope-scaling"), ("rope_parameters", "hf-overrides-rope-parameters"))


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "options", "env"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/config/model.py",
            "rope_scaling with a factor and no rope_type is accepted (Transformers 5.23.0)",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.1/vllm/config/model.py",
            'rope_type = rope_scaling["rope_type"]',
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/transformers_utils/config.py",
            "rope_scaling should have a 'rope_type' key",
            Level.DERIVED,
        ),
    ),
)
def yarn_type_key_missing(deployment: Deployment) -> Verdict:
    """The overriding rope dictionary has no rope_type

    What it finds
    `--hf-overrides` with a `rope_scaling` or `rope_parameters` dictionary that the release looks at and that has no
    `rope_type`: most often the old key `type`, copied from a `config.json` of the Qwen2 days.

    Why it fails
    vLLM renames `type` to `rope_type` while it loads the configuration. From 0.11.1 on, overrides that are
    dictionaries are put in after that, so nobody renames the key and vLLM stops with KeyError: 'rope_type'. Before
    0.11.1 the old key works in an override too, and only a dictionary with neither key is refused.

    Releases that may be installed with Transformers 5.21 or newer (0.19.1 to 0.30.0) are worse off with neither key:
    Transformers writes `default` into a `rope_scaling` dictionary, and the server starts without YaRN.

    What to do
    Write `"rope_type": "yarn"`.

    Not covered
    A `config.json` with the old key: it is renamed, in every release.
    """
    overrides = deployment.options.get("hf_overrides")
    if not isinstance(overrides, Mapping):
        return None
    version = deployment.release.version
    for key, form in _KEYS:
        scaling = overrides.get(key)
        if not isinstance(scaling, Mapping) or not scaling or "rope_type" in scaling or not takes_effect(version, form):
            continue
        legacy = scaling.get("type")
        if version not in ASSIGNED_WHOLE and legacy is not None:
            continue
        fixed: dict[str, Any] = {name: value for name, value in scaling.items() if name != "type"}
        fixed["rope_type"] = legacy or "yarn"
        fix = Fix(
            f'write `"rope_type": "{fixed["rope_type"]}"`',
            set={"hf_overrides": {**overrides, key: fixed}},
            safe=legacy is not None,
        )
        has = "the old key `type`" if legacy is not None else "no type at all"
        if key == "rope_scaling" and version in _ANY_TRANSFORMERS_5 and legacy is not None:
            return Unknown(f"{key} has {has}: refused with Transformers up to 5.20, renamed by 5.21 and newer")
        if key == "rope_scaling" and version in _ANY_TRANSFORMERS_5:
            asked, derived = deployment.max_model_len or 0, _derived(deployment, scaling)
            if asked > derived and not forced_long(deployment.env):
                return Breach(
                    because=f"{key} has {has}: with Transformers 5.21 and newer it reaches {derived} tokens, {asked} "
                    "are asked for",
                    about=("hf_overrides", "max_model_len"),
                    fixes=(fix,),
                    error=length_error(version, asked, derived, scaled=True),
                )
            return Breach(
                because=f"{key} has {has}: refused with Transformers up to 5.20, and taken for no scaling by 5.21 and "
                "newer",
                about=("hf_overrides",),
                fixes=(fix,),
                outcome=Outcome.STARTS_AND_IS_WRONG,
            )
        error = "KeyError: 'rope_type'" if version in ASSIGNED_WHOLE else "rope_scaling should have a 'rope_type' key"
        return Breach(because=f"{key} has {has}", about=("hf_overrides",), fixes=(fix,), error=error)
    return None


def _derived(deployment: Deployment, scaling: Mapping[str, Any]) -> int:
    """The longest length that vLLM takes by itself: it multiplies by the factor whatever the type is."""
    native = native_positions(deployment.architecture, deployment.checkpoint)
    rope = deployment.rope
    stretched = rope.max_position_embeddings if rope is not None and rope.max_position_embeddings else native
    return int(stretched * (number(scaling.get("factor")) or 1.0))
