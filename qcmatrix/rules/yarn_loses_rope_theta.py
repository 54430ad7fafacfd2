"""Rule: ``rope_scaling`` in ``--hf-overrides`` replaces the base as well."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import own_base, positions_of, served_length, yarn_for
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_ANY_TRANSFORMERS_5 = Range("0.19.1", "0.31.0")
"""Releases that do not keep Transformers below 5.21."""


@rule(
    holds=Range("0.19.1"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "override_keys"),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.29.0/vllm/model_executor/layers/rotary_embedding/"
            "yarn_scaling_rope.py",
            "unsupported operand type(s) for ** or pow(): 'NoneType' and 'Tensor'",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.20.2/vllm/model_executor/layers/rotary_embedding/__init__.py",
            'base = rope_parameters.get("rope_theta", 10000)',
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/huggingface/transformers/blob/v5.20.0/src/transformers/configuration_utils.py",
            "def rope_scaling(self, value): self.rope_parameters = value",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.19.1/requirements/common.txt",
            "transformers >= 4.56.0, != 5.0.*, != 5.1.*, != 5.2.*, != 5.3.*, != 5.4.*, != 5.5.0",
            Level.DERIVED,
        ),
    ),
)
def yarn_loses_rope_theta(deployment: Deployment) -> Verdict:
    """YaRN in --hf-overrides rope_scaling throws the rotary base away

    What it finds
    `--hf-overrides '{"rope_scaling": {...}}'` without `rope_theta` inside, from 0.19.1 on: the first release that
    installs with Transformers 5.

    Why it fails
    In Transformers 5 `rope_scaling` is only another name of `rope_parameters`, the dictionary that also holds the
    base. The override replaces it, and the base with it. The launch is accepted, and the model runs with base 10000
    instead of its own (10,000,000 for Qwen3-Coder): every answer is garbage, short ones too. With Transformers 5.21
    or newer the base becomes null instead and vLLM stops while it builds the model. Dense Qwen2 and Qwen3 models fill
    in 1000000 where the base is missing (not where it is null), which is right for most of them.

    What to do
    Give the dictionary under `rope_parameters` with the model's `rope_theta` in it; from 0.30.0 on with
    `max_position_embeddings` beside it.

    Not covered
    A `rope_theta` beside the dictionary, whose fate hangs on the Transformers release. An environment of 0.19.1 to
    0.23.0 that was kept on Transformers 4: there the override is ignored, as in `rope-scaling-override-ignored`.
    """
    rope = deployment.rope
    if rope is None or rope.form != "hf-overrides-rope-scaling" or rope.rope_theta is not None:
        return None
    version = deployment.release.version
    if "rope_theta" in deployment.override_keys and version in _ANY_TRANSFORMERS_5:
        return Unknown(
            "rope_theta stands beside rope_scaling: Transformers 5.21 and newer take it over, 5.20 and older do not"
        )
    architecture, checkpoint = deployment.architecture, deployment.checkpoint
    theta, filled_in = checkpoint.rope_theta or architecture.rope_theta, own_base(architecture)
    if theta == filled_in:
        if version not in _ANY_TRANSFORMERS_5:
            return None
        return Unknown(
            f"the model's class fills {filled_in:,.0f} in again, but not over the null of Transformers 5.21 and newer"
        )
    positions = positions_of(version, architecture, checkpoint, rope)
    wanted = max(served_length(deployment.max_model_len, positions) or positions.derived, 1)
    options, _ = yarn_for(version, architecture, checkpoint, wanted)
    drop = () if "hf_overrides" in options else ("hf_overrides",)
    text = (
        "leave the override out: the context needs no YaRN" if drop else "ask by `rope_parameters`, with `rope_theta`"
    )
    return Breach(
        because=f"the rope_scaling override replaces the model's whole rotary dictionary: the base falls from "
        f"{theta:,.0f} to {filled_in or 10_000:,.0f}",
        about=("hf_overrides",),
        fixes=(Fix(text, set=options, drop=drop),),
    )
