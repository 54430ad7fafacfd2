"""Texts that a regular expression matches: one for each of its alternatives at least."""

from __future__ import annotations

import re
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

__all__ = ["samples"]

_CHARACTERS = "xA0_-.:/(' "
_MOST = 400


def samples(pattern: str) -> list[str]:
    """Each alternative stands in one of them, the rest of the text being the simplest that there is."""
    return _sequence(parser.parse(pattern))


def _sequence(items: Any) -> list[str]:
    choices = [_item(code, argument) for code, argument in items]
    simplest = [each[0] for each in choices]
    found = ["".join(simplest)]
    for place, each in enumerate(choices):
        found += ["".join((*simplest[:place], other, *simplest[place + 1 :])) for other in each[1:]]
    return found[:_MOST]


def _item(code: Any, argument: Any) -> list[str]:
    if code is codes.LITERAL:
        return [chr(argument)]
    if code in (codes.IN, codes.ANY, codes.NOT_LITERAL):
        return [_character(code, argument)]
    if code is codes.BRANCH:
        return [text for branch in argument[1] for text in _sequence(branch)]
    if code is codes.SUBPATTERN:
        return _sequence(argument[3])
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
        least, most, inner = argument
        once = _sequence(inner)
        return [text * least for text in once] if least else ["", *(once if most and most > 0 else ())]
    return [""]  # anchors, and what stands around


def _character(code: Any, argument: Any) -> str:
    if code is codes.ANY:
        return "x"
    if code is codes.NOT_LITERAL:
        return next(each for each in _CHARACTERS if ord(each) != argument)
    return next(each for each in (*_CHARACTERS, *map(chr, range(33, 127)), "\u00e9") if _holds(argument, each))


def _holds(members: Any, character: str) -> bool:
    negated = members[0][0] is codes.NEGATE
    found = False
    for code, argument in members[1:] if negated else members:
        if code is codes.LITERAL:
            found |= ord(character) == argument
        elif code is codes.RANGE:
            found |= argument[0] <= ord(character) <= argument[1]
        elif code is codes.CATEGORY:
            name = str(argument)
            kind = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[name.rpartition("_")[2]]
            found |= bool(re.match(kind, character)) != ("_NOT_" in name)
    return found != negated
