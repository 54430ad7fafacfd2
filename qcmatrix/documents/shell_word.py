"""Words of a shell script while they are put together, each character with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from qcmatrix.documents.mapped import Mapped

__all__ = ["Value", "Word", "copied", "found_on_path", "joined", "split", "unescaped"]

_WORD = 20
"""What a word costs beside its characters, in characters."""
_WHICH = re.compile(r"(?:\$\(|`)(?:which|command -v|type -P) (vllm|python3?)(?:\)|`)")


class Value:
    """What is known of a variable: its words' texts with their places, or nothing."""

    __slots__ = ("known", "open_ended", "size", "words")

    def __init__(self, words: list[Word], *, known: bool = True, open_ended: bool = False) -> None:
        self.words = words  # one for a plain variable, any number for an array
        self.known = known
        self.open_ended = open_ended
        self.size = sum(_WORD + len(word.value) for word in words)


class Word:
    """A word while it is put together."""

    __slots__ = ("open_ended", "own", "resolved", "span", "value")

    def __init__(
        self, value: Mapped, span: tuple[int, int], *, resolved: bool = True, own: bool = True, open_ended: bool = False
    ) -> None:
        self.value = value
        self.span = span
        self.resolved = resolved
        self.own = own
        self.open_ended = open_ended


def found_on_path(word: Word) -> Word:
    """``$(which vllm)`` is ``vllm``."""
    found = _WHICH.fullmatch(word.value.text)
    if found is None:
        return word
    start, stop = word.span
    return Word(Mapped(found[1], [start] * len(found[1]), [stop] * len(found[1])), word.span, own=word.own)


def copied(word: Word) -> Word:
    """``word`` where a variable put it: the command does not write it itself."""
    return Word(word.value, word.span, resolved=word.resolved, own=False)


def joined(first: Word, second: Word) -> Word:
    """Both as one word."""
    value = first.value + second.value
    span = (min(first.span[0], second.span[0]), max(first.span[1], second.span[1]))
    return Word(value, span, resolved=first.resolved and second.resolved)


def split(word: Word) -> Iterator[Word]:
    """The words of an unquoted variable: quotes in its value are ordinary characters, as for the shell; a template
    is no longer there when the shell reads it."""
    for found in re.finditer(r"(?:\{\{[^{}]*\}\}|\S)+", word.value.text):
        part = word.value[found.start() : found.end()]
        yield Word(part, part.span(0, len(part)), resolved=word.resolved or "$" not in part.text)


def unescaped(mapped: Mapped, *, quoted: bool = False) -> Mapped:
    """Without backslashes; within double quotes only those that escape something there."""
    if "\\" not in mapped.text:
        return mapped
    text: list[str] = []
    at: list[int] = []
    to: list[int] = []
    position = 0
    while position < len(mapped.text):
        first = position
        character = mapped.text[position]
        following = mapped.text[position + 1 : position + 2]
        if character == "\\" and following and (not quoted or following in '"\\$`\n\r'):
            position += 1
            if following in "\n\r":
                position += 2 if mapped.text.startswith("\r\n", position) else 1
                continue
            character = following
        text.append(character)
        at.append(mapped.at[first])
        to.append(mapped.to[position])
        position += 1
    return Mapped("".join(text), at, to)
