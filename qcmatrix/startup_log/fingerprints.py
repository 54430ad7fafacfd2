"""Fingerprints of failures: what vLLM and the libraries below it print, and what each of it means. They are data.

The files in ``fingerprints/*.toml`` hold them; :func:`fingerprints` reads and checks all of them once. In a pattern a
blank stands for any run of white space, so that a message matches however a terminal or a person has wrapped it.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from qcmatrix.errors import FileProblem

__all__ = [
    "Example",
    "Fingerprint",
    "Match",
    "Outcome",
    "Solve",
    "fingerprints",
    "match_all",
    "match_place",
    "read_fingerprints",
]

Outcome = Literal["kv_too_small", "oom", "config_error", "environment", "unknown"]
Solve = Literal[
    "context",
    "context-native",
    "sequences",
    "batched-tokens",
    "utilization",
    "utilization-down",
    "utilization-free",
    "kv-cache-dtype",
    "kv-cache-dtype-auto",
    "graphs",
    "shape",
    "expert-parallel",
    "model",
    "release",
    "rule",
    "words",
]
"""Changes of the launch that are worth trying; :mod:`qcmatrix.answers.explain_fixes` judges each before offering it."""

_FILES = ("memory", "shapes", "arguments", "model", "hardware", "kernels", "processes", "told")
"""In this order: of two that match the same line, the first is believed."""
_DIRECTORY = Path(__file__).parent / "fingerprints"
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_SPACES = re.compile(r"\s+")
_QUANTIFIER = frozenset("*+?{")


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that the fingerprint matches, and numbers that are read from it."""

    text: str
    numbers: dict[str, float] = {}


class Fingerprint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One failure as it shows in a log."""

    id: str
    title: str
    """What is wrong."""
    outcome: Outcome
    """As the calibration cases name it."""
    anchors: tuple[str, ...]
    """Plain texts of which one stands in every text that a pattern matches: they are tried first, being fast."""
    patterns: tuple[str, ...]
    """Regular expressions; named groups are the numbers and words of ``because`` and ``todo``."""
    because: tuple[str, ...]
    """Why, most telling first; used is the first whose names were all read."""
    todo: tuple[str, ...]
    """What to do where nothing can be solved; chosen likewise."""
    sources: tuple[str, ...]
    examples: tuple[Example, ...]
    kind: Literal["cause", "symptom", "told"] = "cause"
    """``symptom``: says only that something else failed; ``told``: a person's words, not the engine's."""
    tier: int = 3
    """Of several causes the one of the highest tier is believed, then the earliest."""
    rule: str | None = None
    """The rule of qcmatrix about the same mistake."""
    cause: str | None = None
    """Of what is ``told``: the fingerprint that the engine's own line would have."""
    places: tuple[str, ...] = ()
    """Regular expressions for where an exception was raised (``config/vllm.py:12 in f``): one that no pattern knows is
    taken for this failure, its message as ``detail``."""
    solve: tuple[Solve, ...] = ()
    since: str | None = None
    """The first release that prints it (``None``: every one covered)."""
    until: str | None = None
    """The first release that no longer does."""


class Match(msgspec.Struct, frozen=True):
    """A fingerprint found in a text."""

    fingerprint: Fingerprint
    values: dict[str, str]
    """What the named groups hold, as written."""

    @property
    def numbers(self) -> dict[str, float]:
        """Those values that are numbers."""
        return {name: float(text.replace(",", "")) for name, text in self.values.items() if _NUMBER.fullmatch(text)}

    @property
    def because(self) -> str:
        """Why, with the numbers of this very text."""
        return _filled(self.fingerprint.because, self.values) or self.fingerprint.title

    @property
    def todo(self) -> str:
        """What to do, likewise."""
        return _filled(self.fingerprint.todo, self.values)

    @property
    def cause(self) -> str:
        """The id of the cause: the engine's line that a person's words stand for, where they do."""
        return self.fingerprint.cause or self.fingerprint.id


def _names(template: str) -> tuple[str, ...]:
    return tuple(name for _, name, _, _ in string.Formatter().parse(template) if name)


def _filled(templates: tuple[str, ...], values: dict[str, str]) -> str:
    for template in templates:
        if all(values.get(name) for name in _names(template)):
            return template.format_map(values)
    return ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fingerprint: tuple[Fingerprint, ...]


class _Compiled(msgspec.Struct, frozen=True):
    fingerprint: Fingerprint
    patterns: tuple[Any, ...]


@lru_cache(maxsize=1)
def fingerprints() -> tuple[Fingerprint, ...]:
    """All of them, most trusted file first.

    Raises:
        FileProblem: a file that is not what it should be; every problem is one note.
    """
    return tuple(each for name in _FILES for each in read_fingerprints(_DIRECTORY / f"{name}.toml"))


def read_fingerprints(path: Path) -> tuple[Fingerprint, ...]:
    """The fingerprints of one file, checked.

    Raises:
        FileProblem: not readable, or not what it should be; every problem is one note.
    """
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=_File).fingerprint
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise FileProblem(f"{path.name}: not what it should be", str(error)) from None
    problems = [f"{each.id}: {problem}" for each in found for problem in _problems(each)]
    if problems:
        raise FileProblem(f"{path.name}: not what it should be", *problems)
    return found


def _problems(each: Fingerprint) -> list[str]:
    problems = []
    groups: set[str] = {"detail"} if each.places else set()
    for pattern in (*each.patterns, *each.places):
        try:
            groups |= set(_compile(pattern).groupindex)
        except re.error as error:
            problems.append(f"{pattern!r}: {error}")
    for template in (*each.because, *each.todo):
        problems += [f"no pattern reads {{{name}}}" for name in _names(template) if name not in groups]
    if not (each.anchors and each.patterns and each.because and each.todo and each.sources and each.examples):
        problems.append("anchors, patterns, because, todo, sources and examples may not be empty")
    problems += [f"{url!r} is no address" for url in each.sources if not url.startswith("https://")]
    return problems


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    """``pattern`` with its blanks made to stand for any white space, character classes excepted."""
    made: list[str] = []
    inside = False
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            made.append(pattern[position : position + 2])
            position += 2
            continue
        if character == "[" and not inside:
            inside = True
            # A bracket that comes first in a class is a plain character.
            head = re.match(r"\[\^?\]?", pattern[position:])
            taken = head[0] if head else "["
            made.append(taken)
            position += len(taken)
            continue
        if character == "]":
            inside = False
        if character == " " and not inside:
            follows = pattern[position + 1 : position + 2]
            made.append(r"\s" if follows in _QUANTIFIER and follows else r"\s+")
        else:
            made.append(character)
        position += 1
    return re.compile("".join(made))


@lru_cache(maxsize=1)
def _compiled() -> tuple[_Compiled, ...]:
    return tuple(_Compiled(each, tuple(_compile(pattern) for pattern in each.patterns)) for each in fingerprints())


def match_place(where: str, message: str) -> Match | None:
    """What an exception with ``message`` is known as by the place in the sources that raised it; ``None``: nothing."""
    if not where:
        return None
    for each in fingerprints():
        if any(re.search(place, where) for place in each.places):
            return Match(each, {"detail": message})
    return None


def match_all(text: str, *, within: int | None = None) -> list[Match]:
    """Every fingerprint that ``text`` shows, most trusted first; a match begins before ``within`` characters."""
    limit = len(text) if within is None else within
    if "\n" in text or "  " in text:
        text = _SPACES.sub(" ", text)
    found = []
    for each in _compiled():
        if not any(anchor in text for anchor in each.fingerprint.anchors):
            continue
        for pattern in each.patterns:
            match = pattern.search(text)
            if match is not None and match.start() <= limit:
                values = {name: value.strip() for name, value in match.groupdict().items() if value}
                found.append(Match(each.fingerprint, values))
                break
    return found
