"""Rule: prefix caching of a hybrid model without chunked prefill."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.15.0"),
    reads=("architecture", "enable_prefix_caching", "enable_chunked_prefill"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/models/config.py",
            "Chunked prefill is required for Mamba prefix caching.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.15.0/vllm/model_executor/models/config.py",
            "assert vllm_config.scheduler_config.enable_chunked_prefill",
            Level.DERIVED,
        ),
    ),
)
def hybrid_prefix_caching_without_chunks(deployment: Deployment) -> Verdict:
    """Prefix caching of a hybrid model needs chunked prefill

    What it finds
    A hybrid model (Qwen3-Coder-Next) with prefix caching on and chunked prefill off.

    Why it fails
    The state of the linear attention layers is saved where a chunk ends, at a block boundary; without chunks there is
    no such place, and vLLM asserts it while it completes the configuration.

    What to do
    Leave chunked prefill on, or prefix caching off.

    Not covered
    Prefix caching that the release turns on by default: only the flag is seen here.
    """
    if (
        deployment.architecture.linear_attention is None
        or deployment.enable_chunked_prefill
        or not deployment.enable_prefix_caching
    ):
        return None
    return Breach(
        because="prefix caching of the linear attention state, and chunked prefill is off",
        about=("enable_chunked_prefill", "enable_prefix_caching"),
        fixes=(
            Fix("leave chunked prefill on", set={"enable_chunked_prefill": True}),
            Fix("drop `--enable-prefix-caching`", drop=("enable_prefix_caching",)),
        ),
        error="Chunked prefill is required",
    )
