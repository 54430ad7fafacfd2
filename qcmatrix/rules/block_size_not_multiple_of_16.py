"""Rule: KV cache blocks that the attention kernels cannot use."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_STEP = 16
_OLD_ENGINE = Range("0.10.0", "0.11.0")  # the V0 engine has kernels for 8 tokens
_CHOSEN_BY_SIZE = Range("0.11.1")
_FLEX_TAKES_ANY = Range("0.10.0", "0.21.0")
_BACKENDS = frozenset({"FLASH_ATTN", "FLASHINFER", "TRITON_ATTN"})
_CHECKED = Range("0.23.0")
_HYBRID_TOO = Range("0.21.0")
"""Releases seen to choose the attention kernel of a hybrid model by the size as given, before they enlarge it."""


@rule(
    holds=Range("0.10.0"),
    reads=("release", "gpu", "architecture", "block_size", "attention_backend", "kv_cache_dtype", "env"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/platforms/cuda.py",
            "No valid attention backend found for cuda with AttentionSelectorConfig(",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/platforms/cuda.py",
            "No valid attention backend found for cuda with AttentionSelectorConfig(",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/v1/attention/backends/flash_attn.py",
            "Block size must be a multiple of 16.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.21.0/vllm/v1/attention/backends/flex_attention.py",
            "def get_supported_kernel_block_sizes() -> list[int | MultipleOf]: return [MultipleOf(16)]",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/cache.py",
            "block_size: int = Field(default=None, gt=0)",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def block_size_not_multiple_of_16(deployment: Deployment) -> Verdict:
    """Blocks of the KV cache are no multiple of 16 tokens

    What it finds
    `--block-size` that 16 does not divide (1, 8, 24), or that is 0 or less.

    Why it fails
    FlashAttention, FlashInfer and the Triton kernels take blocks of 16, 32, 64 tokens and so on. Up to 0.11.0 the
    chosen kernel stops: "Block size must be a multiple of 16." From 0.11.1 on vLLM looks for a kernel that takes the
    size. Up to 0.20.2 FlexAttention takes any, so that the server may start and be slower; from 0.21.0 on none does:
    "No valid attention backend found".

    What to do
    Leave the option out: vLLM takes the size that the kernels like best.

    Not covered
    Hybrid models (Qwen3-Coder-Next) up to 0.20.2, whose blocks vLLM enlarges by itself. AMD cards, and cards older
    than compute capability 8.0, have other kernels.
    """
    size = deployment.block_size
    if size is None or (size > 0 and size % _STEP == 0):
        return None
    version = deployment.release.version
    fixes = (Fix("drop `--block-size`", drop=("block_size",)),)
    if size < 1:
        return Breach(
            because=f"--block-size is {size}",
            about=("block_size",),
            fixes=fixes,
            error="Input should be greater than 0" if version in _CHECKED else "",
        )
    if deployment.architecture.linear_attention is not None and version not in _HYBRID_TOO:
        return None
    backend = deployment.attention_backend
    capability = deployment.gpu.compute_capability
    unsure = f"which attention kernel takes blocks of {size} tokens here is not known"
    if deployment.gpu.vendor == "amd" or capability is None or capability < (8, 0):
        return Unknown(unsure)
    if version in _OLD_ENGINE and (deployment.env.get("VLLM_USE_V1") == "0" or deployment.kv_cache_dtype != "auto"):
        return Unknown(unsure)
    if backend not in _BACKENDS:
        asked = backend is not None
        if asked and not (backend == "FLEX_ATTENTION" and version not in _FLEX_TAKES_ANY):
            return Unknown(unsure)
        if not asked and version in _CHOSEN_BY_SIZE and version in _FLEX_TAKES_ANY:
            return Unknown(f"of the attention kernels only FlexAttention takes blocks of {size} tokens")
    if version in _CHOSEN_BY_SIZE:
        error = "No valid attention backend found" if backend is None else f"Selected backend {backend} is not valid"
    else:
        error = "Block size must be a multiple of 16."
    return Breach(
        because=f"no attention kernel takes blocks of {size} tokens",
        about=("block_size",),
        fixes=fixes,
        error=error,
    )
