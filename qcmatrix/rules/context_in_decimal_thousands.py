"""Rule: a context in decimal thousands, a little short of the native one."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import native_positions
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("architecture", "checkpoint", "max_model_len"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/engine/arg_utils.py",
            "- '1k' -> 1,000 - '1K' -> 1,024",
            Level.DERIVED,
        ),
    ),
)
def context_in_decimal_thousands(deployment: Deployment) -> Verdict:
    """The context is the native one in decimal thousands

    What it finds
    `--max-model-len 256k` (256000) for a model of 256K = 262144 positions, and the like.

    Why it fails
    vLLM reads a small k as 1000 and a capital K as 1024. The server starts with fewer tokens than meant, and requests
    near the native length are refused.

    What to do
    Write `256K`, or 262144.

    Not covered
    Other lengths, of which nobody can tell what was meant.
    """
    asked = deployment.max_model_len
    native = native_positions(deployment.architecture, deployment.checkpoint)
    if asked is None or native % 1024 or asked != native // 1024 * 1000:
        return None
    return Breach(
        because=f"{asked} is {native // 1024}k, and the model's {native} is {native // 1024}K",
        about=("max_model_len",),
        fixes=(Fix(f"write `--max-model-len {native // 1024}K`", set={"max_model_len": native}),),
        severity=Severity.INFO,
    )
