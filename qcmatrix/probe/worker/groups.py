"""One rank of many without the others: fake process groups, and a model built on the meta device."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from . import pretend

_EXPERT_MAPS = (
    "vllm.model_executor.layers.fused_moe.expert_map_manager",
    "vllm.model_executor.layers.fused_moe.layer",
)
"""Where releases keep the tables that say which rank has which expert, newest first."""


@functools.cache
def ready() -> None:
    """A CUDA host with process groups, in vLLM's eyes: what each handler calls first. Works once per process."""
    pretend.pretend_cuda()
    pretend_process_groups()


def pretend_process_groups() -> None:
    """Each ``torch.distributed`` group gets torch's "fake" backend; message queues are left out. Once per process."""
    import torch.distributed as dist
    import vllm.distributed.parallel_state as parallel_state

    importlib.import_module("torch.testing._internal.distributed.fake_pg")  # registers the backend
    new_group = dist.new_group

    def fake_group(ranks: Any = None, **_: Any) -> Any:
        return new_group(ranks, backend="fake")

    dist.new_group = fake_group
    make = parallel_state.GroupCoordinator.__init__

    def without_queue(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs["use_message_queue_broadcaster"] = False
        make(self, *args, **kwargs)

    parallel_state.GroupCoordinator.__init__ = without_queue
    # it would send messages to find out; the count decides nothing about one rank's layers
    parallel_state._node_count = lambda *_: 1
    loading: Any = importlib.import_module("vllm.model_executor.model_loader.utils")
    if hasattr(loading, "record_metadata_for_reloading"):  # half of the time, for weights that never come
        loading.record_metadata_for_reloading = lambda *_: None
    _expert_maps_on_cpu()


def _expert_maps_on_cpu() -> None:
    """The expert tables are read as numbers while the model is made, which a meta tensor has none of."""
    for name in _EXPERT_MAPS:
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        if hasattr(module, "determine_expert_map"):
            module.determine_expert_map = _on_cpu(module.determine_expert_map)
        if hasattr(module, "get_compressed_expert_map"):
            module.get_compressed_expert_map = lambda *_: ""  # a line for the log
        manager: Any = getattr(module, "ExpertMapManager", None)
        if hasattr(manager, "get_compressed_map_string"):
            manager.get_compressed_map_string = lambda *_: ""


def _on_cpu(function: Any) -> Any:
    import torch

    def called(*args: Any, **kwargs: Any) -> Any:
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return called


def world_size(vllm_config: Any) -> int:
    """Ranks of the whole launch, data parallel ones included."""
    parallel = vllm_config.parallel_config
    return int(
        parallel.tensor_parallel_size
        * parallel.pipeline_parallel_size
        * parallel.data_parallel_size
        * getattr(parallel, "prefill_context_parallel_size", 1)
    )


@contextlib.contextmanager
def one_rank(vllm_config: Any, rank: int = 0) -> Iterator[None]:
    """Be global ``rank`` (data parallel outermost, then pipeline, then tensor) of the launch ``vllm_config``.

    ``vllm_config`` is the current one inside; its ``data_parallel_rank`` is set to what ``rank`` means.
    """
    import torch.distributed as dist
    import vllm.distributed.parallel_state as parallel_state
    from torch.testing._internal.distributed.fake_pg import FakeStore
    from vllm.config import set_current_vllm_config

    parallel = vllm_config.parallel_config
    world = world_size(vllm_config)
    parallel.data_parallel_rank = rank // (world // parallel.data_parallel_size)
    sizes = {
        "decode_context_model_parallel_size": getattr(parallel, "decode_context_parallel_size", 1),
        "prefill_context_model_parallel_size": getattr(parallel, "prefill_context_parallel_size", 1),
    }
    known = inspect.signature(parallel_state.initialize_model_parallel).parameters
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
    kind = pretend.device_type()
    pretend.device_type("cpu")  # what a layer makes on "the device" by name has to be somewhere
    try:
        with set_current_vllm_config(vllm_config):
            parallel_state._WORLD = parallel_state.GroupCoordinator(
                [list(range(world))], 0, "fake", False, group_name="world"
            )
            parallel_state.initialize_model_parallel(
                parallel.tensor_parallel_size,
                parallel.pipeline_parallel_size,
                backend="fake",
                **{name: size for name, size in sizes.items() if name in known},
            )
            yield
    finally:
        pretend.device_type(kind)
        with contextlib.suppress(Exception):  # groups half made by an error inside
            parallel_state.destroy_model_parallel()
        parallel_state._WORLD = None
        dist.destroy_process_group()


@contextlib.contextmanager
def build_model(vllm_config: Any, rank: int = 0) -> Iterator[Any]:
    """The model of global ``rank`` on the meta device: all shapes, no memory, no weights. Inside, the rank is current.

    Compilation is switched off in ``vllm_config`` (it wraps the model's class, not its layers), and the layers of an
    earlier model are forgotten.
    """
    import torch
    from vllm.model_executor.model_loader.utils import initialize_model

    compilation = vllm_config.compilation_config
    for name in ("mode", "level"):  # called `level` before 0.11.1 or so
        if hasattr(compilation, name):
            setattr(compilation, name, 0)
    compilation.static_forward_context.clear()
    with one_rank(vllm_config, rank):
        with torch.device("meta"), _current_device("meta"), default_dtype(vllm_config.model_config.dtype):
            model = initialize_model(vllm_config)
        yield model


@contextlib.contextmanager
def _current_device(name: str) -> Iterator[None]:
    """Some layers put a tensor on "the current CUDA device" by name (0.10.2: the norm of a gated delta net)."""
    import torch

    before = torch.cuda.current_device
    torch.cuda.current_device = lambda: torch.device(name)
    try:
        yield
    finally:
        torch.cuda.current_device = before


@contextlib.contextmanager
def default_dtype(dtype: Any) -> Iterator[None]:
    """``torch.set_default_dtype`` for a while."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
