"""A launch -> the words of ``vllm serve``, in an order that people read well, and back into paste-able shell text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from qcmatrix.catalogue.releases import Flag, Release
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.secrets import redact
from qcmatrix.launch.shell import join_shell
from qcmatrix.launch.values import takes_no_value, write_values

__all__ = ["render", "render_groups", "render_shell"]

# Parallelism, context, memory, positions, tools, front; what is not named here comes last, by name.
_ORDER = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "data_parallel_size_local",
    "data_parallel_start_rank",
    "data_parallel_rank",
    "data_parallel_address",
    "data_parallel_rpc_port",
    "data_parallel_backend",
    "decode_context_parallel_size",
    "prefill_context_parallel_size",
    "enable_expert_parallel",
    "distributed_executor_backend",
    "nnodes",
    "node_rank",
    "master_addr",
    "master_port",
    "headless",
    "api_server_count",
    "max_model_len",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "kv_cache_dtype",
    "dtype",
    "quantization",
    "max_num_seqs",
    "max_num_batched_tokens",
    "enable_chunked_prefill",
    "enable_prefix_caching",
    "block_size",
    "swap_space",
    "cpu_offload_gb",
    "enforce_eager",
    "compilation_config",
    "rope_scaling",
    "rope_theta",
    "hf_overrides",
    "enable_auto_tool_choice",
    "tool_call_parser",
    "reasoning_parser",
    "chat_template",
    "served_model_name",
    "host",
    "port",
    "api_key",
)
_RANK = {dest: index for index, dest in enumerate(_ORDER)}


def render(launch: Launch, release: Release) -> tuple[str, ...]:
    """``("vllm", "serve", MODEL, ...)``: canonical option names, compact JSON; the environment is not in it.

    ``parse(render(launch, release), release)`` gives ``launch`` back, as long as its options are values that the
    release's options can have. A switch that can only be turned on is left out when it is false; an option that the
    release does not have is spelled by its dest.
    """
    lead, groups = render_groups(launch, release)
    return (*lead, *(word for group in groups for word in group))


def render_shell(launch: Launch, release: Release, width: int = 80, *, show_secrets: bool = False) -> str:
    """``launch`` as shell text to paste: environment first, one option a line when it is wider than ``width``.

    Words are quoted for a POSIX shell; an option is never broken from its value, so long JSON makes a long line. Keys
    and tokens are shown as ``***`` unless ``show_secrets``.
    """
    shown = launch if show_secrets else redact(launch)
    lead, groups = render_groups(shown, release)
    return join_shell(lead, groups, shown.env, width)


def render_groups(launch: Launch, release: Release) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The words of :func:`render` before the options, and one group for each option with its values."""
    lead = ("vllm", "serve", launch.model) if launch.model else ("vllm", "serve")
    groups: list[tuple[str, ...]] = []
    for dest, value in sorted(launch.options.items(), key=_rank):
        if dest != "model":
            groups.extend(_option(_flag(release, dest, value), value))
    unknown = _unknown_groups(launch.unknown)
    if unknown and not unknown[0][0].startswith("-"):
        # A word of no option must not become a value of the option before it.
        return lead, (*unknown, *groups)
    return lead, (*groups, *unknown)


def _rank(item: tuple[str, Any]) -> tuple[int, str]:
    return _RANK.get(item[0], len(_RANK)), item[0]


@lru_cache(maxsize=4096)
def _stand_in(dest: str, switch: bool) -> Flag:
    name = "--" + dest.replace("_", "-")
    negations = ("--no-" + name[2:],) if switch else ()
    return Flag(dest=dest, names=(name,), negations=negations, type="bool" if switch else "str", none_allowed=True)


def _flag(release: Release, dest: str, value: Any) -> Flag:
    return release.flag_by_dest.get(dest) or _stand_in(dest, isinstance(value, bool))


def _option(flag: Flag, value: Any) -> list[tuple[str, ...]]:
    name = flag.names[0]
    if takes_no_value(flag):
        if value is None:
            return []
        if flag.default is True and not flag.negations:  # store_false
            return [] if value else [(name,)]
        if value:
            return [(name,)]
        return [(flag.negations[0],)] if flag.negations else []
    if flag.nargs == "?" and value is True:
        return [(name,)]
    if flag.repeatable and isinstance(value, (list, tuple)):
        return [_with_value(name, write_values(flag, each)) for each in value]
    return [_with_value(name, write_values(flag, value))]


def _with_value(name: str, words: Sequence[str]) -> tuple[str, ...]:
    if len(words) == 1 and words[0].startswith("-"):
        return (f"{name}={words[0]}",)  # a bare word that starts with a dash would be read as an option
    return (name, *words)


def _unknown_groups(words: Sequence[str]) -> list[tuple[str, ...]]:
    groups: list[list[str]] = []
    for word in words:
        if not groups or (word.startswith("-") and len(word) > 1 and not word[1].isdigit()):
            groups.append([word])
        else:
            groups[-1].append(word)
    return [tuple(group) for group in groups]
