"""Rule: an e5m2 KV cache beside FP8 weights."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("quantization", "kv_cache_dtype"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/layers/attention/attention.py",
            "fp8_e5m2 kv-cache is not supported with fp8 checkpoints.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/attention/layer.py",
            "fp8_e5m2 kv-cache is not supported with fp8 checkpoints.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/attention/attention.py",
            "fp8_e5m2 kv-cache is not supported with fp8 checkpoints.",
            Level.DERIVED,
        ),
    ),
)
def fp8_e5m2_kv_cache_with_fp8_weights(deployment: Deployment) -> Verdict:
    """An e5m2 KV cache cannot go with FP8 weights

    What it finds
    `--kv-cache-dtype fp8_e5m2` with an FP8 checkpoint (or `--quantization fp8`).

    Why it fails
    An FP8 checkpoint may bring scales for the KV cache, which exist for e4m3 only, so vLLM refuses the pair in every
    release: "fp8_e5m2 kv-cache is not supported with fp8 checkpoints."

    What to do
    Use `--kv-cache-dtype fp8` (which is e4m3), or a checkpoint in another format.

    Not covered
    Checkpoints of method compressed-tensors, which newer releases allow.
    """
    if deployment.kv_cache_dtype != "fp8_e5m2" or deployment.quantization.method not in ("fp8", "modelopt"):
        return None
    return Breach(
        because=f"the weights are of method {deployment.quantization.method}",
        about=("kv_cache_dtype",),
        fixes=(
            Fix("use `--kv-cache-dtype fp8`", set={"kv_cache_dtype": "fp8"}),
            Fix("drop `--kv-cache-dtype`", drop=("kv_cache_dtype",)),
        ),
        error="fp8_e5m2 kv-cache is not supported with fp8 checkpoints.",
    )
