"""The launch that serves a wish in a given shape, asked for as the release wants it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qcmatrix.launch.launch import Launch
from qcmatrix.launch.yarn import LARGEST_VALIDATED_FACTOR, trained_positions, yarn_for
from qcmatrix.planner.nodes import head_options
from qcmatrix.planner.request import Request
from qcmatrix.planner.space import Shape

__all__ = ["kv_choices", "largest_positions", "launch_of", "native_positions"]


def native_positions(request: Request) -> int:
    """Positions that the checkpoint was published for."""
    return request.checkpoint.architecture.max_position_embeddings


def largest_positions(request: Request) -> int:
    """The longest context that can be asked for rightly: native, or YaRN times four."""
    return int(trained_positions(native_positions(request)) * LARGEST_VALIDATED_FACTOR)


def launch_of(request: Request, shape: Shape, context: int, kv_cache_dtype: str | None) -> Launch:
    """The launch of ``shape`` that serves ``context`` tokens, asked for as the release wants it."""
    checkpoint = request.checkpoint.checkpoint
    options: dict[str, Any] = {}
    env: dict[str, str] = {}
    if shape.tensor_parallel_size > 1:
        options["tensor_parallel_size"] = shape.tensor_parallel_size
    if shape.pipeline_parallel_size > 1:
        options["pipeline_parallel_size"] = shape.pipeline_parallel_size
    if shape.data_parallel_size > 1:
        options["data_parallel_size"] = shape.data_parallel_size
    if shape.enable_expert_parallel:
        options["enable_expert_parallel"] = True
    options["max_model_len"] = context
    if context > native_positions(request):
        yarn_options, yarn_env = yarn_for(request.release.version, request.checkpoint.architecture, checkpoint, context)
        options.update(yarn_options)
        env.update(yarn_env)
    if kv_cache_dtype not in (None, "auto"):
        options["kv_cache_dtype"] = kv_cache_dtype
    if request.gpu_memory_utilization is not None:
        options["gpu_memory_utilization"] = request.gpu_memory_utilization
    if request.max_num_seqs is not None:
        options["max_num_seqs"] = request.max_num_seqs
    if request.max_num_batched_tokens is not None:
        options["max_num_batched_tokens"] = request.max_num_batched_tokens
    if request.tools and checkpoint.tool_call_parser is not None:
        options["enable_auto_tool_choice"] = True
        options["tool_call_parser"] = checkpoint.tool_call_parser
    options.update(head_options(shape, request.fleet, request.release))
    return Launch(model=_model(request), options=options, env=env)


def _model(request: Request) -> str:
    """What to write in the command: the repository, or the directory of a local checkpoint."""
    path = request.checkpoint.path
    if path is None:
        return request.checkpoint.repository
    return str(Path(path).parent) if Path(path).name == "config.json" else "MODEL_DIRECTORY"


def kv_choices(request: Request) -> Iterator[str]:
    """KV cache types to try: as wished, or 16 bit first and FP8 after."""
    if request.kv_cache_dtype is not None:
        yield request.kv_cache_dtype
    else:
        yield "auto"
        yield "fp8"
