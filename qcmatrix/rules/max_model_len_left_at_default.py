"""Rule: the native context by default."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range

_LONG = 131_072


@rule(
    holds=Range("0.10.0"),
    reads=("max_model_len", "context"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "if max_model_len is None: max_model_len = int(derived_max_model_len)",
            Level.PROBED,
        ),
    ),
)
def max_model_len_left_at_default(deployment: Deployment) -> Verdict:
    """The context is left at the model's native length

    What it finds
    No `--max-model-len`, for a model whose length is 131072 tokens or more.

    Why it fails
    vLLM takes the whole native length, 262144 tokens for Qwen3-Coder, and refuses to start when the KV cache has no
    room for one request of it. It is the commonest failure to start with these models, and after an upgrade that
    takes more memory for itself the same command may stop.

    What to do
    Say what you need: `--max-model-len 131072`, say. From 0.14.0 on `--max-model-len auto` takes what fits.

    Not covered
    Whether it fits here: the memory ledger says.
    """
    if deployment.max_model_len is not None or deployment.context < _LONG:
        return None
    return Breach(
        because=f"vLLM will keep room for one request of {deployment.context} tokens",
        about=(),
        fixes=(Fix(f"ask for less, or say so: `--max-model-len {_LONG}`", set={"max_model_len": _LONG}),),
        severity=Severity.INFO,
    )
