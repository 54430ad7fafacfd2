"""Rule: expert parallelism on a single rank."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=(
        "architecture",
        "enable_expert_parallel",
        "tensor_parallel_size",
        "data_parallel_size",
        "prefill_context_parallel_size",
    ),
    outcome=Outcome.REDUNDANT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/fused_moe/config.py",
            "use_ep = (dp_size_ * tp_size_ > 1 and vllm_parallel_config.enable_expert_parallel)",
            Level.DERIVED,
        ),
    ),
)
def expert_parallel_on_one_gpu(deployment: Deployment) -> Verdict:
    """Expert parallelism over a single rank changes nothing

    What it finds
    `--enable-expert-parallel` where tensor parallel size x data parallel size is 1.

    Why it fails
    It does not fail: vLLM spreads experts only when there is more than one rank to spread them over. Pipeline stages
    do not count, they hold different layers.

    What to do
    Drop the flag, or use more ranks.

    Not covered
    Whether expert parallelism is faster than slicing the experts where there are several ranks.
    """
    if (
        not deployment.enable_expert_parallel
        or deployment.architecture.moe is None
        or deployment.tensor_parallel_size * deployment.data_parallel_size * deployment.prefill_context_parallel_size
        != 1
    ):
        return None
    return Breach(
        because="tensor parallel size x data parallel size is 1, so all experts stay on one GPU anyway",
        about=("enable_expert_parallel",),
        fixes=(Fix("drop `--enable-expert-parallel`", drop=("enable_expert_parallel",), safe=True),),
    )
