"""Rule: expert parallelism for a dense model."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("architecture", "enable_expert_parallel"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/model.py",
            "Number of experts in the model must be greater than 0 when expert parallelism is enabled.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "Number of experts in the model must be greater than 0",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/model.py",
            "Number of experts in the model must be greater than 0",
            Level.DERIVED,
        ),
    ),
)
def expert_parallel_without_experts(deployment: Deployment) -> Verdict:
    """Expert parallelism is asked of a model without experts

    What it finds
    `--enable-expert-parallel` with a dense model (Qwen3 dense, Qwen2.5-Coder).

    Why it fails
    There are no experts to spread, and vLLM says so instead of ignoring the flag: "Number of experts in the model
    must be greater than 0 when expert parallelism is enabled." (0.10.0 to 0.33.0).

    What to do
    Drop the flag. Tensor parallelism alone spreads a dense model.

    Not covered
    Expert parallelism that changes nothing because there is one GPU: `expert-parallel-on-one-gpu`.
    """
    if not deployment.enable_expert_parallel or deployment.architecture.moe is not None:
        return None
    return Breach(
        because=f"{deployment.architecture.architecture} is a dense model: it has no experts to spread",
        about=("enable_expert_parallel",),
        fixes=(Fix("drop `--enable-expert-parallel`", drop=("enable_expert_parallel",)),),
        error="Number of experts in the model must be greater than 0 when expert parallelism is enabled.",
    )
