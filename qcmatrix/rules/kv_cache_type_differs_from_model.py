"""Rule: a 16-bit KV cache of another type than the model computes in."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_ASKED = ("float16", "bfloat16")
_NAMES = {"half": "float16", "float16": "float16", "bfloat16": "bfloat16", "float": "float32", "float32": "float32"}


@rule(
    holds=Range("0.33.0"),
    reads=("gpu", "dtype", "quantization", "kv_cache_dtype"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/vllm.py",
            "Reject an explicit float16/bfloat16 KV dtype that differs from the model.",
            Level.DERIVED,
        ),
    ),
)
def kv_cache_type_differs_from_model(deployment: Deployment) -> Verdict:
    """The KV cache is asked for in another 16-bit type than the model's

    What it finds
    `--kv-cache-dtype bfloat16` for a model that computes in float16, or the other way round. With `--dtype auto` that
    is bfloat16 for these models, and float16 on cards older than compute capability 8.0.

    Why it fails
    The kernels read the cache in the type that they compute in. From 0.33.0 on vLLM compares the two: 'kv_cache_dtype=
    "bfloat16" is incompatible with dtype="float16".' Older releases let it pass.

    What to do
    Leave `--kv-cache-dtype` out: `auto` is the model's own type.

    Not covered
    FP8 and smaller types, which are meant to differ. Checkpoints of your own whose `config.json` names float16.
    """
    asked, capability = deployment.kv_cache_dtype, deployment.gpu.compute_capability
    if asked not in _ASKED:
        return None
    if deployment.dtype == "auto":
        if deployment.quantization.method in ("awq", "gptq"):
            return Unknown("the data type in the checkpoint's config.json decides, and it is not known here")
        if capability is None or deployment.gpu.vendor == "amd":
            return None
        own: str | None = "bfloat16" if capability >= (8, 0) else "float16"
    else:
        own = _NAMES.get(deployment.dtype)
    if own is None or own == asked:
        return None
    return Breach(
        because=f"--kv-cache-dtype is {asked}, and the model computes in {own}",
        about=("kv_cache_dtype", "dtype"),
        fixes=(Fix("drop `--kv-cache-dtype`", drop=("kv_cache_dtype",)),),
        error=f'kv_cache_dtype="{asked}" is incompatible with dtype="{own}".',
    )
