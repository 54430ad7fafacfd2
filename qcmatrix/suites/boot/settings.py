"""The configuration that a server runs with, by its own words: its development route, or its log."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from qcmatrix.errors import UserError
from qcmatrix.launch.rope import RopeRequest
from qcmatrix.startup_log.arguments import items_of
from qcmatrix.startup_log.reader import Attempt, read_log
from qcmatrix.suites.bench import Bench

__all__ = [
    "Rotary",
    "attempt_of",
    "by_our_names",
    "differences",
    "of_development_route",
    "of_inspection",
    "of_log",
    "rotary_in",
    "yarn_faults",
]

_ROUTE = "/server_info?config_format=json"
"""Of servers with ``VLLM_SERVER_DEV_MODE=1``."""
_CALL = "/collective_rpc"
_ROTARY = re.compile(r"\(rotary_emb\): (?P<kind>\w+)\((?P<values>[^)]*)\)")
_VALUE = re.compile(r"(\w+)=([^,]+)")
_PLACES = {
    "max_model_len": ("model_config", "max_model_len"),
    "dtype": ("model_config", "dtype"),
    "quantization": ("model_config", "quantization"),
    "enforce_eager": ("model_config", "enforce_eager"),
    "kv_cache_dtype": ("cache_config", "cache_dtype"),
    "tensor_parallel_size": ("parallel_config", "tensor_parallel_size"),
    "pipeline_parallel_size": ("parallel_config", "pipeline_parallel_size"),
    "data_parallel_size": ("parallel_config", "data_parallel_size"),
    "enable_expert_parallel": ("parallel_config", "enable_expert_parallel"),
    "max_num_seqs": ("scheduler_config", "max_num_seqs"),
    "max_num_batched_tokens": ("scheduler_config", "max_num_batched_tokens"),
}
_IN_THE_LOG = {
    "max_model_len": "max_seq_len",
    "dtype": "dtype",
    "quantization": "quantization",
    "enforce_eager": "enforce_eager",
    "kv_cache_dtype": "kv_cache_dtype",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "data_parallel_size": "data_parallel_size",
}
"""Our name to the one in the line ``Initializing a V1 LLM engine (...) with config:``."""
_SAME = {"half": "float16", "float": "float32", "fp8": "fp8_e4m3"}
"""Two names of one thing (``vllm/config/model.py``, ``vllm/config/cache.py``)."""
_LEFT_OPEN = (None, "auto")


def of_development_route(bench: Bench) -> Mapping[str, Any] | None:
    """The whole configuration as ``/server_info`` tells it; ``None``: the server does not tell it."""
    reply = bench.wire.get(_ROUTE)
    told = reply.json
    config = told.get("vllm_config") if reply.status == 200 and isinstance(told, dict) else None
    return config if isinstance(config, dict) else None


def by_our_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``config`` an option asks for, by the option's dest."""
    found = {}
    for name, (part, key) in _PLACES.items():
        inner = config.get(part)
        if isinstance(inner, dict) and key in inner:
            found[name] = inner[key]
    return found


def attempt_of(log: Path) -> Attempt | None:
    """What the log of a server tells of its start; ``None``: it cannot be read."""
    try:
        with log.open("rb") as stream:
            return read_log(stream, log.name).attempt
    except (OSError, UserError):
        return None


def of_log(attempt: Attempt) -> dict[str, Any]:
    """What the engine's line of configuration says, by the dest of the option that asks for it."""
    for _, text in attempt.arguments:
        if " with config: " in text:
            items, _unread = items_of("(" + text.partition(" with config: ")[2].strip())
            return {ours: items[theirs] for ours, theirs in _IN_THE_LOG.items() if theirs in items}
    return {}


def differences(asked: Mapping[str, Any], resolved: Mapping[str, Any]) -> list[str]:
    """Where the server runs with something else than it was asked for, a line each.

    What was left open (``auto``) and what the server does not tell is no difference.
    """
    found = []
    for name, told in resolved.items():
        wanted = asked.get(name)
        if wanted in _LEFT_OPEN or (name == "max_model_len" and wanted == -1):
            continue
        if _plain(wanted) != _plain(told):
            found.append(f"{name} {wanted!r} was asked for, {told!r} is in effect")
    return found


def of_inspection(bench: Bench) -> str:
    """The model as the engine made it, printed; empty: the server tells it neither in its log nor by a route.

    In the log with ``VLLM_LOG_MODEL_INSPECTION=1``; by ``/collective_rpc`` in development mode
    (``VLLM_SERVER_DEV_MODE=1``). Both from 0.14.0.
    """
    if bench.subject.server is not None:
        try:
            text = bench.subject.server.log.read_text("utf-8", "replace")
        except OSError:
            text = ""
        if _ROTARY.search(text):
            return str(text)
    reply = bench.wire.post(_CALL, {"method": "get_model_inspection"})
    told = reply.json.get("results") if reply.status == 200 and isinstance(reply.json, dict) else None
    return "\n".join(str(each) for each in told) if isinstance(told, list) else ""


class Rotary(msgspec.Struct, frozen=True):
    """The rotary embedding of a model as it was made."""

    kind: str
    """Class in ``vllm/model_executor/layers/rotary_embedding``."""
    base: float | None
    positions: float | None
    """Of YaRN: the original length."""


def rotary_in(inspection: str) -> tuple[Rotary, ...]:
    """The different rotary embeddings in a printed model."""
    found = []
    for match in _ROTARY.finditer(inspection):
        values = dict(_VALUE.findall(match["values"]))
        found.append(Rotary(match["kind"], _number(values.get("base")), _number(values.get("max_position_embeddings"))))
    return tuple(dict.fromkeys(found))


def yarn_faults(asked: RopeRequest, made: Rotary) -> list[str]:
    """What of the YaRN that was asked for is not in effect, a line each."""
    found = []
    if "yarn" not in made.kind.lower():
        found.append(f"the rotary embedding is {made.kind}")
    for name, wanted, told in (
        ("rope_theta", asked.rope_theta, made.base),
        ("original_max_position_embeddings", asked.original_max_position_embeddings, made.positions),
    ):
        if told is None:
            found.append(f"{name} is null")
        elif wanted is not None and not math.isclose(told, wanted):
            found.append(f"{name} is {told:g} instead of {wanted:g}")
    return found


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        word = value.removeprefix("torch.")
        return _SAME.get(word, word)
    return value
