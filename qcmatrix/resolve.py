"""A launch -> a deployment: the release's defaults for that GPU are filled in.

Mirrors what ``EngineArgs.create_engine_config`` of each release does before a GPU is touched, as far as something in the
project depends on it. A :class:`Resolver` is made once per release, fleet and checkpoint; a planner resolves thousands of
launches with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final

from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import Architecture, Checkpoint, Quantization
from qcmatrix.catalogue.names import ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release, scheduler_defaults
from qcmatrix.deployment import Deployment, RopeRequest, Speculation
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.yarn import native_positions, positions_of, served_length
from qcmatrix.versions import Range

__all__ = ["Resolver", "online_quantization", "resolve", "rope_request"]

_FIELDS: Final = frozenset(field.name for field in fields(Deployment))

# Attributes that are named like the option and take its value as it is.
_AS_GIVEN: Final = frozenset(
    {
        "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "decode_context_parallel_size",
        "prefill_context_parallel_size", "enable_expert_parallel", "data_parallel_size_local", "data_parallel_rank",
        "data_parallel_start_rank", "data_parallel_backend", "data_parallel_external_lb", "data_parallel_hybrid_lb",
        "nnodes", "node_rank", "headless", "distributed_executor_backend", "all2all_backend", "enable_eplb",
        "num_redundant_experts", "enable_dbo", "disable_custom_all_reduce", "dtype", "load_format",
        "trust_remote_code", "model_impl", "cpu_offload_gb", "moe_backend", "linear_backend", "enable_lora", "max_loras",
        "max_lora_rank", "max_model_len", "gpu_memory_utilization", "kv_cache_memory_bytes", "kv_cache_dtype",
        "calculate_kv_scales", "block_size", "enable_prefix_caching", "kv_offloading_size", "num_gpu_blocks_override",
        "disable_hybrid_kv_cache_manager", "mamba_cache_dtype", "mamba_ssm_cache_dtype", "mamba_block_size",
        "mamba_cache_mode", "enable_sleep_mode", "enforce_eager", "max_cudagraph_capture_size", "async_scheduling",
        "performance_mode", "max_logprobs", "enable_auto_tool_choice", "tool_call_parser", "tool_parser_plugin",
        "reasoning_parser", "chat_template", "generation_config", "host", "port", "uds", "api_server_count",
    }
)  # fmt: skip

_ROPE = frozenset({"hf_overrides", "rope_scaling", "rope_theta", "max_model_len"})
_SCHEDULER = frozenset(
    {
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_seqs",
        "enable_chunked_prefill",
        "performance_mode",
        "enable_expert_parallel",
        "data_parallel_size",
        "all2all_backend",
        *_ROPE,
    }
)
_CUDAGRAPH_MODES = ("NONE", "PIECEWISE", "FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE")
"""By number, as ``CUDAGraphMode`` counts them (the last two are pairs, which nobody writes as numbers)."""
_OPTIMIZATION_LEVELS = Range("0.12.0", None)


def resolve(launch: Launch, release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> Deployment:
    """``launch`` of ``checkpoint`` on ``fleet`` under ``release``, with everything filled in.

    Values that are out of bounds (a negative size) are kept: finding them is the rules' business.
    """
    return _resolver(release, fleet, checkpoint).resolve(launch)


@lru_cache(maxsize=64)
def _resolver(release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> Resolver:
    return Resolver(release, fleet, checkpoint)


class Resolver:
    """Resolves launches of one checkpoint on one fleet under one release."""

    def __init__(self, release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> None:
        self.release = release
        self.fleet = fleet
        self.checkpoint: Checkpoint = checkpoint.checkpoint
        self.architecture: Architecture = checkpoint.architecture
        self._scheduled: dict[tuple[Any, ...], tuple[int, int]] = {}
        self._lengths: dict[RopeRequest | None, int] = {}
        swap = release.flag_by_dest.get("swap_space")
        self._published = self._published_rope()
        self._base: dict[str, Any] = {
            "release": release,
            "fleet": fleet,
            "gpu": fleet.gpu,
            "checkpoint": self.checkpoint,
            "architecture": self.architecture,
            "quantization": self.checkpoint.quantization,
            "gpu_memory_utilization": release.file.gpu_memory_utilization,
            "swap_space_gib": None if swap is None else float(swap.default),
            "rope": self._published,
        }
        for flag in release.flag_by_dest.values():
            if flag.dest in _AS_GIVEN and flag.default is not None and flag.dest not in self._base:
                self._base[flag.dest] = flag.default
        if self._base.get("reasoning_parser") == "":
            del self._base["reasoning_parser"]
        if self._base.get("tool_parser_plugin") == "":
            del self._base["tool_parser_plugin"]
        self._base.pop("mamba_cache_mode", None)  # None says that it was not given
        self._base["context"] = self._derived(self._published)
        self._base["max_num_batched_tokens"], self._base["max_num_seqs"] = self._schedule(self._base, {})

    def resolve(self, launch: Launch) -> Deployment:
        """``launch`` with the release's defaults filled in."""
        options = launch.options
        made = {
            **self._base,
            "options": options,
            "env": launch.env,
            "unknown": launch.unknown,
            "model": launch.model,
            "given": frozenset(options),
            "served_model_names": (launch.model,),
        }
        for dest, value in options.items():
            if dest in _AS_GIVEN:
                if value is not None:
                    made[dest] = value
            elif (convert := _CONVERTED.get(dest)) is not None:
                convert(self, value, made)
        if launch.env:
            self._from_env(launch.env, made)
        if not _ROPE.isdisjoint(options):
            self._positions(options, made)
        if not _SCHEDULER.isdisjoint(options):
            made["max_num_batched_tokens"], made["max_num_seqs"] = self._schedule(made, options)
        return Deployment(**made)

    # Lengths

    def _published_rope(self) -> RopeRequest | None:
        scaling = self.architecture.rope_scaling
        return None if scaling is None else _rope("config", scaling, None, None)

    def _derived(self, rope: RopeRequest | None) -> int:
        """The longest length that the release takes by itself."""
        length = self._lengths.get(rope)
        if length is None:
            positions = positions_of(self.release.version, self.architecture, self.checkpoint, rope)
            length = self._lengths[rope] = positions.derived
        return length

    def _positions(self, options: Mapping[str, Any], made: dict[str, Any]) -> None:
        rope = made["rope"] = rope_request(options) or self._published
        asked = made.get("max_model_len")
        made["context"] = asked if asked is not None and asked >= 0 else self._derived(rope)

    def _schedule(self, made: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[int, int]:
        tokens, seqs = options.get("max_num_batched_tokens"), options.get("max_num_seqs")
        key = (
            made["context"],
            tokens,
            seqs,
            options.get("enable_chunked_prefill"),
            made.get("performance_mode", "balanced"),
            made.get("enable_expert_parallel", False),
            made.get("data_parallel_size", 1),
            made.get("all2all_backend"),
        )
        found = self._scheduled.get(key)
        if found is None:
            gpu = self.fleet.gpu
            found = self._scheduled[key] = scheduler_defaults(
                self.release,
                visible_gib=gpu.visible_gib,
                device_name=gpu.device_name,
                compute_capability=gpu.compute_capability,
                max_model_len=key[0],
                max_num_batched_tokens=tokens,
                max_num_seqs=seqs,
                enable_chunked_prefill=key[3],
                performance_mode=key[4],
                enable_expert_parallel=key[5],
                data_parallel_size=key[6],
                all2all_backend=key[7],
            )
        return found

    def _from_env(self, env: Mapping[str, str], made: dict[str, Any]) -> None:
        partition = env.get("VLLM_PP_LAYER_PARTITION")
        if partition:
            made["pipeline_partition"] = _partition(partition)
        if env.get("VLLM_API_KEY"):
            made["api_key_in_env"] = True
        if made.get("attention_backend") is None and "VLLM_ATTENTION_BACKEND" in self.release.file.environment:
            backend = env.get("VLLM_ATTENTION_BACKEND")
            made["attention_backend"] = backend.upper() if backend else None
        backend = env.get("VLLM_ALL2ALL_BACKEND")
        if backend and "all2all_backend" not in made["options"] and "VLLM_ALL2ALL_BACKEND" in self.release.file.environment:
            made["all2all_backend"] = backend

    # Options whose attribute is made from the value

    def _quantization(self, value: Any, made: dict[str, Any]) -> None:
        if value is None:
            return
        made["quantization_flag"] = value
        made["quantization"] = online_quantization(str(value), self.checkpoint.quantization)

    def _swap_space(self, value: Any, made: dict[str, Any]) -> None:
        if value is not None and "swap_space" in self.release.flag_by_dest:
            made["swap_space_gib"] = float(value)

    def _chunked(self, value: Any, made: dict[str, Any]) -> None:
        if value is False and not self.release.file.scheduler.chunking_forced:
            made["enable_chunked_prefill"] = False

    def _served_names(self, value: Any, made: dict[str, Any]) -> None:
        if value:
            made["served_model_names"] = (value,) if isinstance(value, str) else tuple(value)

    def _graph_sizes(self, value: Any, made: dict[str, Any]) -> None:
        sizes = _sizes(value)
        if sizes is not None and len(sizes) == 1:  # one number is the largest size (0.10.0 up to 0.12.0)
            made["max_cudagraph_capture_size"] = sizes[0]
        elif sizes:
            made["cudagraph_capture_sizes"] = sizes

    def _capture_sizes(self, value: Any, made: dict[str, Any]) -> None:
        sizes = _sizes(value)
        if sizes is not None:
            made["cudagraph_capture_sizes"] = sizes

    def _compilation(self, value: Any, made: dict[str, Any]) -> None:
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            made["compilation_mode"] = value  # --compilation-config 3
            return
        if not isinstance(value, dict):
            return
        mode = value.get("mode", value.get("level"))
        if isinstance(mode, (int, str)):
            made["compilation_mode"] = mode
        graphs = value.get("cudagraph_mode")
        if isinstance(graphs, str):
            made["cudagraph_mode"] = graphs.upper()
        elif isinstance(graphs, int) and 0 <= graphs < len(_CUDAGRAPH_MODES):
            made["cudagraph_mode"] = _CUDAGRAPH_MODES[graphs]
        elif value.get("use_cudagraph") is False:
            made["cudagraph_mode"] = "NONE"
        if "cudagraph_capture_sizes" not in made:
            self._capture_sizes(value.get("cudagraph_capture_sizes"), made)
        largest = value.get("max_cudagraph_capture_size")
        if isinstance(largest, int) and "max_cudagraph_capture_size" not in made:
            made["max_cudagraph_capture_size"] = largest

    def _optimization_level(self, value: Any, made: dict[str, Any]) -> None:
        if str(value).isdigit() and self.release.version in _OPTIMIZATION_LEVELS:
            made["optimization_level"] = int(value)

    def _speculative(self, value: Any, made: dict[str, Any]) -> None:
        if isinstance(value, dict) and value:
            made["speculation"] = Speculation(
                method=_text(value.get("method")),
                model=_text(value.get("model")),
                num_speculative_tokens=_whole(value.get("num_speculative_tokens")),
                draft_tensor_parallel_size=_whole(value.get("draft_tensor_parallel_size")),
            )

    def _spec_shorthand(self, value: Any, made: dict[str, Any]) -> None:
        options = made["options"]
        if value is not None and not options.get("speculative_config"):
            made["speculation"] = Speculation(
                method=_text(options.get("spec_method")),
                model=_text(options.get("spec_model")),
                num_speculative_tokens=_whole(options.get("spec_tokens")),
            )

    def _attention_config(self, value: Any, made: dict[str, Any]) -> None:
        if isinstance(value, dict) and isinstance(value.get("backend"), str) and not made.get("attention_backend"):
            made["attention_backend"] = value["backend"].upper()

    def _attention_backend(self, value: Any, made: dict[str, Any]) -> None:
        if value:
            made["attention_backend"] = str(value).upper()

    def _override_keys(self, value: Any, made: dict[str, Any]) -> None:
        if isinstance(value, dict):
            made["override_keys"] = tuple(sorted(map(str, value)))

    def _eplb(self, value: Any, made: dict[str, Any]) -> None:
        redundant = _whole(value.get("num_redundant_experts")) if isinstance(value, dict) else None
        if redundant is not None:
            made["num_redundant_experts"] = redundant

    def _flag_given(self, value: Any, made: dict[str, Any], *, name: str) -> None:
        made[name] = bool(value)

    def _text_given(self, value: Any, made: dict[str, Any], *, name: str) -> None:
        made[name] = _text(value)


def _given(name: str) -> Callable[[Resolver, Any, dict[str, Any]], None]:
    def convert(resolver: Resolver, value: Any, made: dict[str, Any]) -> None:
        resolver._flag_given(value, made, name=name)

    return convert


_CONVERTED: Final[Mapping[str, Callable[[Resolver, Any, dict[str, Any]], None]]] = {
    "quantization": Resolver._quantization,
    "swap_space": Resolver._swap_space,
    "enable_chunked_prefill": Resolver._chunked,
    "served_model_name": Resolver._served_names,
    "cuda_graph_sizes": Resolver._graph_sizes,
    "cudagraph_capture_sizes": Resolver._capture_sizes,
    "compilation_config": Resolver._compilation,
    "optimization_level": Resolver._optimization_level,
    "speculative_config": Resolver._speculative,
    "spec_method": Resolver._spec_shorthand,
    "spec_model": Resolver._spec_shorthand,
    "spec_tokens": Resolver._spec_shorthand,
    "attention_config": Resolver._attention_config,
    "attention_backend": Resolver._attention_backend,
    "hf_overrides": Resolver._override_keys,
    "eplb_config": Resolver._eplb,
    "api_key": _given("api_key_given"),
    "kv_transfer_config": _given("kv_transfer"),
    "ssl_certfile": _given("ssl_given"),
    "config": lambda _, value, made: made.__setitem__("config_file", _text(value)),
}
