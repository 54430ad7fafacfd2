"""Rule: a YaRN factor that nobody has published results for."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.yarn import LARGEST_VALIDATED_FACTOR
from qcmatrix.rules.declare import Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("rope",),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    enforced_by_vllm=False,
    sources=(
        RuleSource(
            "https://github.com/QwenLM/Qwen3-Coder",
            "native support for 256K tokens, extendable up to 1M tokens using YaRN",
        ),
    ),
)
def yarn_factor_beyond_validated(deployment: Deployment) -> Verdict:
    """The YaRN factor is larger than anybody has shown to work

    What it finds
    A YaRN factor above 4.

    Why it fails
    It need not: vLLM takes any factor. But Qwen speaks of 1M tokens, four times the native length, and no results are
    known beyond. Whether the answers are right is unknown, so the launch is called unknown.

    What to do
    Stay within four times the trained length, or measure recall at the length that you want.

    Not covered
    Other ways of scaling than YaRN.
    """
    rope = deployment.rope
    if rope is None or rope.rope_type != "yarn" or rope.factor is None or rope.factor <= LARGEST_VALIDATED_FACTOR:
        return None
    return Unknown(
        because=f"a YaRN factor of {rope.factor:g} is beyond the {LARGEST_VALIDATED_FACTOR:g} that Qwen speaks of: "
        "whether the answers are right is not known"
    )
