"""vLLM releases and their surface: flags, environment variables, parsers, defaults that depend on the machine.

The files in ``data/releases/`` are written by ``qcmatrix.refresh`` from the published source, never by hand.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from qcmatrix.errors import CatalogueError, RequestError
from qcmatrix.versions import Range, Version, parse_version

__all__ = [
    "Flag",
    "History",
    "Release",
    "ReleaseFile",
    "SchedulerDefaults",
    "SchedulerTier",
    "ValueType",
    "environment_history",
    "flag_history",
    "forget_releases",
    "load_release",
    "newest_release",
    "release_dates",
    "release_names",
    "scheduler_defaults",
    "tool_parser_history",
]

DATA = Path(__file__).parent / "data" / "releases"

ValueType = Literal["str", "int", "human_int", "float", "bool", "json", "optional_bool"]


class Flag(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One option of ``vllm serve``."""

    dest: str
    """``tensor_parallel_size``."""
    names: tuple[str, ...]
    """All spellings that argparse knows, canonical long one first: ``--tensor-parallel-size``, ``-tp``."""
    negations: tuple[str, ...] = ()
    """``--no-enable-expert-parallel`` and the like."""
    type: ValueType = "str"
    nargs: str | int | None = None
    """argparse's ``nargs`` (``+``, ``*``, ``?``)."""
    default: Any = None
    """The default as the release's source states it (JSON-able), or ``None`` where it is computed."""
    choices: tuple[str, ...] = ()
    """What argparse accepts, as text. Empty: any value."""
    known: tuple[str, ...] = ()
    """Values that the release names without refusing others at this point (plugins may add some)."""
    none_allowed: bool = False
    """``None`` and the empty text read as no value."""
    accepts_auto: bool = False
    """``-1`` and ``auto`` read as -1: the release chooses."""
    text_allowed: bool = False
    """``json`` only: what is not a JSON object is taken as text."""
    folded: bool = False
    """``str`` only: read in lower case, with hyphens as underscores."""
    repeatable: bool = False
    """Giving it again adds a value."""
    deprecated: bool = False
    group: str = ""
    """The configuration class it belongs to: ``ModelConfig``."""


class SchedulerTier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What one class of GPU gets from ``vllm serve`` (``UsageContext.OPENAI_API_SERVER``)."""

    min_gib: float = 0.0
    """Total memory that the device reports, at least."""
    not_names: tuple[str, ...] = ()
    """Left out: a device whose name, in lower case, contains one of these."""
    not_capabilities: tuple[tuple[int, int], ...] = ()
    """Left out: CUDA compute capabilities."""
    max_num_batched_tokens: int
    max_num_seqs: int


class SchedulerDefaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What ``vllm serve`` fills in when the flag is not given (``EngineArgs._set_default_*``)."""

    tiers: tuple[SchedulerTier, ...]
    """The first that fits counts; the last fits every device."""
    seqs_at_most_tokens: bool = False
    """A default number of sequences is cut to the number of batched tokens."""
    tokens_at_most_all_sequences: bool = False
    """A default number of batched tokens is cut to sequences x context."""
    chunking_forced: bool = False
    """``--no-enable-chunked-prefill`` is ignored for generating models."""
    unchunked_tokens: Literal["context", "at-least-context"] = "context"
    """Without chunked prefill the default number of batched tokens is the context, or at least the context."""
    throughput_factor: int = 1
    """Both defaults are multiplied by it under ``--performance-mode throughput``."""
    batched_data_parallel_tokens: int | None = None
    """The default number of batched tokens for expert parallel data parallelism over one of
    ``batched_data_parallel_backends``; ``None``: no such rule."""
    batched_data_parallel_backends: tuple[str, ...] = ()


class ReleaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``data/releases/<version>.json``."""

    version: str
    date: datetime.date
    """Day of upload to PyPI."""
    source: str
    """The archive it was extracted from: ``vllm-0.33.0.tar.gz (PyPI sdist)``."""
    extracted: datetime.date
    flags: tuple[Flag, ...]
    environment: dict[str, str | None]
    """``VLLM_*`` variables that the release reads -> the default as its source states it."""
    tool_parsers: dict[str, str]
    """``--tool-call-parser`` names -> class name."""
    reasoning_parsers: dict[str, str] = {}
    """``--reasoning-parser`` names -> class name."""
    scheduler: SchedulerDefaults
    gpu_memory_utilization: float
    """Default of ``--gpu-memory-utilization``."""
    cudagraph_estimated: bool
    """``True``: CUDA graph memory is estimated and taken out of the budget before KV."""
    notes: tuple[str, ...] = ()


Ranges = tuple[tuple[str, str | None], ...]
"""Half-open: the first release that has it, the first one that has it no more (``None``: still there)."""


class History(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``data/releases/index.json``: in which releases a thing exists, so that not every file has to be read.

    A range that begins with the oldest release covered may have begun earlier.
    """

    releases: dict[str, datetime.date]
    """Oldest first -> day of upload."""
    flags: dict[str, Ranges]
    """By dest."""
    names: dict[str, Ranges]
    """By spelling, aliases and negations included."""
    environment: dict[str, Ranges]
    tool_parsers: dict[str, Ranges]
    reasoning_parsers: dict[str, Ranges]


class Release(msgspec.Struct, frozen=True, eq=False, dict=True):
    """One vLLM release and its surface. Two are equal when their names are."""

    name: str
    """As asked for, normalised: ``0.32.0+cpu``."""
    version: Version
    file: ReleaseFile
    """The surface: of this release, or of the nearest listed one (:attr:`surface_of`)."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Release) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Release({self.name!r})"

    @property
    def is_listed(self) -> bool:
        """``False``: the surface is that of :attr:`surface_of`, the nearest release that the catalogue lists."""
        return self.name == self.file.version

    @property
    def surface_of(self) -> str:
        """The listed release whose flags, variables, parsers and defaults these are."""
        return self.file.version

    @cached_property
    def flag_by_dest(self) -> Mapping[str, Flag]:
        """``tensor_parallel_size`` -> flag."""
        return {flag.dest: flag for flag in self.file.flags}

    @cached_property
    def flag_by_name(self) -> Mapping[str, Flag]:
        """``--tensor-parallel-size``, ``-tp`` -> flag. Negations are apart: :attr:`flag_by_negation`."""
        return {name: flag for flag in self.file.flags for name in flag.names}

    @cached_property
    def flag_by_negation(self) -> Mapping[str, Flag]:
        """``--no-enable-expert-parallel`` -> flag that it switches off."""
        return {name: flag for flag in self.file.flags for name in flag.negations}

    def has_flag(self, name_or_dest: str) -> bool:
        """Whether ``vllm serve`` takes it: a dest, or any spelling (``--max_model_len`` counts)."""
        if not name_or_dest.startswith("-"):
            return name_or_dest in self.flag_by_dest
        name = _dashes(name_or_dest)
        return name in self.flag_by_name or name in self.flag_by_negation

    def default(self, dest: str) -> Any:
        """The default that the source states; ``None`` also where it is computed.

        Raises:
            KeyError: the release has no such flag.
        """
        return self.flag_by_dest[dest].default


def _dashes(name: str) -> str:
    """vLLM's parser reads underscores of a long option as dashes, up to the first dot."""
    if not name.startswith("--"):
        return name
    head, dot, tail = name.partition(".")
    return head.replace("_", "-") + dot + tail


@lru_cache(maxsize=1)
def _history() -> History:
    return msgspec.json.decode((DATA / "index.json").read_bytes(), type=History)


class _Listed(msgspec.Struct, frozen=True):
    """The part of the index that nearly every command needs: the rest is skipped, not decoded."""

    releases: dict[str, datetime.date]


@lru_cache(maxsize=1)
def release_dates() -> Mapping[str, datetime.date]:
    """Release -> day of upload to PyPI, oldest first."""
    return msgspec.json.decode((DATA / "index.json").read_bytes(), type=_Listed).releases


@lru_cache(maxsize=1)
def release_names() -> tuple[str, ...]:
    """The releases that the catalogue lists, oldest first."""
    return tuple(release_dates())


def newest_release() -> str:
    """The newest release that the catalogue lists."""
    return release_names()[-1]


def load_release(text: str) -> Release:
    """The release that ``text`` names: ``0.33.0``, ``v0.33.0``, ``0.32.0+cpu``, ``0.25.0rc1``.

    A version that is not listed has the surface of the nearest listed one: the greatest whose base version (without
    pre-, post- and local parts) is not greater than its own.

    Raises:
        RequestError: not a version.
        CatalogueError: older than the oldest release covered.
    """
    try:
        version = parse_version(text.strip())
    except RequestError as error:
        raise RequestError(error.what, *_closest(text), *error.notes) from None
    return _load(str(version))


def _closest(text: str) -> tuple[str, ...]:
    import difflib

    found = difflib.get_close_matches(text.strip().lstrip("v"), release_names(), n=1)
    return (f"did you mean `{found[0]}`?",) if found else ()


@lru_cache(maxsize=64)
def _load(name: str) -> Release:
    version = parse_version(name)
    names = release_names()
    if name in names:
        return Release(name, version, _read(name))
    base = parse_version(version.base_version)
    older = [listed for listed in names if parse_version(listed) <= base]
    if not older:
        raise CatalogueError(
            f"vLLM {name} is older than what the catalogue covers",
            f"it covers {names[0]} to {names[-1]}; `qcmatrix releases` lists them",
        )
    return Release(name, version, _read(older[-1]))


@lru_cache(maxsize=64)
def _read(name: str) -> ReleaseFile:
    return msgspec.json.decode((DATA / f"{name}.json").read_bytes(), type=ReleaseFile)


def forget_releases() -> None:
    """Read the files anew from now on: one of them has just been written."""
    for remembered in (_history, release_dates, release_names, _load, _read):
        remembered.cache_clear()


def _as_ranges(ranges: Ranges | None) -> tuple[Range, ...]:
    return tuple(Range(first, gone) for first, gone in ranges or ())


def flag_history(name_or_dest: str) -> tuple[Range, ...]:
    """In which releases ``vllm serve`` has the flag, by dest or by any spelling; empty: in none that is covered."""
    history = _history()
    if name_or_dest.startswith("-"):
        return _as_ranges(history.names.get(_dashes(name_or_dest)))
    return _as_ranges(history.flags.get(name_or_dest))


def environment_history(name: str) -> tuple[Range, ...]:
    """In which releases ``vllm/envs.py`` has the ``VLLM_*`` variable; empty: in none that is covered."""
    return _as_ranges(_history().environment.get(name))


def tool_parser_history(name: str) -> tuple[Range, ...]:
    """In which releases ``--tool-call-parser NAME`` exists; empty: in none that is covered."""
    return _as_ranges(_history().tool_parsers.get(name))


def scheduler_defaults(
    release: Release,
    *,
    visible_gib: float,
    device_name: str = "",
    compute_capability: tuple[int, int] | None = None,
    max_model_len: int | None = None,
    max_num_batched_tokens: int | None = None,
    max_num_seqs: int | None = None,
    enable_chunked_prefill: bool | None = None,
    performance_mode: str = "balanced",
    enable_expert_parallel: bool = False,
    data_parallel_size: int = 1,
    all2all_backend: str | None = None,
) -> tuple[int, int]:
    """``(max_num_batched_tokens, max_num_seqs)`` that ``vllm serve`` uses for a generating model on a CUDA or ROCm GPU.

    Given values (not ``None``) are kept, as vLLM keeps them; the others are filled in as that release's ``EngineArgs``
    does. ``visible_gib`` is the total memory that the device reports, ``device_name`` its name. Without
    ``max_model_len`` the two rules that need the context are left out (they act on short contexts, or without chunked
    prefill).
    """
    rules = release.file.scheduler
    tier = next(t for t in rules.tiers if _fits(t, visible_gib, device_name, compute_capability))
    tokens = tier.max_num_batched_tokens if max_num_batched_tokens is None else max_num_batched_tokens
    seqs = tier.max_num_seqs if max_num_seqs is None else max_num_seqs
    if (
        max_num_batched_tokens is None
        and rules.batched_data_parallel_tokens is not None
        and enable_expert_parallel
        and data_parallel_size > 1
        and all2all_backend in rules.batched_data_parallel_backends
    ):
        tokens = rules.batched_data_parallel_tokens
    if performance_mode == "throughput":
        tokens *= rules.throughput_factor if max_num_batched_tokens is None else 1
        seqs *= rules.throughput_factor if max_num_seqs is None else 1
    if max_num_batched_tokens is None and max_model_len is not None:
        if enable_chunked_prefill is False and not rules.chunking_forced:
            tokens = max_model_len if rules.unchunked_tokens == "context" else max(max_model_len, tokens)
        if rules.tokens_at_most_all_sequences:
            tokens = min(seqs * max_model_len, tokens)
    if max_num_seqs is None and rules.seqs_at_most_tokens:
        seqs = min(seqs, tokens)
    return tokens, seqs


def _fits(tier: SchedulerTier, gib: float, name: str, capability: tuple[int, int] | None) -> bool:
    return (
        gib >= tier.min_gib
        and not any(part in name.lower() for part in tier.not_names)
        and capability not in tier.not_capabilities
    )
