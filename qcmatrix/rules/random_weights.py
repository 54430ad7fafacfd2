"""Rule: random weights."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("load_format",),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/load.py",
            '"dummy" will initialize the weights with random values',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            '"dummy" will initialize the weights with random values',
            Level.DERIVED,
        ),
    ),
)
def random_weights(deployment: Deployment) -> Verdict:
    """The weights are random numbers

    What it finds
    `--load-format dummy`.

    Why it fails
    vLLM fills the weights with random values instead of reading the checkpoint. It starts, takes the memory of the
    real model, and answers every request with noise. The option is meant for measuring memory and speed.

    What to do
    Leave `--load-format` out.

    Not covered
    Formats that read the checkpoint another way.
    """
    if deployment.load_format.lower() != "dummy":
        return None
    return Breach(
        because="--load-format dummy fills the weights with random values: the answers will be noise",
        about=("load_format",),
        fixes=(Fix("drop `--load-format`", drop=("load_format",)),),
    )
