"""Rule: ``rope_parameters`` in ``--hf-overrides`` before vLLM reads it."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.unread_override import verdict_on_unread_override
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0", "0.12.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "env"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.2/vllm/model_executor/models/qwen3_moe.py",
            'rope_scaling = getattr(config, "rope_scaling", None)',
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/config/__init__.py",
            'rope_scaling = getattr(hf_config, "rope_scaling", None)',
            Level.PROBED,
        ),
    ),
)
def yarn_by_rope_parameters_too_early(deployment: Deployment) -> Verdict:
    """YaRN in --hf-overrides rope_parameters, which the release does not know

    What it finds
    `--hf-overrides '{"rope_parameters": {...}}'` before 0.12.0.

    Why it fails
    These releases read `rope_scaling`. With a length above the native one they stop as if no YaRN was asked for. With
    `max_position_embeddings` beside it, which newer releases want, or with `VLLM_ALLOW_LONG_MAX_MODEL_LEN`, they
    start without YaRN: the plain rotary embedding is stretched over positions that the model never saw, and answers
    past the native length are garbage. Nothing in the log says so.

    What to do
    Give the dictionary under `rope_scaling`; `rope_theta` and `max_position_embeddings` are not needed there.

    Not covered
    A `config.json` in the new style (`rope_parameters`, no `rope_theta` of its own) served by these releases: its
    base is lost as well.
    """
    return verdict_on_unread_override(
        deployment,
        form="hf-overrides-rope-parameters",
        key="rope_parameters",
        unread="does not know rope_parameters",
        instead="give it under `rope_scaling`",
    )
