"""Rule: ``rope_scaling`` in ``--hf-overrides`` while vLLM reads ``rope_parameters``."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.unread_override import verdict_on_unread_override
from qcmatrix.versions import Range


@rule(
    holds=Range("0.12.0", "0.19.1"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "rope", "env"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.12.0/vllm/config/model.py",
            "if dict_overrides: self._apply_dict_overrides(hf_config, dict_overrides)",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.12.0/vllm/model_executor/models/qwen3_moe.py",
            "rope_parameters=config.rope_parameters,",
            Level.PROBED,
        ),
    ),
)
def rope_scaling_override_ignored(deployment: Deployment) -> Verdict:
    """YaRN in --hf-overrides rope_scaling is not looked at

    What it finds
    `--hf-overrides '{"rope_scaling": {...}}'` in 0.12.0 up to 0.19.0.

    Why it fails
    These releases read `rope_parameters`. They copy an old `rope_scaling` of `config.json` into it while they load
    the configuration, but overrides that are dictionaries are put in after that copy, so nothing ever reads this one.
    With a length above the native one vLLM stops as if no YaRN was asked for. With `max_position_embeddings` or
    `VLLM_ALLOW_LONG_MAX_MODEL_LEN` beside it, it starts without YaRN and answers garbage past the native length.

    What to do
    Give the dictionary under `rope_parameters`, with the model's own `rope_theta` in it.

    Not covered
    A `rope_scaling` in `config.json` itself: it is copied and works.
    """
    return verdict_on_unread_override(
        deployment,
        form="hf-overrides-rope-scaling",
        key="rope_scaling",
        unread="does not look at the rope_scaling override",
        instead="give it under `rope_parameters`, with `rope_theta`",
    )
