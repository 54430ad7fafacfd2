"""Rule: prefix caching asked of a hybrid model before it existed."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.2", "0.15.0"),
    reads=("architecture", "enable_prefix_caching"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.14.1/vllm/model_executor/models/config.py",
            "Hybrid or mamba-based model detected without support for prefix caching: disabling.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/model_executor/models/config.py",
            "Hybrid or mamba-based model detected: disabling prefix caching since it is not yet supported.",
            Level.DERIVED,
        ),
    ),
)
def hybrid_prefix_caching_ignored(deployment: Deployment) -> Verdict:
    """Prefix caching is switched off for this hybrid model

    What it finds
    `--enable-prefix-caching` with a hybrid model (Qwen3-Coder-Next) on releases before 0.15.0.

    Why it fails
    The state of a linear attention layer cannot be cut at a block the way a KV cache can. Until 0.15.0 vLLM switches
    prefix caching off for such models and says so in one line of its log. Every turn of a coding agent is then
    processed from its first token.

    What to do
    Use 0.15.0 or newer, where the state is saved at block ends.

    Not covered
    How well it works there: hit rates of hybrid models are lower, since only whole blocks of state can be used again.
    """
    if deployment.architecture.linear_attention is None or not deployment.enable_prefix_caching:
        return None
    return Breach(
        because="a hybrid model, for which this release switches --enable-prefix-caching off",
        about=("enable_prefix_caching",),
        fixes=(Fix("drop `--enable-prefix-caching`", drop=("enable_prefix_caching",), safe=True),),
    )
