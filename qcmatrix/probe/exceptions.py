"""Where the answer of a release without a GPU may differ from our verdict: data, each with its reason."""

from __future__ import annotations

from typing import Final

import msgspec

from qcmatrix.versions import Range, Version

__all__ = ["EXPLAINED", "NEEDS_THE_DEVICE", "OLD_ENGINE", "UNANSWERABLE", "needs_the_device"]


class Unanswerable(msgspec.Struct, frozen=True):
    """A refusal that comes from the machine that was asked, not from the launch."""

    error: str
    """Regular expression that the error's text matches."""
    why: str


class Explained(msgspec.Struct, frozen=True):
    """A refusal that we know of and rightly do not call one."""

    error: str
    """Regular expression that the error's text matches."""
    rules: frozenset[str]
    """Rules of which one must have found something; empty: whatever was found."""
    why: str
    link: str


class NeedsTheDevice(msgspec.Struct, frozen=True):
    """A rule whose refusal comes after the weights of the first rank are laid out, or on another rank."""

    rule: str
    releases: Range
    why: str
    says: str = ""
    """Part of the rule's reason, where only one of several comes so late."""


UNANSWERABLE: Final = (
    Unanswerable(r"Failed to import Ray|No module named 'ray|ray is not installed", "Ray is not installed there"),
    Unanswerable(
        r"DeepEP|deep_ep|pplx|PPLX|No module named 'mori", "the package of that all-to-all backend is not installed"
    ),
    Unanswerable(
        r"FLASHINFER: \[(ModuleNotFoundError|ImportError)|FLASHINFER is not valid.*(ModuleNotFound|Import)Error"
        r"|flashinfer module was not found|FP8 KV cache is not supported by the Triton attention backend",
        "FlashInfer is not installed there, and might take what the other attention backends do not",
    ),
    Unanswerable(r"kernel does not support current device cuda", "DeepGEMM is not installed there"),
    Unanswerable(r"a compiled CUDA kernel was called", "it calls a compiled CUDA kernel"),
    Unanswerable(
        r"get_vocab|model tokenizer must|skip_tokenizer_init", "it needs the tokenizer, which is not given there"
    ),
)

EXPLAINED: Final = (
    Explained(
        r"'NoneType' and 'Tensor'",
        frozenset({"yarn-loses-rope-theta", "rope-parameters-without-theta"}),
        "with Transformers 5.21 and newer the lost rope_theta becomes null and the model is not built; with older ones "
        "it starts and is wrong, which is what the rule says",
        "https://github.com/huggingface/transformers/blob/v5.21.0/src/transformers/configuration_utils.py",
    ),
)

OLD_ENGINE: Final = frozenset(
    {"attention-backend-falls-back-to-v0", "fp8-kv-cache-falls-back-to-v0", "gpu-older-than-ampere"}
)
"""Rules that tell that 0.10 falls back to its V0 engine, whose own defaults are not modelled."""

NEEDS_THE_DEVICE: Final = (
    NeedsTheDevice(
        "scheduler-size-below-one",
        Range("0.10.0", "0.11.1"),
        "the size is looked at only when the profile run divides by it on the card",
    ),
    NeedsTheDevice(
        "gpu-memory-utilization-out-of-range",
        Range("0.10.0", "0.11.1"),
        "a share of nothing shows when the memory of the card is divided",
    ),
    NeedsTheDevice(
        "hybrid-model-in-pipeline-stages",
        Range("0.11.1", "0.12.0"),
        "a launch lays out the first pipeline stage only, and the others are refused",
    ),
    NeedsTheDevice(
        "cpu-offload-with-hybrid-model",
        Range("0.10.2", "0.20.0"),
        "the input batch is built anew once the KV cache of the card is known",
    ),
    NeedsTheDevice(
        "fp8-kv-cache-without-fp8-attention",
        Range("0.11.0", "0.24.0"),
        "the Triton kernel is compiled on the card at its first call",
        says="no FP8 type in Triton",
    ),
    NeedsTheDevice(
        "block-size-not-multiple-of-16",
        Range("0.10.0", "0.11.1"),
        "the attention backend looks at the block size only when the KV cache is allocated on the card",
    ),
)


def needs_the_device(rule: str, version: Version, because: str) -> str | None:
    """Why a refusal that ``rule`` foretells cannot be seen without a card in that release; ``None``: it can."""
    for item in NEEDS_THE_DEVICE:
        if item.rule == rule and version in item.releases and item.says in because:
            return item.why
    return None
