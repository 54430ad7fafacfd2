"""The values that a release has resolved for a launch, as JSON: from its config objects and from the first layers."""

from __future__ import annotations

import argparse
import enum
import math
from typing import Any

__all__ = ["rotary", "values"]

_PATHS: dict[str, tuple[str, ...]] = {
    "model": ("model_config.model",),
    "served_model_name": ("model_config.served_model_name",),
    "max_model_len": ("model_config.max_model_len",),
    "dtype": ("model_config.dtype",),
    "quantization": ("model_config.quantization",),
    "enforce_eager": ("model_config.enforce_eager",),
    "trust_remote_code": ("model_config.trust_remote_code",),
    "architecture": ("model_config.architecture",),
    "max_seq_len_to_capture": ("model_config.max_seq_len_to_capture",),
    "generation_config": ("model_config.generation_config",),
    "max_num_batched_tokens": ("scheduler_config.max_num_batched_tokens",),
    "max_num_seqs": ("scheduler_config.max_num_seqs",),
    "enable_chunked_prefill": (
        "scheduler_config.enable_chunked_prefill",
        "scheduler_config.chunked_prefill_enabled",  # up to 0.11 the property that the scheduler reads
    ),
    "async_scheduling": ("scheduler_config.async_scheduling",),
    "enable_prefix_caching": ("cache_config.enable_prefix_caching",),
    "block_size": ("cache_config.block_size",),
    "kv_cache_dtype": ("cache_config.cache_dtype",),
    "gpu_memory_utilization": ("cache_config.gpu_memory_utilization",),
    "kv_cache_memory_bytes": ("cache_config.kv_cache_memory_bytes",),
    "num_gpu_blocks_override": ("cache_config.num_gpu_blocks_override",),
    "cpu_offload_gb": ("cache_config.cpu_offload_gb", "offload_config.uva.cpu_offload_gb"),
    "swap_space": ("cache_config.swap_space",),
    "mamba_block_size": ("cache_config.mamba_block_size",),
    "mamba_cache_mode": ("cache_config.mamba_cache_mode",),
    "tensor_parallel_size": ("parallel_config.tensor_parallel_size",),
    "pipeline_parallel_size": ("parallel_config.pipeline_parallel_size",),
    "data_parallel_size": ("parallel_config.data_parallel_size",),
    "data_parallel_size_local": ("parallel_config.data_parallel_size_local",),
    "decode_context_parallel_size": ("parallel_config.decode_context_parallel_size",),
    "enable_expert_parallel": ("parallel_config.enable_expert_parallel",),
    "enable_eplb": ("parallel_config.enable_eplb",),
    "all2all_backend": ("parallel_config.all2all_backend",),
    "distributed_executor_backend": ("parallel_config.distributed_executor_backend",),
    "disable_custom_all_reduce": ("parallel_config.disable_custom_all_reduce",),
    "load_format": ("load_config.load_format",),
    "cudagraph_mode": ("compilation_config.cudagraph_mode",),
    "compilation_mode": ("compilation_config.mode", "compilation_config.level"),
    "attention_backend": ("attention_config.backend",),
    "moe_backend": ("kernel_config.moe_backend",),
    "speculative_method": ("speculative_config.method",),
    "num_speculative_tokens": ("speculative_config.num_speculative_tokens",),
    "max_position_embeddings": ("model_config.hf_text_config.max_position_embeddings",),
}
"""Name -> where it is; the first path that exists counts. What a release does not have is left out."""

_ROPE = ("rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor")
_MISSING = object()


def values(vllm_config: Any, args: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """The resolved values; ``given`` are the scheduler's arguments before the release filled in its defaults."""
    found: dict[str, Any] = {}
    for name, paths in _PATHS.items():
        for path in paths:
            value = _at(vllm_config, path)
            if value is not _MISSING:
                found[name] = plain(value)
                break
    text = vllm_config.model_config.hf_text_config
    # Transformers 5 keeps one dictionary; before there were two keys
    found["rope"] = {name: plain(getattr(text, name)) for name in _ROPE if getattr(text, name, None) is not None}
    found["hf"] = {name: plain(getattr(text, name, None)) for name in ("max_position_embeddings", *_ROPE)}
    found["scheduler_defaults"] = [name for name, value in given.items() if value is None]
    for name in ("tool_call_parser", "enable_auto_tool_choice", "api_server_count"):
        found[name] = plain(getattr(args, name, None))
    found["reasoning_parser"] = getattr(args, "reasoning_parser", None) or None
    import vllm.envs as envs

    try:  # the engine with two generations, up to 0.11
        found["use_v1"] = bool(envs.VLLM_USE_V1)
    except AttributeError:
        found["use_v1"] = True
    return found


def _at(start: Any, path: str) -> Any:
    value = start
    for name in path.split("."):
        value = getattr(value, name, _MISSING)
        if value is _MISSING or value is None:
            return value
    return value


def plain(value: Any) -> Any:
    """As JSON has it; what JSON has not, as text."""
    if isinstance(value, enum.Enum):
        return value.name if not isinstance(value.value, str) else value.value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no number for it
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, type):
        return value.__name__
    return str(value).removeprefix("torch.")


def rotary(model: Any) -> dict[str, Any]:
    """The position encoding that the first attention layer really uses; empty where there is none.

    ``positions`` is the length of its table of sines and cosines.
    """
    for module in model.modules():
        kind = type(module).__name__
        if "RotaryEmbedding" not in kind:
            continue
        found: dict[str, Any] = {"class": kind}
        for name in ("base", "rotary_dim", "head_size", "max_position_embeddings", "scaling_factor"):
            if isinstance(value := getattr(module, name, None), (int, float)):
                found[name] = value
        table = getattr(module, "cos_sin_cache", None)
        if table is not None:
            found["positions"] = int(table.shape[0])
        return found
    return {}
