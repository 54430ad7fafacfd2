"""When vLLM 0.10 takes its old engine (V0): shared by the rules about what that engine does with a launch."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.memory.kv_behaviour import leaves_v1_for_fp8
from qcmatrix.versions import Range

__all__ = ["ATTENTION_VARIABLE", "OLD_ENGINE", "is_named_by_v1", "why_old_engine"]

OLD_ENGINE = Range("0.10.0", "0.11.0")
"""Releases that have it."""
ATTENTION_VARIABLE = "VLLM_ATTENTION_BACKEND"

# Names that the V1 engine of every release from 0.10.0 to 0.10.2 takes: V1_BACKENDS in vllm/engine/arg_utils.py.
_V1 = frozenset(
    {
        "FLASHINFER",
        "FLASHINFER_VLLM_V1",
        "FLASHMLA",
        "FLASH_ATTN",
        "FLASH_ATTN_VLLM_V1",
        "FLEX_ATTENTION",
        "PALLAS",
        "PALLAS_VLLM_V1",
        "ROCM_AITER_MLA",
        "TORCH_SDPA_VLLM_V1",
        "TRITON_ATTN_VLLM_V1",
        "TRITON_MLA",
    }
)
_LATER_ADDED = frozenset({"CUTLASS_MLA", "TREE_ATTN", "XFORMERS_VLLM_V1"})
_LATER = Range("0.10.1")
_OLD_CARDS = Range("0.10.0", "0.10.2")
"""Releases whose V1 engine wants compute capability 8.0."""


def is_named_by_v1(name: str, deployment: Deployment) -> bool:
    """Does the V1 engine of the release have an attention backend of that name?"""
    return name in _V1 or (name in _LATER_ADDED and deployment.release.version in _LATER)


def why_old_engine(deployment: Deployment) -> str | None:
    """Why the launch is run by V0, as far as it is known; ``None``: nothing says so.

    Reads ``release``, ``gpu``, ``kv_cache_dtype``, ``attention_backend`` and ``env``.
    """
    gpu, version = deployment.gpu, deployment.release.version
    if version not in OLD_ENGINE or gpu.vendor == "amd":
        return None
    name = deployment.env.get(ATTENTION_VARIABLE)
    if name and not is_named_by_v1(name, deployment):
        return f"the attention backend {name}"
    if version in _OLD_CARDS and gpu.compute_capability is not None and gpu.compute_capability < (8, 0):
        return f"{gpu.name} (compute capability {gpu.compute_capability[0]}.{gpu.compute_capability[1]})"
    leaves = leaves_v1_for_fp8(
        version,
        deployment.kv_cache_dtype,
        deployment.attention_backend,
        vendor=gpu.vendor,
        compute_capability=gpu.compute_capability,
    )
    return f"an FP8 KV cache on {gpu.name}" if leaves else None
