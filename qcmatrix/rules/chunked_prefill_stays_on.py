"""Rule: switching chunked prefill off where that is ignored."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0", "0.11.1"),
    reads=("options",),
    outcome=Outcome.REDUNDANT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.0/vllm/engine/arg_utils.py",
            "V1 always uses chunked prefills",
            Level.DERIVED,
        ),
    ),
)
def chunked_prefill_stays_on(deployment: Deployment) -> Verdict:
    """Chunked prefill cannot be switched off in this release

    What it finds
    `--no-enable-chunked-prefill` up to vLLM 0.11.0.

    Why it fails
    It does not fail: the V1 engine of these releases overwrites the option and keeps chunked prefill on. From 0.11.1
    the option counts.

    What to do
    Drop it, or set `--max-num-batched-tokens` for the size of the chunks.

    Not covered
    The V0 engine, which 0.10 falls back to for some options.
    """
    if deployment.options.get("enable_chunked_prefill") is not False:
        return None
    return Breach(
        because="the V1 engine of this release always splits long prompts",
        about=("enable_chunked_prefill",),
        fixes=(Fix("drop `--no-enable-chunked-prefill`", drop=("enable_chunked_prefill",), safe=True),),
    )
