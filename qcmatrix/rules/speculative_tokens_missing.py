"""Rule: n-gram speculation without a number of tokens."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("speculation",),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/speculative.py",
            "num_speculative_tokens must be provided with speculative model unless the draft model config contains an "
            "n_predict parameter.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/config/speculative.py",
            "num_speculative_tokens must be provided",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.0/vllm/config/speculative.py",
            "num_speculative_tokens must be provided",
            Level.DERIVED,
        ),
    ),
)
def speculative_tokens_missing(deployment: Deployment) -> Verdict:
    """N-gram speculation does not say how many tokens to guess

    What it finds
    `--speculative-config` with method `ngram` and without `num_speculative_tokens`.

    Why it fails
    A draft model's configuration may say how many tokens it predicts; n-grams have none, and vLLM stops.

    What to do
    Add `"num_speculative_tokens": 3` (or another small number) to the dictionary.

    Not covered
    Draft models, whose configuration may carry the number.
    """
    asked = deployment.speculation
    if asked is None or asked.method != "ngram" or asked.num_speculative_tokens is not None:
        return None
    return Breach(
        because="method ngram is asked for without num_speculative_tokens",
        about=("speculative_config",),
        error="num_speculative_tokens must be provided with speculative model",
    )
