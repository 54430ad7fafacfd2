"""Rule: a context of no tokens."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import native_positions
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_AUTO = Range("0.14.0")
_CHECKED = Range("0.11.1")


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/config/model.py",
            "max_model_len must be a positive integer, got int: 0.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.14.0/vllm/config/model.py",
            "max_model_len: int = Field(default=None, ge=-1)",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.1/vllm/config/scheduler.py",
            "max_model_len: int = Field(default=8192, ge=1)",
            Level.DERIVED,
        ),
    ),
)
def max_model_len_below_one(deployment: Deployment) -> Verdict:
    """The context asked for has no tokens

    What it finds
    `--max-model-len 0` or a negative one. From 0.14.0 on `-1` (or `auto`) is fine: vLLM then takes the longest
    context that the memory left over holds.

    Why it fails
    From 0.11.1 on vLLM stops while it checks its configuration, with words that differ. Up to 0.11.0 the configuration
    is accepted as it stands: should the engine come up, no request fits into it.

    What to do
    Ask for the length that you need, leave the flag out for the native one, or use `--max-model-len auto` from 0.14.0
    on.

    Not covered
    How long `auto` comes out: the memory ledger says.
    """
    asked = deployment.max_model_len
    if asked is None or asked >= 1:
        return None
    version = deployment.release.version
    if asked == -1 and version in _AUTO:
        return None
    native = native_positions(deployment.architecture, deployment.checkpoint)
    fixes = [Fix(f"leave it out for the native {native} tokens", drop=("max_model_len",))]
    if version in _AUTO:
        fixes.insert(0, Fix("let vLLM fit it to the memory left: `--max-model-len auto`", set={"max_model_len": -1}))
    error = "Input should be greater than or equal to -1" if asked < -1 and version in _AUTO else ""
    return Breach(
        because=f"--max-model-len {asked} leaves no room for a single token",
        about=("max_model_len",),
        fixes=tuple(fixes),
        error=error,
        outcome=None if version in _CHECKED else Outcome.STARTS_AND_IS_WRONG,
    )
