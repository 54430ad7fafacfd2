"""Rule: a flag that the release itself calls deprecated."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("release", "given"),
    outcome=Outcome.REDUNDANT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/engine/arg_utils.py",
            "[DEPRECATED] --num-redundant-experts will be removed in v0.12.0.",
            Level.DERIVED,
        ),
    ),
)
def deprecated_flag(deployment: Deployment) -> Verdict:
    """A flag that the release calls deprecated

    What it finds
    A flag that the release takes and that its own source marks as deprecated.

    Why it fails
    It does not fail today. The next upgrade may stop with "unrecognized arguments".

    What to do
    Leave it out, or use what the release's `--help` names in its place.

    Not covered
    Flags that a release takes and ignores without calling them deprecated.
    """
    flags = deployment.release.flag_by_dest
    old = sorted(dest for dest in deployment.given if dest in flags and flags[dest].deprecated)
    if not old:
        return None
    names = ", ".join(flags[dest].names[0] for dest in old)
    return Breach(
        because=f"vLLM {deployment.release} calls {names} deprecated",
        about=tuple(old),
        fixes=(Fix("leave it out", drop=tuple(old)),),
    )
