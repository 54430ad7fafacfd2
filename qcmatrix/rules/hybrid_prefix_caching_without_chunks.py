"""Rule: prefix caching of a hybrid model without chunked prefill."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_ON_BY_DEFAULT = Range("0.28.0")
"""Releases that cache prefixes of hybrid models unless told not to."""


@rule(
    holds=Range("0.15.0"),
    reads=("release", "architecture", "enable_prefix_caching", "enable_chunked_prefill"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/models/config.py",
            "Chunked prefill is required for mamba cache mode 'align'.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/model_executor/models/config.py",
            "Chunked prefill is required for mamba cache mode 'align'.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.27.1/vllm/engine/arg_utils.py",
            "model_config.is_prefix_caching_supported and not model_config.is_hybrid",
            Level.PROBED,
        ),
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
    A hybrid model (Qwen3-Coder-Next) with prefix caching on and chunked prefill off. From 0.28.0 on prefix caching is
    on unless it is switched off, so that `--no-enable-chunked-prefill` alone is enough.

    Why it fails
    The state of the linear attention layers is saved where a chunk ends, at a block boundary; without chunks there is
    no such place, and vLLM asserts it while it completes the configuration.

    What to do
    Leave chunked prefill on, or switch prefix caching off.

    Not covered
    `--mamba-cache-mode`, which is not judged.
    """
    if deployment.architecture.linear_attention is None or deployment.enable_chunked_prefill:
        return None
    cached = deployment.enable_prefix_caching
    if cached is None:
        cached = deployment.release.version in _ON_BY_DEFAULT
    if not cached:
        return None
    return Breach(
        because="prefix caching of the linear attention state, and chunked prefill is off",
        about=("enable_chunked_prefill", "enable_prefix_caching"),
        fixes=(
            Fix("leave chunked prefill on", set={"enable_chunked_prefill": True}),
            Fix("add `--no-enable-prefix-caching`", set={"enable_prefix_caching": False}),
        ),
        error="Chunked prefill is required",
    )
