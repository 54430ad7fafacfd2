"""Rule: an attention backend that makes 0.10 fall back to the old engine."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.old_engine import ATTENTION_VARIABLE, is_named_by_v1
from qcmatrix.versions import Range

# Names that the old engine of 0.10.1 and 0.10.2 has beside those of V1: _Backend in vllm/platforms/interface.py.
_KNOWN_TO_V0 = frozenset(
    {
        "DIFFERENTIAL_FLASH_ATTN",
        "DUAL_CHUNK_FLASH_ATTN",
        "FLASHINFER_MLA",
        "FLASHMLA_VLLM_V1",
        "FLASH_ATTN_MLA",
        "IPEX",
        "NO_ATTENTION",
        "ROCM_AITER_FA",
        "ROCM_AITER_MLA_VLLM_V1",
        "ROCM_FLASH",
        "TORCH_SDPA",
        "TRITON_MLA_VLLM_V1",
        "XFORMERS",
    }
)
_NAMES_CHECKED = Range("0.10.1", None)


@rule(
    holds=Range("0.10.0", "0.11.0"),
    reads=("release", "env"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/engine/arg_utils.py",
            'if (envs.is_set("VLLM_ATTENTION_BACKEND") and envs.VLLM_ATTENTION_BACKEND not in V1_BACKENDS):',
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/engine/arg_utils.py",
            "_raise_or_fallback(feature_name=name, recommend_to_remove=True)",
            Level.DERIVED,
        ),
    ),
)
def attention_backend_falls_back_to_v0(deployment: Deployment) -> Verdict:
    """The attention backend makes vLLM 0.10 fall back to its old engine

    What it finds
    `VLLM_ATTENTION_BACKEND` with a name that the V1 engine of vLLM 0.10 does not have: `TRITON_ATTN` (it is called
    `TRITON_ATTN_VLLM_V1` there), `XFORMERS`.

    Why it fails
    vLLM takes its old engine, which has other defaults (no chunked prefill up to 32768 tokens) and is slower. With
    `VLLM_USE_V1=1` it stops instead: "VLLM_USE_V1=1 is not supported with VLLM_ATTENTION_BACKEND=TRITON_ATTN."

    From 0.10.1 on a name that neither engine has is refused: "Invalid attention backend: 'TRITON_ATTN'."

    What to do
    Leave the variable out, or use the name that ends in `_VLLM_V1`.

    Not covered
    The other ways back to the old engine: `fp8-kv-cache-falls-back-to-v0`, `gpu-older-than-ampere`. What that engine
    cannot do: `old-engine-cannot-serve`.
    """
    name = deployment.env.get(ATTENTION_VARIABLE)
    if not name or is_named_by_v1(name, deployment):
        return None
    about, fixes = (ATTENTION_VARIABLE,), (Fix(f"leave `{ATTENTION_VARIABLE}` out", drop_env=(ATTENTION_VARIABLE,)),)
    if deployment.env.get("VLLM_USE_V1", "") not in ("", "0"):
        return Breach(
            because=f"the V1 engine has no attention backend {name}, and VLLM_USE_V1 forbids the old one",
            about=(*about, "VLLM_USE_V1"),
            fixes=fixes,
            error=f"VLLM_USE_V1=1 is not supported with {ATTENTION_VARIABLE}={name}.",
            outcome=Outcome.REFUSES_TO_START,
        )
    if deployment.release.version in _NAMES_CHECKED and name not in _KNOWN_TO_V0:
        return Breach(
            because=f"neither engine of vLLM {deployment.release} has an attention backend {name}",
            about=about,
            fixes=fixes,
            error=f"Invalid attention backend: '{name}'.",
            outcome=Outcome.REFUSES_TO_START,
        )
    because = f"the V1 engine of vLLM {deployment.release} has no attention backend {name}, so vLLM falls back to V0"
    return Breach(because=because, about=about, fixes=fixes)
