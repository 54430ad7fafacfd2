"""Rule: a parallel size of zero or less."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_SIZES = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "decode_context_parallel_size",
    "prefill_context_parallel_size",
)


@rule(
    holds=Range("0.10.0"),
    reads=_SIZES,
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/parallel.py",
            "Input should be greater than or equal to 1",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/parallel.py",
            "tensor_parallel_size: int = Field(default=1, ge=1)",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def parallel_size_below_one(deployment: Deployment) -> Verdict:
    """A parallel size is zero or negative

    What it finds
    A tensor, pipeline, data or context parallel size below 1.

    Why it fails
    There is no such number of ranks. Newer releases refuse it when they read the option, older ones stop later, in an
    arithmetic error or with no worker to talk to.

    What to do
    Give 1, or leave the option out. `-1` does not mean "all GPUs" in vLLM.

    Not covered
    Sizes that are positive and too large: `more-gpus-than-the-fleet-has`.
    """
    for name in _SIZES:
        size = getattr(deployment, name)
        if size < 1:
            return Breach(
                because=f"--{name.replace('_', '-')} is {size}",
                about=(name,),
                fixes=(Fix(f"drop `--{name.replace('_', '-')}`", drop=(name,)),),
            )
    return None
