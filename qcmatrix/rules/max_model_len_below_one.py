"""Rule: a context of no tokens."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import native_positions
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_AUTO = Range("0.14.0")
_NO_BATCH = Range("0.11.1")
"""Releases whose batch is no larger than the context when it is not given, and that refuse a batch of no tokens."""
_ABOVE_ZERO = Range("0.13.0", "0.14.0")
_POSITIVE = Range("0.23.0")
_LEAST = "Input should be greater than or equal to -1"


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture", "checkpoint", "max_model_len", "given"),
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
            "https://github.com/vllm-project/vllm/blob/v0.11.2/vllm/config/scheduler.py",
            "2 validation errors for SchedulerConfig max_num_batched_tokens Input should be greater than or equal to 1",
            Level.PROBED,
        ),
    ),
)
def max_model_len_below_one(deployment: Deployment) -> Verdict:
    """The context asked for has no tokens

    What it finds
    `--max-model-len 0` or a negative one. From 0.14.0 on `-1` (or `auto`) is fine: vLLM then takes the longest
    context that the memory left over holds.

    Why it fails
    0.13.0, and all releases from 0.23.0 on, refuse such a length as it stands. The others from 0.11.1 on derive the
    batch from it and refuse a batch of no tokens: "max_num_batched_tokens Input should be greater than or equal to 1".
    Up to 0.11.0, and where `--max-num-batched-tokens` is given, the configuration is accepted: should the engine come
    up, no request fits into it.

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
    starts, error = False, ""
    if version in _POSITIVE:
        error = (
            "max_model_len must be a positive integer" if asked == 0 else "Input should be greater than or equal to -1"
        )
    elif version in _ABOVE_ZERO:
        error = "max_model_len Input should be greater than 0"
    elif version in _AUTO and asked < -1:
        error = _LEAST
    else:
        starts = version not in _NO_BATCH or "max_num_batched_tokens" in deployment.given
        error = "" if starts else "max_num_batched_tokens Input should be greater than or equal to 1"
    return Breach(
        because=f"--max-model-len {asked} leaves no room for a single token",
        about=("max_model_len",),
        fixes=tuple(fixes),
        error=error,
        outcome=Outcome.STARTS_AND_IS_WRONG if starts else None,
    )
