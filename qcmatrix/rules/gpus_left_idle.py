"""Rule: GPUs that the launch does not use."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=(
        "fleet",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "prefill_context_parallel_size",
    ),
    outcome=Outcome.REDUNDANT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/parallel.py",
            "self.world_size = ( self.pipeline_parallel_size * self.tensor_parallel_size",
            Level.DERIVED,
        ),
    ),
)
def gpus_left_idle(deployment: Deployment) -> Verdict:
    """Some GPUs of the fleet are left idle

    What it finds
    Tensor parallel size x pipeline parallel size x data parallel size smaller than the number of GPUs.

    Why it fails
    It does not fail. vLLM uses as many GPUs as the sizes multiply to, never more, and all sizes default to 1: a plain
    `vllm serve` on 8 cards uses one of them.

    What to do
    Raise a size if the launch was meant to use all cards; or leave it, and run something else on the others.

    Not covered
    Which of the cards are used (`CUDA_VISIBLE_DEVICES`).
    """
    used = (
        deployment.tensor_parallel_size
        * deployment.pipeline_parallel_size
        * deployment.data_parallel_size
        * deployment.prefill_context_parallel_size
    )
    count = deployment.fleet.count
    if not 0 < used < count:
        return None
    return Breach(
        because=f"the launch uses {used} of {count} GPUs",
        about=("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
    )
