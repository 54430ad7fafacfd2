"""Rule: a context that may or may not fit the KV cache."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.memory.ledger import Footprint
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range

_STEP = 1024


@rule(
    holds=Range("0.10.0"),
    reads=("footprint", "context", "max_model_len", "data_parallel_size"),
    outcome=Outcome.DOES_NOT_FIT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/v1/core/kv_cache_planning.py",
            "cache is needed, which is larger than the available KV cache",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def kv_cache_tight(deployment: Deployment, footprint: Footprint) -> Verdict:
    """The KV cache holds one request of the asked length only just, if at all

    What it finds
    A context whose KV cache lies inside the interval of what a GPU is estimated to have left for it.

    Why it fails
    It may not fail. Weights and KV cache are exact, but activations, communicators and what the driver takes are
    estimates; near the limit the estimate cannot tell whether vLLM will start.

    What to do
    Lower `--max-model-len` to the length that fits in any case, or try it: vLLM names the length that fits when it
    stops.

    Not covered
    Lengths that cannot fit: `kv-cache-too-small-for-context`.
    """
    longest, left = footprint.max_context, footprint.kv_gib
    if deployment.max_model_len == -1 or left.high <= 0 or not longest.low < deployment.context <= longest.high:
        return None
    whose = "each data parallel rank's GPUs have" if deployment.data_parallel_size > 1 else "the GPUs have"
    safe = int(longest.low) // _STEP * _STEP
    return Breach(
        because=f"a request of {deployment.context} tokens needs {footprint.needed_kv_gib:.2f} GiB of KV cache per "
        f"GPU, and {whose} {left.low:.2f} to {left.high:.2f} GiB left",
        about=("max_model_len",),
        fixes=(Fix(f"use `--max-model-len {safe}`", set={"max_model_len": safe}),) if safe >= _STEP else (),
        severity=Severity.WARNING,
    )
