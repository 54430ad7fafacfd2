"""Rule: no sequence or no token per step."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_LIMITS = ("max_num_seqs", "max_num_batched_tokens")


@rule(
    holds=Range("0.11.1"),
    reads=("options",),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/scheduler.py",
            "Input should be greater than or equal to 1",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/config/scheduler.py",
            "Input should be greater than or equal to 1",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.1/vllm/config/scheduler.py",
            "max_num_seqs: int = Field(default=DEFAULT_MAX_NUM_SEQS, ge=1)",
            Level.DERIVED,
        ),
    ),
)
def scheduler_limit_below_one(deployment: Deployment) -> Verdict:
    """A scheduler limit is zero or negative

    What it finds
    `--max-num-seqs` or `--max-num-batched-tokens` below 1.

    Why it fails
    There is no "unlimited": the scheduler would never run a request, and from 0.11.1 the configuration refuses it.

    What to do
    Leave the option out: the default of the release and the card is taken.

    Not covered
    Limits that are positive and too small: `batched-tokens-below-sequences`, `batched-tokens-below-context`.
    """
    for name in _LIMITS:
        value = deployment.options.get(name)
        if isinstance(value, int) and value < 1:
            flag = f"--{name.replace('_', '-')}"
            return Breach(
                because=f"{flag} is {value}",
                about=(name,),
                fixes=(Fix(f"drop `{flag}`", drop=(name,)),),
                error="Input should be greater than or equal to 1",
            )
    return None
