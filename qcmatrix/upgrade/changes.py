"""Option by option: what happened to it between two releases."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

from qcmatrix.catalogue.releases import Flag, Release, flag_history
from qcmatrix.deployment import Deployment
from qcmatrix.launch.launch import Launch

__all__ = ["Change", "ChangeKind", "default_changes", "option_changes", "variable_changes"]


class ChangeKind(StrEnum):
    """What can happen to an option; what breaks a command stands first."""

    GONE = "gone"
    CHOICE_GONE = "choice gone"
    VARIABLE_GONE = "variable gone"
    MEANING = "meaning changed"
    """A rule speaks of it under one release and not under the other."""
    RENAMED = "renamed"
    DEPRECATED = "deprecated"
    DEFAULT_MOVED = "default moved"
    REDUNDANT = "now redundant"
    WRONG_BEFORE = "wrong before"
    """Under both releases: it is told, and not rewritten."""
    KEPT = "the same"


class Change(msgspec.Struct, frozen=True):
    """What happened to one option, variable or default."""

    kind: ChangeKind
    about: str
    """``--swap-space 16``, ``VLLM_USE_V1``; of a default, its option."""
    text: str
    """What happened and what comes of it."""
    rule: str | None = None


# What of a deployment is decided by defaults and matters: to memory, to speed, to what clients see.
_EFFECTIVE: dict[str, str] = {
    "gpu_memory_utilization": "--gpu-memory-utilization",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
    "enable_chunked_prefill": "--enable-chunked-prefill",
    "context": "--max-model-len",
    "swap_space_gib": "--swap-space",
    "max_logprobs": "--max-logprobs",
    "generation_config": "--generation-config",
    "data_parallel_backend": "--data-parallel-backend",
    "kv_cache_dtype": "--kv-cache-dtype",
}
_DECLARED = ("enable_prefix_caching", "async_scheduling", "optimization_level", "mamba_cache_mode", "moe_backend",
             "all2all_backend", "cudagraph_mode", "scheduling_policy", "disable_hybrid_kv_cache_manager")  # fmt: skip
"""Options whose default as declared is told when it moves."""


def option_changes(launch: Launch, before: Release, after: Release) -> Iterator[Change]:
    """Of every option that the command gives, in its order."""
    for dest, value in launch.options.items():
        old, new = before.flag_by_dest.get(dest), after.flag_by_dest.get(dest)
        shown = _shown(old or new, dest, value)
        if new is None and old is not None and any(after.version in had for had in flag_history(old.names[0])):
            yield Change(ChangeKind.KEPT, shown, "")  # the words are the same, and belong to another option now
            continue
        if new is None:
            yield Change(ChangeKind.GONE, shown, _gone(dest, before, after))
            continue
        if old is None:
            continue  # the old release did not know it either: the rules say so
        if new.choices and not _chosen(value, new):
            known = ", ".join(new.choices[:12]) + (" ..." if len(new.choices) > 12 else "")
            yield Change(ChangeKind.CHOICE_GONE, shown, f"vLLM {after} takes {known}")
        elif old.names[0] not in new.names:
            yield Change(ChangeKind.RENAMED, shown, f"it is {new.names[0]} now")
        elif new.deprecated and not old.deprecated:
            yield Change(ChangeKind.DEPRECATED, shown, f"still taken by vLLM {after}, with a warning")
        elif new.default != old.default and _equal(value, new.default) and not _equal(value, old.default):
            text = f"the default was {_plain(old.default)} and is {_plain(new.default)}: it can be left out"
            yield Change(ChangeKind.REDUNDANT, shown, text)
        else:
            yield Change(ChangeKind.KEPT, shown, "")


def variable_changes(launch: Launch, before: Release, after: Release) -> Iterator[Change]:
    """Of every ``VLLM_*`` variable that the command sets."""
    for name, value in launch.env.items():
        if not name.startswith("VLLM_") or name not in before.file.environment:
            continue
        if name not in after.file.environment:
            yield Change(ChangeKind.VARIABLE_GONE, name, f"vLLM {after} does not read it")
            continue
        old, new = before.file.environment[name], after.file.environment[name]
        if old != new and new == value:
            text = f"its default was {_plain(old)} and is {_plain(new)}: it can be left out"
            yield Change(ChangeKind.REDUNDANT, name, text)
        else:
            yield Change(ChangeKind.KEPT, name, "")


def default_changes(before: Deployment, after: Deployment) -> Iterator[Change]:
    """Of what the command leaves to vLLM: where the two releases fill in something else."""
    given = before.given | frozenset(before.options)
    for attribute, name in _EFFECTIVE.items():
        dest = name[2:].replace("-", "_")
        old, new = getattr(before, attribute), getattr(after, attribute)
        if old != new and dest not in given:
            yield Change(ChangeKind.DEFAULT_MOVED, name, f"{_plain(old)} -> {_plain(new)}")
    for dest in _DECLARED:
        flag_before, flag_after = before.release.flag_by_dest.get(dest), after.release.flag_by_dest.get(dest)
        if flag_before is None or flag_after is None or dest in given or flag_before.default == flag_after.default:
            continue
        text = f"{_plain(flag_before.default)} -> {_plain(flag_after.default)}"
        yield Change(ChangeKind.DEFAULT_MOVED, flag_after.names[0], text)


def _gone(dest: str, before: Release, after: Release) -> str:
    old = before.flag_by_dest.get(dest)
    history = flag_history(old.names[0]) if old is not None else ()
    left = [had.high for had in history if had.high is not None]
    return f"vLLM has it no more since {left[-1]}" if left else f"vLLM {after} has no such option"


def _shown(flag: Flag | None, dest: str, value: Any) -> str:
    from qcmatrix.launch.secrets import MASK, is_secret_name

    name = flag.names[0] if flag is not None else "--" + dest.replace("_", "-")
    if isinstance(value, bool):
        return name if value or flag is None or not flag.negations else flag.negations[0]
    return f"{name} {MASK if is_secret_name(dest) else _plain(value)}"


def _chosen(value: Any, flag: Flag) -> bool:
    values = value if isinstance(value, (list, tuple)) else [value]
    return all(each is None or str(each) in flag.choices for each in values)


def _equal(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _plain(value: Any) -> str:
    if value is None:
        return "vLLM's choice"
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    return str(value)
