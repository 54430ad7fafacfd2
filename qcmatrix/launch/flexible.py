"""What vLLM's ``FlexibleArgumentParser`` does to the words before argparse sees them.

Underscores in option names become dashes, ``-O3`` is spelled out, dotted options such as
``--hf-overrides.rope_parameters.factor 4`` are merged into one JSON value per option and moved behind everything else.
Mirrors ``parse_args`` in ``vllm/utils/__init__.py`` (up to 0.11.0) and ``vllm/utils/argparse_utils.py`` (from 0.11.1),
read in the sources of every release from 0.10.0 to 0.33.0 on 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from qcmatrix.launch.values import human_int
from qcmatrix.versions import Range, Version

__all__ = ["Dangling", "Word", "rewrite"]

_O_LEVEL = Range(None, "0.11.1")  # -O3 -> -O.level=3
_O_MODE = Range("0.11.1", "0.12.0")  # -O3 -> -O.mode=3
_O_DOTTED_IS_CC = Range("0.12.0", "0.13.0")  # -O.x -> -cc.x; from 0.12.0 on -O3 -> --optimization-level 3
_DOTTED_HUMAN = Range("0.20.0", None)  # --x.y 80g is a number
_LEVELS = frozenset("0123")


class Word(msgspec.Struct, frozen=True):
    """One word as argparse sees it, and the argv indices [start, stop) that it was made from."""

    text: str
    start: int
    stop: int
    dotted: tuple[str, ...] = ()
    """The words as given, when the value was merged from dotted options."""


class Dangling(msgspec.Struct, frozen=True):
    """A dotted option without a value: vLLM dies with an ``IndexError``."""

    text: str
    start: int


def rewrite(words: Sequence[Word], version: Version) -> tuple[list[Word], list[Dangling]]:
    """``words`` (options and values, without ``vllm serve``) as argparse gets them in that release."""
    renamed = _rename(words, version)
    # Cheap way out: nearly no command has dotted options.
    if not any("." in word.text and word.text.startswith("-") for word in renamed):
        return renamed, []
    return _merge_dotted(renamed, version)


def _rename(words: Sequence[Word], version: Version) -> list[Word]:
    made: list[Word] = []
    for index, word in enumerate(words):
        text = word.text
        if text.startswith("--"):
            name, equals, value = text.partition("=")
            head, dot, rest = name[2:].partition(".")
            made.append(Word(f"--{head.replace('_', '-')}{dot}{rest}{equals}{value}", word.start, word.stop))
        elif text.startswith("-O"):
            following = words[index + 1].text if index + 1 < len(words) else ""
            made.extend(Word(each, word.start, word.stop) for each in _optimization(text, following, version))
        else:
            made.append(word)
    return made


def _optimization(text: str, following: str, version: Version) -> tuple[str, ...]:
    """``-O``, ``-O3``, ``-O=3``, ``-O.mode=3`` as each release spells them out."""
    old = "-O.level" if version in _O_LEVEL else "-O.mode" if version in _O_MODE else None
    if text == "-O":
        return (old or "--optimization-level",) if following in _LEVELS and following else (text,)
    if text[2] == ".":
        if old is not None:
            return (text,)
        if version in _O_DOTTED_IS_CC:
            return ("-cc" + text[2:],)
    level = text[3:] if text[2] == "=" else text[2:]
    return (f"{old}={level}",) if old is not None else ("--optimization-level", level)


def _merge_dotted(words: list[Word], version: Version) -> tuple[list[Word], list[Dangling]]:
    kept: list[Word] = []
    dangling: list[Dangling] = []
    merged: dict[str, dict[str, Any]] = {}
    sources: dict[str, list[Word]] = {}
    skip = False
    for index, word in enumerate(words):
        if skip:
            skip = False
            continue
        name, equals, value = word.text.partition("=")
        if not name.startswith("-") or "." not in name:
            kept.append(word)
            continue
        parts = [word]
        if not equals:
            if index + 1 == len(words):
                dangling.append(Dangling(word.text, word.start))
                continue
            parts.append(words[index + 1])
            value = words[index + 1].text
            skip = True
        if name.endswith("+"):
            name, value = name[:-1], json.dumps(value.split(","))
        option, *keys = name.split(".")
        _update(merged.setdefault(option, {}), _nested(keys, _dotted_value(value, version)))
        sources.setdefault(option, []).extend(parts)
    for option, value_ in merged.items():
        parts = sources[option]
        start, stop = parts[0].start, parts[0].stop
        for part in parts[1:]:  # the span is the first run of neighbouring words
            if part.start != stop:
                break
            stop = part.stop
        given = tuple(part.text for part in parts)
        kept.append(Word(option, start, stop, given))
        kept.append(Word(json.dumps(value_), start, stop, given))
    return kept, dangling


def _dotted_value(text: str, version: Version) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        pass
    if version in _DOTTED_HUMAN:
        try:
            return human_int(text, version)
        except ValueError:
            pass
    return text


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def _update(original: dict[str, Any], update: dict[str, Any]) -> None:
    for key, value in update.items():
        old = original.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            _update(old, value)
        elif isinstance(value, list) and isinstance(old, list):
            old += value
        else:
            original[key] = value
