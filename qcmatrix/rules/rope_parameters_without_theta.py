"""Rule: ``rope_parameters`` in ``--hf-overrides`` without the base."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import own_base, positions_of, served_length, yarn_for
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_BASE_OPTIONAL = Range("0.13.0")


@rule(
    holds=Range("0.12.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope"),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.13.0/vllm/model_executor/layers/rotary_embedding/__init__.py",
            'base = rope_parameters.get("rope_theta", 10000)',
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.13.0/vllm/model_executor/models/qwen3.py",
            "set_default_rope_theta(config, default_theta=1000000)",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.12.0/vllm/model_executor/layers/rotary_embedding/__init__.py",
            'base = rope_parameters["rope_theta"] if rope_parameters else 10000',
            Level.PROBED,
        ),
    ),
)
def rope_parameters_without_theta(deployment: Deployment) -> Verdict:
    """The rope_parameters override leaves rope_theta out

    What it finds
    `--hf-overrides '{"rope_parameters": {...}}'` from 0.12.0 on, with no `rope_theta` among the keys.

    Why it fails
    The override replaces the dictionary that holds the base. A `rope_theta` beside the dictionary does not help: it
    is read before the override is put in. 0.12.0 stops with KeyError: 'rope_theta' while it builds the model. From
    0.13.0 on the base silently becomes 10000, and every answer is garbage, short ones too. Dense Qwen2 and Qwen3 models
    fill in 1000000 from 0.12.0 on, which is right for most of them and wrong for those with another base
    (Qwen3-4B-Instruct-2507: 5000000).

    What to do
    Put the model's own `rope_theta` into the dictionary: 10000000 for Qwen3-Coder 480B and 30B, 5000000 for
    Qwen3-Coder-Next.

    Not covered
    A wrong value of `rope_theta`.
    """
    rope = deployment.rope
    if rope is None or rope.form != "hf-overrides-rope-parameters" or rope.rope_theta is not None:
        return None
    version = deployment.release.version
    architecture, checkpoint = deployment.architecture, deployment.checkpoint
    positions = positions_of(version, architecture, checkpoint, rope)
    wanted = max(served_length(deployment.max_model_len, positions) or positions.derived, 1)
    options, _ = yarn_for(version, architecture, checkpoint, wanted)
    drop = () if "hf_overrides" in options else ("hf_overrides",)
    theta, filled_in = checkpoint.rope_theta or architecture.rope_theta, own_base(architecture)
    if theta == filled_in:
        return None
    text = "leave the override out: the context needs no YaRN" if drop else f"put `rope_theta` {theta:.0f} into it"
    fixes = (Fix(text, set=options, drop=drop),)
    if version not in _BASE_OPTIONAL and filled_in is None:
        return Breach(
            because=f"the override has no rope_theta ({theta:,.0f}), and vLLM {deployment.release} looks it up there",
            about=("hf_overrides",),
            fixes=fixes,
            error="KeyError: 'rope_theta'",
            outcome=Outcome.REFUSES_TO_START,
        )
    return Breach(
        because=f"the override has no rope_theta: the base falls from {theta:,.0f} to {filled_in or 10_000:,.0f}",
        about=("hf_overrides",),
        fixes=fixes,
    )
