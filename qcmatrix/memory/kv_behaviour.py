"""What each vLLM release does differently when it plans the KV cache.

Every switch was read in ``vllm/v1/core/kv_cache_utils.py`` (from 0.33.0 ``kv_cache_planning.py``),
``vllm/v1/kv_cache_interface.py`` and ``vllm/platforms/interface.py`` of all releases from 0.10.0 to 0.33.0; each bound
is the first release whose source has the new form.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

import msgspec

from qcmatrix.errors import RequestError
from qcmatrix.versions import Range, Version, parse_version

__all__ = [
    "Behaviour",
    "LengthCheck",
    "behaviour",
    "bytes_per_head_and_token",
    "element_bytes",
    "leaves_v1_for_fp8",
    "supported_kv_cache_dtypes",
]


class LengthCheck(StrEnum):
    """What vLLM compares with the available memory before it starts ("... GiB KV cache is needed")."""

    LAYERS = "layers"
    """Up to 0.13: the layers of each pipeline stage against the memory of that stage."""
    MODEL = "model"
    """0.14 to 0.16: all layers of the model (first cache group only) against the stage with the least memory."""
    FIRST_GROUP = "first-group"
    """0.17 and 0.18: each stage for itself, first cache group only."""
    GROUPS = "groups"
    """From 0.19: each stage for itself, all cache groups."""


class Behaviour(msgspec.Struct, frozen=True):
    """The switches of one release."""

    length_check: LengthCheck
    reserves_null_block: bool
    """The check leaves out the one block that the block pool never hands out (from 0.29.0)."""
    tokens_from_concurrency: bool
    """"GPU KV cache size" is concurrency times ``max_model_len`` (from 0.20.1), not blocks times block size."""
    override_is_checked: bool
    """``num_gpu_blocks_override`` also decides the length check (from 0.20.1)."""
    groups_per_stage: bool
    """Cache groups are made for every pipeline stage on its own (before 0.11.0)."""
    padding_ratio: float
    """Groups take the size of the larger kind of layers when it is smaller than this times the other's."""
    has_decode_context_parallel: bool
    mamba_align_mode: bool
    """Prefix caching of hybrid models exists (``mamba_cache_mode`` ``align``)."""
    hybrid_prefix_caching_default: bool
    counts_speculative_states: bool
    ssm_dtype_is_separate: bool
    """Gated delta-net layers honour ``mamba_ssm_cache_dtype``."""
    blackwell_alignment: int
    """Attention block alignment of hybrid models with head size 256 on compute capability 10.x."""
    blackwell_family: bool
    """The former holds for all of 10.x, not for 10.0 alone."""
    aligns_to_given_block_size: bool
    """``--block-size`` is also the alignment of the raised block size of hybrid models (from 0.20.0)."""
    prefill_checkpoints: bool
    """FlashInfer's gated delta-net prefill keeps one checkpoint block per request and group (from 0.33.0)."""
    mamba_blocks_rule: str
    """When ``max_num_seqs`` is larger than the number of blocks: ``none``, ``caps-graphs`` or ``refuses``."""


@lru_cache(maxsize=256)
def behaviour(version: Version | str) -> Behaviour:
    """The switches of ``version``, by plain comparison."""
    this = parse_version(version) if isinstance(version, str) else version

    def since(release: str) -> bool:
        return this >= parse_version(release)

    if since("0.19.0"):
        check = LengthCheck.GROUPS
    elif since("0.17.0"):
        check = LengthCheck.FIRST_GROUP
    elif since("0.14.0"):
        check = LengthCheck.MODEL
    else:
        check = LengthCheck.LAYERS
    return Behaviour(
        length_check=check,
        reserves_null_block=since("0.29.0"),
        tokens_from_concurrency=since("0.20.1"),
        override_is_checked=since("0.20.1"),
        groups_per_stage=not since("0.11.0"),
        padding_ratio=1.5 if since("0.18.0") else 1.25 if since("0.12.0") else 0.0,
        has_decode_context_parallel=since("0.10.2"),
        mamba_align_mode=since("0.15.0"),
        hybrid_prefix_caching_default=since("0.28.0"),
        counts_speculative_states=since("0.15.0"),
        ssm_dtype_is_separate=since("0.17.0"),
        blackwell_alignment=32 if since("0.11.1") and not since("0.18.0") else 16,
        blackwell_family=since("0.13.0"),
        aligns_to_given_block_size=since("0.20.0"),
        prefill_checkpoints=since("0.33.0"),
        mamba_blocks_rule="refuses" if since("0.20.0") else "caps-graphs" if since("0.18.0") else "none",
    )


# Bits of one element, and bytes of scales per head and token for K and V together, of ``--kv-cache-dtype``; the first
# release that has it. ``turboquant_*``, ``octave_*``, ``ultraquant_4bit`` and the ``*_ds_mla`` forms are not modelled.
_KV_DTYPES: dict[str, tuple[int, int, str]] = {
    "fp8": (8, 0, "0.10.0"),
    "fp8_e4m3": (8, 0, "0.10.0"),
    "fp8_e5m2": (8, 0, "0.10.0"),
    "fp8_inc": (8, 0, "0.10.0"),
    "bfloat16": (16, 0, "0.11.0"),
    "float16": (16, 0, "0.18.0"),
    "int8_per_token_head": (8, 8, "0.20.0"),
    "fp8_per_token_head": (8, 8, "0.20.0"),
    "int4_per_token_head": (4, 8, "0.25.0"),
}


_MODELLED = "qcmatrix sizes auto, bfloat16, float16, fp8*, nvfp4* and the *_per_token_head forms"


def supported_kv_cache_dtypes(version: Version | str) -> tuple[str, ...]:
    """The values of ``--kv-cache-dtype`` that :func:`qcmatrix.memory.kv_cache.kv_layout` can size for ``version``."""
    this = parse_version(version) if isinstance(version, str) else version
    known = [name for name, (_, _, first) in _KV_DTYPES.items() if this >= parse_version(first)]
    if this >= parse_version("0.20.0"):
        known.append("nvfp4")
    if this >= parse_version("0.28.0"):
        known.append("nvfp4_4over6")
    return ("auto", *known)


def bytes_per_head_and_token(kv_cache_dtype: str, dtype: str, head_dim: int) -> int:
    """Bytes that K and V of one head and one token take in one layer.

    Raises:
        RequestError: a dtype that is not modelled.
    """
    if kv_cache_dtype == "auto":
        return 2 * head_dim * element_bytes(dtype)
    if kv_cache_dtype in ("nvfp4", "nvfp4_4over6"):
        # Packed 4-bit values and one FP8 scale per 16 of them.
        return 2 * (head_dim // 2 + head_dim // 16)
    try:
        bits, scales, _ = _KV_DTYPES[kv_cache_dtype]
    except KeyError:
        raise RequestError(f"KV cache dtype {kv_cache_dtype!r} cannot be sized", _MODELLED) from None
    return 2 * (head_dim * bits // 8) + scales


def element_bytes(dtype: str) -> int:
    """Bytes of one element of a model or state dtype; ``auto`` is 16 bit (``config.json`` of every model here).

    Raises:
        RequestError: a dtype that is not modelled.
    """
    try:
        return {"auto": 2, "bfloat16": 2, "float16": 2, "half": 2, "float32": 4, "float": 4}[dtype]
    except KeyError:
        raise RequestError(f"dtype {dtype!r} cannot be sized", "use auto, bfloat16, float16 or float32") from None


_FALLS_BACK = Range("0.10.0", "0.11.0")
_NAMES_BACKENDS = Range("0.10.2", "0.11.0")


def leaves_v1_for_fp8(
    version: Version,
    kv_cache_dtype: str,
    attention_backend: str | None,
    *,
    vendor: str,
    compute_capability: tuple[int, int] | None,
) -> bool | None:
    """Does vLLM 0.10 take its old engine because V1 has no FP8 attention on the card? ``None``: the card is not known.

    https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/platforms/cuda.py (``is_kv_cache_dtype_supported``), read
    2026-11-22.
    """
    if version not in _FALLS_BACK or not kv_cache_dtype.startswith("fp8") or vendor == "amd":
        return False
    if compute_capability is None:
        return None
    if compute_capability[0] == 9 or compute_capability == (10, 0):
        return False
    named = version in _NAMES_BACKENDS and (
        attention_backend == "FLASHINFER"
        or (attention_backend == "TRITON_ATTN_VLLM_V1" and compute_capability >= (8, 9))
    )
    return not named
