"""Text that knows where each of its characters stands in the document.

A value is taken out of its quotes, a script out of an indented YAML block, a command out of a variable: the characters
move, their places do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

__all__ = ["Mapped"]


class Mapped:
    """``text`` and the document's offset of every character of it."""

    __slots__ = ("at", "text")

    def __init__(self, text: str, at: Sequence[int]) -> None:
        self.text = text
        self.at = at  # as long as the text; a range where nothing has moved

    @classmethod
    def whole(cls, text: str, start: int = 0) -> Mapped:
        """Text that stands in the document as it is, from ``start``."""
        return cls(text, range(start, start + len(text)))

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, part: slice) -> Mapped:
        return Mapped(self.text[part], self.at[part])

    def __add__(self, other: Mapped) -> Mapped:
        if not self.text:
            return other
        if not other.text:
            return self
        return Mapped(self.text + other.text, [*self.at, *other.at])

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """The document's [start, stop) of the characters [start, stop) of this text, of which there is at least one."""
        return self.at[start], self.at[stop - 1] + 1

    def replaced(self, pattern: re.Pattern[str], value: Callable[[re.Match[str]], str]) -> Mapped:
        """Every match of ``pattern`` replaced; all of a replacement stands where the match began."""
        made, position = Mapped("", ()), 0
        for found in pattern.finditer(self.text):
            text = value(found)
            if text != found[0]:
                made += self[position : found.start()] + Mapped(text, [self.at[found.start()]] * len(text))
                position = found.end()
        return made + self[position : len(self.text)] if position else self
