"""Release files as text: sorted, one flag a line, the same bytes for the same facts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from qcmatrix.catalogue.releases import History, ReleaseFile
from qcmatrix.versions import parse_version

__all__ = ["Change", "build_index", "encode_index", "encode_release", "read_releases", "unified_diff"]

Change = tuple[Path, str, str]
"""A file, its text now (empty: none) and its text to be."""


def encode_release(release: ReleaseFile) -> str:
    """The text of ``data/releases/<version>.json``."""
    return _encode(msgspec.to_builtins(release))


def encode_index(index: History) -> str:
    """The text of ``data/releases/index.json``."""
    return _encode(msgspec.to_builtins(index))


def _encode(data: Mapping[str, Any]) -> str:
    """JSON with one line for every entry of a top-level list or table."""
    parts = []
    for key, value in data.items():
        if isinstance(value, dict) and value and key != "scheduler":
            lines = [f"  {_compact(name)}: {_compact(item)}" for name, item in value.items()]
            text = "{\n" + ",\n".join(lines) + "\n }"
        elif isinstance(value, (list, tuple)) and value:
            text = "[\n" + ",\n".join(f"  {_compact(item)}" for item in value) + "\n ]"
        else:
            text = _compact(value)
        parts.append(f" {_compact(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def read_releases(directory: Path) -> dict[str, ReleaseFile]:
    """Version -> file, of the release files in ``directory``."""
    decoder = msgspec.json.Decoder(ReleaseFile)
    found = (decoder.decode(path.read_bytes()) for path in directory.glob("*.json") if path.name != "index.json")
    return {release.version: release for release in found}


def build_index(releases: Iterable[ReleaseFile]) -> History:
    """In which releases each flag, variable and parser exists, as half-open ranges ``(first, gone)``."""
    ordered = sorted(releases, key=lambda release: parse_version(release.version))
    return History(
        releases={release.version: release.date for release in ordered},
        flags=_ranges(ordered, lambda r: [flag.dest for flag in r.flags]),
        names=_ranges(ordered, lambda r: [name for flag in r.flags for name in (*flag.names, *flag.negations)]),
        environment=_ranges(ordered, lambda r: r.environment),
        tool_parsers=_ranges(ordered, lambda r: r.tool_parsers),
        reasoning_parsers=_ranges(ordered, lambda r: r.reasoning_parsers),
    )


def _ranges(
    ordered: list[ReleaseFile], names: Callable[[ReleaseFile], Iterable[str]]
) -> dict[str, tuple[tuple[str, str | None], ...]]:
    found: dict[str, list[tuple[str, str | None]]] = {}
    before: set[str] = set()
    for release in ordered:
        now = set(names(release))
        for name in now - before:
            found.setdefault(name, []).append((release.version, None))
        for name in before - now:
            found[name][-1] = (found[name][-1][0], release.version)
        before = now
    return {name: tuple(ranges) for name, ranges in sorted(found.items())}


def unified_diff(change: Change) -> str:
    """What would change in one file, for a person."""
    path, now, then = change
    lines = difflib.unified_diff(
        now.splitlines(keepends=True), then.splitlines(keepends=True), f"a/{path.name}", f"b/{path.name}", n=0
    )
    return "".join(lines)
