"""Rule: a scheduler that may take nothing per step."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_CHECKED = Range("0.11.1")
_SIZES = ("max_num_seqs", "max_num_batched_tokens")


@rule(
    holds=Range("0.10.0"),
    reads=("release", "given", *_SIZES),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/scheduler.py",
            "max_num_seqs Input should be greater than or equal to 1",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.1/vllm/config/scheduler.py",
            "max_num_seqs: int = Field(default=DEFAULT_MAX_NUM_SEQS, ge=1)",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/v1/worker/gpu_model_runner.py",
            "min_tokens_per_req = num_tokens // num_reqs",
            Level.DERIVED,
        ),
    ),
)
def scheduler_size_below_one(deployment: Deployment) -> Verdict:
    """The scheduler may take no sequence or no token per step

    What it finds
    `--max-num-seqs` or `--max-num-batched-tokens` of 0 or less.

    Why it fails
    From 0.11.1 on the scheduler's configuration refuses it: "Input should be greater than or equal to 1". Older
    releases take the value and stop later: with no sequence the profile run divides by zero, with no token
    "max_num_batched_tokens (0) must be greater than or equal to max_num_seqs".

    What to do
    Leave the option out, or give a positive number. `-1` does not mean "no limit" in vLLM.

    Not covered
    A context of no tokens, which has a rule of its own: `max-model-len-below-one`.
    """
    for name in _SIZES:
        size = getattr(deployment, name)
        if size < 1 and name in deployment.given:
            flag = f"--{name.replace('_', '-')}"
            return Breach(
                because=f"{flag} is {size}",
                about=(name,),
                fixes=(Fix(f"drop `{flag}`", drop=(name,)),),
                error="Input should be greater than or equal to 1" if deployment.release.version in _CHECKED else "",
            )
    return None
