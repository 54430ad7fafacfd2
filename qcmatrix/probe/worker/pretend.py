"""A pretended CUDA host: ``vllm.platforms.current_platform`` is a CUDA platform of the asked card, without any device.

Call :func:`pretend_cuda` before anything else imports vLLM, :func:`set_card` for each question. What a release has and
another has not is found by asking for it, never by the version's number.
"""

# ruff: noqa: ARG001, ARG005 - the signatures are those of what is replaced

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from . import stand_ins


@dataclasses.dataclass(frozen=True)
class Card:
    """What CUDA reports of each device."""

    name: str
    capability: tuple[int, int]
    memory_bytes: int
    count: int


H200 = Card("NVIDIA H200", (9, 0), 150110011392, 8)
"""What is pretended until :func:`set_card` is called."""

_card = H200
_UNITS = {(7, 5): 40, (8, 0): 108, (8, 6): 84, (8, 9): 142, (9, 0): 132, (10, 0): 148, (12, 0): 188}
"""Streaming multiprocessors of a usual card of the compute capability (NVIDIA's data sheets)."""


_HOST_MEMORY = 2 << 40
"""Bytes: a server's, so that what depends on this machine's (swap space, offloading) refuses nothing."""


def card() -> Card:
    """The card of the question at hand."""
    return _card


def set_card(
    name: str = H200.name,
    capability: tuple[int, int] = H200.capability,
    memory_bytes: int = H200.memory_bytes,
    count: int = H200.count,
) -> None:
    """From now on the host has ``count`` of this card; what vLLM remembered about another one is forgotten."""
    global _card
    asked = Card(name, (int(capability[0]), int(capability[1])), int(memory_bytes), int(count))
    if asked == _card:
        return
    _card = asked
    forget()


_caches: list[Any] = []
_caches_seen = 0


def forget() -> None:
    """Clear each ``functools.lru_cache`` inside vLLM that may hold what an earlier card or environment said."""
    global _caches, _caches_seen
    if _caches_seen != len(sys.modules):  # a walk over all objects takes a while; only new modules bring new caches
        _caches_seen = len(sys.modules)
        kind = type(functools.lru_cache(maxsize=None)(len))
        _caches = [
            found
            for found in gc.get_objects()
            # the model registry's caches hold what a class can do: no card changes that, and asking anew is slow
            if type(found) is kind and str(found.__module__).startswith("vllm") and "registry" not in found.__module__
        ]
    for cache in _caches:
        cache.cache_clear()


def pretend_cuda() -> None:
    """Make this process a CUDA host in vLLM's eyes. Once, before vLLM is imported."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    stand_ins.stand_in_for_compiled(lambda: _card.capability)
    stand_ins.pretend_streams()
    stand_ins.without_audio()
    _pretend_torch()

    import vllm.platforms as platforms
    from vllm.platforms.interface import Platform, PlatformEnum

    # Modules take `current_platform` at import and `vllm.platforms.cuda` needs some of them: so the object is there
    # first, says that it is CUDA, and becomes the real thing once that can be imported.
    early: Any = type("PretendedCuda", (Platform,), {**_answers(), "_enum": PlatformEnum.CUDA})
    platform = early()
    platforms._current_platform = platform
    from vllm.platforms.cuda import CudaPlatformBase

    platform.__class__ = type("PretendedCuda", (CudaPlatformBase,), _answers())
    stand_ins.pretend_triton()

    import torch
    import vllm._custom_ops
    import vllm.config  # noqa: F401  with the platform, what counts devices

    _sweep(platform)
    _inspect_models_here()
    _quiet_configs()
    for name in ("_C", "_moe_C", "_C_cache_ops", "_C_custom_ar", "_C_cuda_utils", "_C_stable_libtorch"):
        stand_ins.open_namespace(getattr(torch.ops, name), lambda: _card.capability)


def _inspect_models_here() -> None:
    """vLLM looks at a model's class in a process of its own, to keep CUDA out of this one, and remembers it on disk.

    That process would have no stand-ins; here there is no CUDA to keep out.
    """
    import vllm.model_executor.models.registry as registry

    registry._run_in_subprocess = lambda function: function()
    for kind in vars(registry).values():
        if hasattr(kind, "_load_modelinfo_from_cache"):
            kind._load_modelinfo_from_cache = lambda *_: None
            kind._save_modelinfo_to_cache = lambda *_: None


def _quiet_configs() -> None:
    """Transformers writes each config out as JSON for a line of its log, which takes a quarter of a question's time."""
    import transformers

    # renamed in Transformers 5, where the old name is kept for a while
    kind = getattr(transformers, "PretrainedConfig", None) or transformers.PreTrainedConfig
    kind.__repr__ = object.__repr__


def _sweep(platform: Any) -> None:
    """What modules took by name before: a platform that vLLM itself found, a count that asks NVML behind our back."""
    said = {
        "current_platform": platform,
        "cuda_device_count_stateless": lambda: _card.count,
        "_cuda_device_count_stateless": lambda *_: _card.count,
        "get_cpu_memory": lambda: _HOST_MEMORY,
    }
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("vllm"):
            for name in said.keys() & vars(module).keys():
                setattr(module, name, said[name])


def _answers() -> dict[str, Any]:
    """What the platform says of the card; the rest is vLLM's ``CudaPlatformBase``."""
    from vllm.platforms.interface import DeviceCapability

    def get_device_capability(cls: Any, *_: Any, **__: Any) -> Any:
        return DeviceCapability(*_card.capability)

    def has_device_capability(cls: Any, capability: Any, *_: Any, **__: Any) -> bool:
        if isinstance(capability, tuple):
            return bool(_card.capability >= capability)
        return bool(_card.capability[0] * 10 + _card.capability[1] >= capability)

    said: dict[str, Callable[..., Any]] = {
        "get_device_capability": get_device_capability,
        "has_device_capability": has_device_capability,
        "get_device_name": lambda cls, *_, **__: _card.name,
        "_get_physical_device_name": lambda cls, *_, **__: _card.name,
        "get_device_uuid": lambda cls, device_id=0: f"GPU-{device_id}",
        "get_device_total_memory": lambda cls, *_, **__: _card.memory_bytes,
        "get_current_memory_usage": lambda cls, *_, **__: 0,
        "device_count": lambda cls: _card.count,
        "num_compute_units": lambda cls, *_, **__: _UNITS.get(_card.capability, 132),
        "is_fully_connected": lambda cls, *_, **__: True,
        "is_integrated_gpu": lambda cls, *_, **__: False,
        "is_pin_memory_available": lambda cls: True,
        "get_device_numa_node": lambda cls, *_, **__: None,
        "get_all_device_numa_nodes": lambda cls: None,
        "get_cuda_runtime_major": lambda cls: _cuda_major(),
        "set_device": lambda cls, *_, **__: None,
        "import_kernels": lambda cls: None,
        "log_warnings": lambda cls: None,
        # no NCCL: groups that exist only to say which rank this is need no way to talk
        "get_device_communicator_cls": lambda cls: (
            "vllm.distributed.device_communicators.base_device_communicator.DeviceCommunicatorBase"
        ),
    }
    return {name: classmethod(function) for name, function in said.items()}


def _cuda_major() -> int:
    """CUDA's major version of the release's published wheels: it says so itself (13 from 0.20.0 on)."""
    import vllm.envs as envs

    return int(str(getattr(envs, "VLLM_MAIN_CUDA_VERSION", None) or "12").partition(".")[0])


def _pretend_torch() -> None:
    """What vLLM asks torch about the device. ``torch.cuda.is_available`` stays false: torch really has no CUDA."""
    import torch

    def properties(*_: Any) -> types.SimpleNamespace:
        return types.SimpleNamespace(
            name=_card.name,
            major=_card.capability[0],
            minor=_card.capability[1],
            total_memory=_card.memory_bytes,
            multi_processor_count=_UNITS.get(_card.capability, 132),
            is_integrated=0,
            shared_memory_per_block_optin=232448,
        )

    said = {
        "device_count": lambda: _card.count,
        "_device_count_nvml": lambda: _card.count,
        "current_device": lambda: 0,
        "set_device": lambda *_: None,
        "get_device_name": lambda *_: _card.name,
        "get_device_capability": lambda *_: _card.capability,
        "get_device_properties": properties,
        "mem_get_info": lambda *_: (_card.memory_bytes, _card.memory_bytes),
    }
    for name, function in said.items():
        setattr(torch.cuda, name, function)


def device_type(kind: str | None = None) -> str:
    """The platform's ``device_type``; with ``kind`` it is changed."""
    import vllm.platforms as platforms

    if kind is not None:
        type(platforms._current_platform).device_type = kind
    return str(type(platforms._current_platform).device_type)
