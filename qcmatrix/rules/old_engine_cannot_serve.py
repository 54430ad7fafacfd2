"""Rule: a launch that vLLM 0.10 hands to its old engine, which cannot run it."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.plain import whole
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.old_engine import ATTENTION_VARIABLE, why_old_engine
from qcmatrix.versions import Range

_CHUNKED_BEYOND = 32_768
"""Longer contexts are prefilled in chunks by the old engine as well."""


@rule(
    holds=Range("0.10.0", "0.11.0"),
    reads=(
        "release",
        "gpu",
        "architecture",
        "kv_cache_dtype",
        "attention_backend",
        "context",
        "speculation",
        "enable_lora",
        "options",
        "env",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/model_executor/models/qwen3_next.py",
            "Qwen3Next requires VLLM_USE_V1",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/config/scheduler.py",
            "max_num_batched_tokens (1024) is smaller than max_model_len (32000).",
            Level.PROBED,
        ),
    ),
)
def old_engine_cannot_serve(deployment: Deployment) -> Verdict:
    """vLLM 0.10 falls back to its old engine, which cannot run the launch

    What it finds
    A launch that vLLM 0.10 hands to its old engine (V0): an FP8 KV cache on a card that is neither Hopper nor
    Blackwell, an attention backend that V1 does not have, up to 0.10.1.1 a card older than compute capability 8.0. And
    in it what that engine does not do: a hybrid model (Qwen3-Next), or steps smaller than the context without chunked
    prefill, which V0 leaves off up to 32768 tokens.

    Why it fails
    "Qwen3Next requires VLLM_USE_V1", or "max_num_batched_tokens (1024) is smaller than max_model_len (32000). This
    effectively limits the maximum sequence length".

    What to do
    Undo what makes vLLM fall back, ask for `--enable-chunked-prefill`, or use 0.11.0 or newer, which has no V0.

    Not covered
    `VLLM_USE_V1`, which the rules about each way back look at. The other defaults of the old engine.
    """
    why = why_old_engine(deployment)
    if why is None:
        return None
    back = (ATTENTION_VARIABLE,) if ATTENTION_VARIABLE in deployment.env else ("kv_cache_dtype",)
    undo = Fix("keep the V1 engine", drop=("kv_cache_dtype",), drop_env=(ATTENTION_VARIABLE,))
    can_undo = deployment.gpu.compute_capability is None or deployment.gpu.compute_capability >= (8, 0)
    fixes = (undo,) if can_undo else ()
    if deployment.architecture.linear_attention is not None:
        return Breach(
            because=f"{why} leaves the V1 engine, and the hybrid model runs on no other",
            about=back,
            fixes=fixes,
            error="requires VLLM_USE_V1",
        )
    tokens, chunked = whole(deployment.options.get("max_num_batched_tokens")), _chunked(deployment)
    if tokens is None or chunked or tokens >= deployment.context:
        return None
    return Breach(
        because=f"{why} leaves the V1 engine, and without chunks V0 cannot prefill {deployment.context} tokens in "
        f"steps of {tokens}",
        about=("max_num_batched_tokens", *back),
        fixes=(Fix("add `--enable-chunked-prefill`", set={"enable_chunked_prefill": True}), *fixes),
        error=f"max_num_batched_tokens ({tokens}) is smaller than max_model_len ({deployment.context}).",
    )


def _chunked(deployment: Deployment) -> bool:
    """Does V0 prefill in chunks?"""
    asked = deployment.options.get("enable_chunked_prefill")
    if asked is not None:
        return bool(asked)
    plain = deployment.speculation is None and not deployment.enable_lora
    return plain and deployment.context > _CHUNKED_BEYOND
