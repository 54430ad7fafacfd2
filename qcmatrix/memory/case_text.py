"""Reading what people write about GPUs and releases: free text of the public cases.

A log line names the source line that printed it (``gpu_worker.py:298``), and those numbers differ between releases, so
a quoted line often tells the release although nobody stated it. The numbers are in ``data/log_lines.json``.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from qcmatrix.catalogue.gpus import Gpu, find_gpus
from qcmatrix.catalogue.releases import newest_release, release_dates
from qcmatrix.errors import CatalogueError

__all__ = ["Stated", "gpu_of", "release_of", "several_cards"]

UNKNOWN_RELEASES = ("0.19.0", "0.10.2", "0.13.0", "0.28.0")
"""Tried when nothing tells the release: one of each way of counting (:mod:`qcmatrix.memory.profile_run`)."""

_LINE = re.compile(
    r"\b(gpu_worker|gpu_model_runner|model_runner|kv_cache_utils)\.py:(\d+)\]\s*"
    r"(Available KV cache memory|Free memory on device|Model loading took|Graph capturing finished|GPU KV cache size)"
)
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?(?:\.?(?:rc|post|dev|a|b)\d+)*(?:\.dev\d+)?(?:\+[\w.]+)?")
_GPU_WORDS = frozenset({"class", "gpus", "blackwell", "max-q", "hbm3"})
"""Words beside a card's name that do not change which card it is."""
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DATES = (
    re.compile(r"\b(?P<y>20\d\d)-(?P<m>[01]\d)-(?P<d>[0-3]\d)"),
    re.compile(r"_(?P<d>[0-3]\d)_(?P<m>[01]\d)_(?P<y>20\d\d)(?!\d)"),
    re.compile(r"_(?P<m>[01]\d)_(?P<y>20\d\d)(?!\d)"),
    re.compile(rf"\b(?P<name>{'|'.join(_MONTHS)}) (?P<y>20\d\d)\b"),
)


@dataclass(frozen=True, slots=True)
class Stated:
    """Which release a case ran."""

    candidates: tuple[str, ...]
    """The one to predict with first; more than one when nothing tells it."""
    known: bool
    """Stated, or told by the source lines in a quoted log."""
    basis: str
    before: bool = False
    """Older than every release covered: the oldest stands in for it, for the size of the weights."""


def release_of(version: str | None, quote: str, dated: str) -> Stated:
    """The release of a case, from what it states, the source lines in its quote, or a date in ``dated``."""
    if version and (match := _VERSION.search(version.lstrip("v~ "))):
        try:
            parsed = Version(match[0])
        except InvalidVersion:
            parsed = None
        # `0.1.dev19754`: a build without tags, which says nothing.
        if parsed is not None and not (parsed.release[:2] == (0, 1) and parsed.is_devrelease):
            if parsed < Version(oldest := next(iter(release_dates()))):
                return Stated(
                    (oldest,), False, f"stated {parsed}: predicted with {oldest}, the oldest covered", before=True
                )
            exact = not parsed.is_devrelease and "fork" not in version
            return Stated((str(parsed),), exact, "stated" if exact else "stated: a development build")
    if told := _told_by_lines(quote):
        return Stated((told,), True, "told by the source lines in the log")
    for pattern in _DATES:
        if match := pattern.search(f"{version or ''} {dated}"):
            parts = match.groupdict()
            named = parts.get("name")
            month = _MONTHS.index(named) + 1 if named else int(parts["m"])
            day = datetime.date(int(parts["y"]), month, int(parts.get("d") or 28))
            newest = [name for name, date in release_dates().items() if date <= day]
            if newest:
                return Stated((newest[-1],), False, f"guessed: the newest on {day}")
            oldest = next(iter(release_dates()))
            return Stated((oldest,), False, f"from {day}: predicted with {oldest}, the oldest covered", before=True)
    return Stated((*UNKNOWN_RELEASES, newest_release()), False, "not known: several releases tried")


class _LogLines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    read: datetime.date
    lines: dict[str, dict[int, tuple[str, ...]]]


@lru_cache(maxsize=1)
def _log_lines() -> _LogLines:
    path = Path(__file__).parent / "data" / "log_lines.json"
    return msgspec.json.decode(path.read_bytes(), type=_LogLines)


def _told_by_lines(quote: str) -> str | None:
    """The oldest release that prints every quoted line at its number; ``None``: none quoted, or no release does."""
    lines = _log_lines().lines
    possible: set[str] | None = None
    for file, number, words in _LINE.findall(quote):
        releases = lines.get(f"{file}.py: {words}", {}).get(int(number))
        if releases is None:
            return None  # a fork, or a build between releases
        possible = set(releases) if possible is None else possible & set(releases)
    return min(possible, key=Version, default=None) if possible else None


def gpu_of(text: str) -> Gpu | None:
    """The card that ``text`` speaks of, of several alternatives the first; ``None``: different ones together, or none
    that is listed."""
    found = _cards_in(text)
    return found[0] if found else None


def several_cards(text: str) -> bool:
    """Does ``text`` name alternatives with different memory?"""
    return len({round(gpu.visible_gib, 1) for gpu in _cards_in(text)}) > 1


def _cards_in(text: str) -> tuple[Gpu, ...]:
    plain = re.sub(r"\(.*?\)", " ", text)
    if "+" in plain:
        return ()
    found: list[Gpu] = []
    for part in re.split(r"/|\bor\b|,", plain):
        words = [word for word in part.split() if word.casefold() not in _GPU_WORDS]
        while words and words[0].isdigit():
            words.pop(0)
        for length in range(len(words), 0, -1):
            try:
                cards = find_gpus(" ".join(words[:length]))
            except CatalogueError:
                continue
            found.extend(cards)
            break
    return tuple(found)
