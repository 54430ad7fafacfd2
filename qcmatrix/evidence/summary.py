"""What the records say of each rule, packed: small enough to be read by every answer that names a rule.

``data/summary.json`` is made from the records by ``python -m qcmatrix.report --write``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from qcmatrix.catalogue.releases import release_names

__all__ = ["RuleStatus", "Summary", "as_ranges", "from_ranges", "lines_of", "spoken", "status_of", "summary"]

_FILE = Path(__file__).parent / "data" / "summary.json"
_TO = ".."


class RuleStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What real releases did with the cases of one rule. Releases are ranges: ``0.10.0..0.28.0``, ``0.30.0``."""

    probed: tuple[str, ...] = ()
    """They did with a breach what the rule says."""
    ended: tuple[str, ...] = ()
    """The rule does not hold there, and what breaks it elsewhere is accepted, or falls under another rule."""
    contradicted: tuple[str, ...] = ()
    """They did something else, and nobody knows why."""
    date: str = ""
    """Of the newest record."""
    words: str = ""
    """vLLM's, on the newest release that refused a breach."""
    words_of: str = ""
    """That release."""
    not_askable: str = ""
    """Why no release on a machine without a GPU can tell."""


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rules of which anything is known."""

    rules: dict[str, RuleStatus] = {}


@lru_cache(maxsize=1)
def summary() -> Summary:
    """The packaged summary; empty where nothing was asked yet."""
    try:
        return msgspec.json.decode(_FILE.read_bytes(), type=Summary)
    except FileNotFoundError:
        return Summary()


def status_of(rule_id: str) -> RuleStatus:
    """What is known of one rule."""
    return summary().rules.get(rule_id, RuleStatus())


def as_ranges(releases: Iterable[str], known: Sequence[str] | None = None) -> tuple[str, ...]:
    """``releases`` with neighbours put together; ``known`` are all, in order (``None``: the catalogue's)."""
    wanted = set(releases)
    ranges: list[list[str]] = []
    before = False
    for name in release_names() if known is None else known:
        if name in wanted:
            if before:
                ranges[-1][1:] = [name]
            else:
                ranges.append([name])
        before = name in wanted
    return tuple(_TO.join(ends) for ends in ranges)


@lru_cache(maxsize=512)
def from_ranges(ranges: tuple[str, ...]) -> tuple[str, ...]:
    """The releases that ``ranges`` stand for."""
    names = release_names()
    found: list[str] = []
    for text in ranges:
        first, _, last = text.partition(_TO)
        found += names[names.index(first) : names.index(last or first) + 1]
    return tuple(found)


def spoken(ranges: Iterable[str]) -> str:
    """``0.10.0 to 0.28.0, 0.30.0``."""
    return ", ".join(text.replace(_TO, " to ") for text in ranges)


def lines_of(status: RuleStatus) -> tuple[tuple[str, str], ...]:
    """What to tell a reader of a rule: a word in front, and what follows it."""
    asked = f" (asked {status.date})" if status.date else ""
    lines = (
        ("Probed", f"agrees on {spoken(status.probed)}{asked}" if status.probed else ""),
        ("Ended", f"seen not to hold on {spoken(status.ended)}" if status.ended else ""),
        ("Contradicted", f"on {spoken(status.contradicted)}{asked}" if status.contradicted else ""),
        ("Not askable", status.not_askable),
        ("vLLM's words", f"{status.words} ({status.words_of})" if status.words else ""),
    )
    return tuple((name, text) for name, text in lines if text)
