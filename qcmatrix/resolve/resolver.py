"""Filling in what a launch leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import Architecture, Checkpoint, ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release, scheduler_defaults
from qcmatrix.deployment import Deployment, RopeRequest
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.rope import ROPE_KEYS, ROPE_KEYS_EARLY, rope_from, rope_request_by
from qcmatrix.launch.yarn import SCALING, positions_of
from qcmatrix.resolve.options import CONVERTED, Facts, Made
from qcmatrix.versions import Range

__all__ = ["Resolver"]

# Attributes that are made from something else than the option of their name, or have no option.
_MADE_UP: Final = frozenset(
    {
        "release",
        "fleet",
        "gpu",
        "checkpoint",
        "architecture",
        "quantization",
        "options",
        "env",
        "unknown",
        "model",
        "given",
        "pipeline_partition",
        "quantization_flag",
        "context",
        "max_num_batched_tokens",
        "max_num_seqs",
        "enable_chunked_prefill",
        "swap_space_gib",
        "attention_backend",
        "kv_transfer",
        "optimization_level",
        "compilation_mode",
        "cudagraph_mode",
        "cudagraph_capture_sizes",
        "rope",
        "override_keys",
        "speculation",
        "served_model_names",
        "ssl_given",
        "api_key_given",
        "api_key_in_env",
        "config_file",
    }
)
_AS_GIVEN: Final = frozenset(Deployment.__struct_fields__) - _MADE_UP
"""Attributes that are named like the option and take its value as it is."""

_ROPE = frozenset({"hf_overrides", "rope_scaling"})
_POSITIONS = _ROPE | {"max_model_len"}
_SCHEDULER = frozenset(
    {
        "max_num_batched_tokens",
        "max_num_seqs",
        "enable_chunked_prefill",
        "performance_mode",
        "enable_expert_parallel",
        "data_parallel_size",
        "all2all_backend",
        *_POSITIONS,
    }
)


_GONE_BACKENDS: Final = {"pplx": Range("0.17.0"), "naive": Range("0.19.0")}
"""All-to-all backends that are still a choice and stand for the default: ``vllm/config/parallel.py``."""


class Resolver:
    """Resolves launches of one checkpoint on one fleet under one release."""

    def __init__(self, release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> None:
        self.release = release
        self.fleet = fleet
        self.checkpoint: Checkpoint = checkpoint.checkpoint
        self.architecture: Architecture = checkpoint.architecture
        self._scheduled: dict[tuple[Any, ...], tuple[int, int]] = {}
        self._lengths: dict[RopeRequest | None, int] = {}
        self._rope_keys = ROPE_KEYS_EARLY if release.version in SCALING else ROPE_KEYS
        published = self.architecture.rope_scaling
        self._published = None if published is None else rope_from("config", published, None, None)
        self._gone_backends = frozenset(name for name, gone in _GONE_BACKENDS.items() if release.version in gone)
        self._facts = Facts(release, self.checkpoint)
        self._base = self._defaults()

    def _defaults(self) -> Deployment:
        """What a launch without any option is."""
        release = self.release
        swap = release.flag_by_dest.get("swap_space")
        made: Made = {
            "release": release,
            "fleet": self.fleet,
            "gpu": self.fleet.gpu,
            "checkpoint": self.checkpoint,
            "architecture": self.architecture,
            "quantization": self.checkpoint.quantization,
            "options": {},
            "env": {},
            "unknown": (),
            "gpu_memory_utilization": release.file.gpu_memory_utilization,
            "swap_space_gib": None if swap is None else float(swap.default),
            "rope": self._published,
            "context": self._derived(self._published),
        }
        for flag in release.flag_by_dest.values():
            # Empty texts and an unasked-for cache mode say that nothing was given.
            if flag.dest in _AS_GIVEN and flag.default not in (None, "") and flag.dest != "mamba_cache_mode":
                made.setdefault(flag.dest, flag.default)
        made["max_num_batched_tokens"], made["max_num_seqs"] = self._schedule(made, made, {})
        return Deployment(**made)

    def resolve(self, launch: Launch) -> Deployment:
        """``launch`` with the release's defaults filled in; some microseconds."""
        options = launch.options
        made: Made = {
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
            elif (convert := CONVERTED.get(dest)) is not None:
                convert(value, made, self._facts)
        if launch.env:
            self._from_env(launch.env, made)
        if made.get("all2all_backend") in self._gone_backends:
            made["all2all_backend"] = "allgather_reducescatter"
        if not _POSITIONS.isdisjoint(options):
            self._positions(options, made)
        if not _SCHEDULER.isdisjoint(options):
            base = self._base
            given = {
                "context": made.get("context", base.context),
                "performance_mode": made.get("performance_mode", base.performance_mode),
                "all2all_backend": made.get("all2all_backend", base.all2all_backend),
            }
            made["max_num_batched_tokens"], made["max_num_seqs"] = self._schedule(given, made, options)
        return msgspec.structs.replace(self._base, **made)

    def _derived(self, rope: RopeRequest | None) -> int:
        """The longest length that the release takes by itself."""
        length = self._lengths.get(rope)
        if length is None:
            positions = positions_of(self.release.version, self.architecture, self.checkpoint, rope)
            length = self._lengths[rope] = positions.derived
        return length

    def _positions(self, options: Mapping[str, Any], made: Made) -> None:
        rope = None if _ROPE.isdisjoint(options) else rope_request_by(options, self._rope_keys)
        if rope is None:
            rope = self._published
        elif rope.form == "max-position-embeddings" and self._published is not None:
            rope = msgspec.structs.replace(self._published, max_position_embeddings=rope.max_position_embeddings)
        made["rope"] = rope
        asked = made.get("max_model_len")
        made["context"] = asked if asked is not None and asked >= 0 else self._derived(rope)

    def _schedule(self, filled: Made, made: Made, options: Mapping[str, Any]) -> tuple[int, int]:
        key = (
            filled["context"],
            options.get("max_num_batched_tokens"),
            options.get("max_num_seqs"),
            options.get("enable_chunked_prefill"),
            filled.get("performance_mode", "balanced"),
            made.get("enable_expert_parallel", False),
            made.get("data_parallel_size", 1),
            filled.get("all2all_backend"),
        )
        found = self._scheduled.get(key)
        if found is None:
            gpu = self.fleet.gpu
            found = self._scheduled[key] = scheduler_defaults(
                self.release,
                # NVML cannot tell the memory of a card that shares the host's (GB10): vLLM then takes the small
                # defaults, 2048 tokens and 256 sequences in public logs of 0.13 and 0.27.1.
                visible_gib=0.0 if gpu.unified_memory else gpu.visible_gib,
                device_name=gpu.device_name,
                compute_capability=gpu.compute_capability,
                max_model_len=key[0],
                max_num_batched_tokens=key[1],
                max_num_seqs=key[2],
                enable_chunked_prefill=key[3],
                performance_mode=key[4],
                enable_expert_parallel=key[5],
                data_parallel_size=key[6],
                all2all_backend=key[7],
            )
        return found

    def _from_env(self, env: Mapping[str, str], made: Made) -> None:
        """Variables that count only where the release reads them."""
        known, options = self.release.file.environment, made["options"]
        partition = env.get("VLLM_PP_LAYER_PARTITION")
        if partition:
            made["pipeline_partition"] = _partition(partition)
        if env.get("VLLM_API_KEY"):
            made["api_key_in_env"] = True
        attention = env.get("VLLM_ATTENTION_BACKEND")
        if attention and "VLLM_ATTENTION_BACKEND" in known and "attention_backend" not in made:
            made["attention_backend"] = attention.upper()
        all2all = env.get("VLLM_ALL2ALL_BACKEND")
        if all2all and "VLLM_ALL2ALL_BACKEND" in known and options.get("all2all_backend") is None:
            made["all2all_backend"] = all2all


def _partition(text: str) -> tuple[int, ...] | None:
    """``VLLM_PP_LAYER_PARTITION=15,16,16,15``; ``None`` for what vLLM cannot read either (it stops)."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        return None
