"""What is wrong with a ``matrix.toml`` besides its launches: names that are not there, days gone by, pairs that are
none. Every problem is one line."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.gpus import gpu_names
from qcmatrix.catalogue.releases import load_release
from qcmatrix.errors import UserError
from qcmatrix.launch.parse import parse
from qcmatrix.launch.shell import split_shell
from qcmatrix.matrix.entries import CPU, TINY, Budget, Entry, ExpectedFailure, Matrix
from qcmatrix.versions import Range, parse_version

__all__ = ["CheckNames", "problems_of"]

_WORKLOAD = re.compile(r"LAT-\d\d(\.[a-z0-9-]+)?")
_TAG = re.compile(r":v?(\d+\.\d+\.\d+[\w.+]*)")
_LONGER = frozenset({"max_model_len", "hf_overrides", "rope_scaling", "rope_theta"})
"""What a YaRN entry may have otherwise than its twin."""
_LONGER_ENV = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"


class CheckNames(msgspec.Struct, frozen=True):
    """What can be asked; :mod:`qcmatrix.suites.registry` knows it, which stands above the matrix."""

    ids: frozenset[str]
    groups: frozenset[str]
    """Suites and profiles."""

    def has(self, name: str) -> bool:
        """Is it a suite, a profile, a check or the stem of its variants?"""
        return name in self.groups or name in self.ids or any(each.startswith(f"{name}.") for each in self.ids)


def problems_of(matrix: Matrix, *, today: datetime.date, names: CheckNames | None = None) -> tuple[str, ...]:
    """All problems of ``matrix`` as :func:`~qcmatrix.matrix.entries.read_matrix` gives it, in its order.

    Without ``names`` what is called by the name of a check is not looked up.
    """
    entries = {entry.id: entry for entry in matrix.entry}
    found: list[str] = []
    found += _profile_problems("defaults", (*matrix.defaults.profiles, *(matrix.defaults.cpu_profiles or ())), names)
    found += (f"defaults: {problem}" for problem in _budget_problems(matrix.defaults.budgets, None, entries, names))
    if matrix.defaults.boot_seconds <= 0:
        found.append(f"defaults: boot_seconds is {matrix.defaults.boot_seconds:g}")
    for entry in matrix.entry:
        found += (f"{entry.id}: {problem}" for problem in _entry_problems(entry, matrix, entries, today, names))
    for failure in matrix.expected_failure:
        name = f"expected_failure {failure.check}"
        found += (f"{name}: {problem}" for problem in _failure_problems(failure, matrix, today, names))
    return tuple(dict.fromkeys(found))


def _entry_problems(
    entry: Entry, matrix: Matrix, entries: Mapping[str, Entry], today: datetime.date, names: CheckNames | None
) -> Iterator[str]:
    if not entry.source.startswith("https://"):
        yield f"source must be a public URL, not {entry.source!r}"
    if entry.read > today:
        yield f"read on {entry.read}, which is to come"
    if entry.boot_seconds is not None and entry.boot_seconds <= 0:
        yield f"boot_seconds is {entry.boot_seconds:g}"
    if entry.profiles != matrix.defaults.profiles:
        yield from _profile_problems("", entry.profiles or (), names)
    own = tuple(budget for budget in entry.budgets if budget not in matrix.defaults.budgets)
    yield from _budget_problems(own, entry, entries, names)
    if (tag := _TAG.search(entry.image)) and tag[1] != entry.vllm:
        yield f"its image is of vLLM {tag[1]}, it is for {entry.vllm}"
    try:
        options, env = _asked(entry)
    except UserError:
        return  # it is judged, and its problem told, as a launch
    is_dummy = options.get("load_format") == "dummy" or TINY in (entry.checkpoint, options["model"])
    if is_dummy != (entry.weights == "random"):
        yield f"its weights are {'random' if is_dummy else 'real'} by its command, {entry.weights} by its own word"
    if entry.twin:
        yield from _twin_problems(entry, options, env, entries)


def _twin_problems(
    entry: Entry, options: Mapping[str, Any], env: Mapping[str, str], entries: Mapping[str, Entry]
) -> Iterator[str]:
    """A twin is the same launch without YaRN, so that what differs between the two is YaRN's doing."""
    twin = entries[entry.twin]
    if not _has_yarn(options):
        yield "it has a twin and asks for no YaRN"
    if not (entry.serves and twin.serves):
        yield f"it or its twin {twin.id} is not expected to start"
    try:
        others, other_env = _asked(twin)
    except UserError:
        return
    if _has_yarn(others):
        yield f"its twin {twin.id} asks for YaRN as well"
    for what, mine, its in (
        ("fleet", entry.fleet, twin.fleet),
        ("release", entry.vllm, twin.vllm),
        ("image", entry.image, twin.image),
        ("weights", entry.weights, twin.weights),
    ):
        if mine != its:
            yield f"its twin {twin.id} has another {what}: {its or 'none'}, not {mine or 'none'}"
    apart = {name for name in {*options, *others} - _LONGER if options.get(name) != others.get(name)}
    apart |= {name for name in {*env, *other_env} - {_LONGER_ENV} if env.get(name) != other_env.get(name)}
    if apart:
        yield f"its twin {twin.id} differs in more than YaRN: {', '.join(sorted(apart))}"


def _failure_problems(
    failure: ExpectedFailure, matrix: Matrix, today: datetime.date, names: CheckNames | None
) -> Iterator[str]:
    if failure.expires <= today:
        yield f"expired on {failure.expires}: look again at {failure.issue}, then set another day or take it out"
    if failure.low and failure.high and parse_version(failure.low) >= parse_version(failure.high):
        yield f"from {failure.low} to before {failure.high} there is no release"
    elif not any(
        parse_version(entry.vllm) in Range(failure.low, failure.high)
        for entry in matrix.entry
        if not failure.entries or any(fnmatchcase(entry.id, pattern) for pattern in failure.entries)
    ):
        yield "no entry that it is of has a release in its range"
    if names is not None and not any(fnmatchcase(each, failure.check) for each in names.ids):
        yield "there is no such check"


def _budget_problems(
    budgets: Iterable[Budget], entry: Entry | None, ids: Iterable[str], names: CheckNames | None
) -> Iterator[str]:
    seen: set[tuple[Any, ...]] = set()
    cards = gpu_names()
    for budget in budgets:
        name = f"budget {budget.workload} {budget.metric} {budget.quantile} on {budget.gpu}"
        if (*budget.key, budget.entries) in seen:
            yield f"{name}: there are two"
        seen.add((*budget.key, budget.entries))
        if budget.gpu not in cards:
            yield f"{name}: there is no GPU of that name (`qcmatrix gpus`)"
        elif entry is not None and not _runs_on(entry, budget.gpu):
            yield f"{name}: it runs on {entry.fleet}"
        known = _WORKLOAD.fullmatch(budget.workload) is not None if names is None else names.has(budget.workload)
        if not known:
            yield f"{name}: there is no such workload"
        if budget.entries and entry is not None:
            yield f"{name}: `entries` belongs to the defaults"
        elif budget.entries and not any(fnmatchcase(each, one) for one in budget.entries for each in ids):
            yield f"{name}: no entry is called {', '.join(budget.entries)}"
        if not budget.most > 0:
            yield f"{name}: at most {budget.most:g} ms"
        if budget.source and not budget.source.startswith("https://"):
            yield f"{name}: source must be a public URL, not {budget.source!r}"


def _profile_problems(where: str, profiles: Iterable[str], names: CheckNames | None) -> Iterator[str]:
    if names is not None:
        prefix = f"{where}: " if where else ""
        yield from (
            f"{prefix}no suite, profile or check is called {name!r}" for name in profiles if not names.has(name)
        )


def _asked(entry: Entry) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    command = split_shell(entry.command)
    launch = parse(command.argv, load_release(entry.vllm), env=command.env).launch
    return {"model": launch.model, **launch.options}, launch.env


def _has_yarn(options: Mapping[str, Any]) -> bool:
    return any("yarn" in str(options.get(name, "")) for name in ("hf_overrides", "rope_scaling"))


def _runs_on(entry: Entry, gpu: str) -> bool:
    if entry.fleet == CPU:
        return False
    try:
        return any(fleet.gpu.name == gpu for fleet in parse_fleet(entry.fleet))
    except UserError:
        return True  # told elsewhere
