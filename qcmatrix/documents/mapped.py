"""Text that knows where each of its characters stands in the document.

A value is taken out of its quotes, a script out of an indented YAML block, a command out of a variable: the characters
move, their places do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

__all__ = ["Mapped"]


class Mapped:
    """``text``, and for every character of it where its source begins (``at``) and ends (``to``) in the document."""

    __slots__ = ("at", "text", "to")

    def __init__(self, text: str, at: Sequence[int], to: Sequence[int] | None = None) -> None:
        self.text = text
        self.at = at  # both as long as the text; ranges where nothing has moved
        if to is not None:
            self.to = to
        else:
            self.to = range(at.start + 1, at.stop + 1) if isinstance(at, range) else [place + 1 for place in at]

    @classmethod
    def whole(cls, text: str, start: int = 0) -> Mapped:
        """Text that stands in the document as it is, from ``start``."""
        return cls(text, range(start, start + len(text)))

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, part: slice) -> Mapped:
        return Mapped(self.text[part], self.at[part], self.to[part])

    def __add__(self, other: Mapped) -> Mapped:
        if not self.text:
            return other
        if not other.text:
            return self
        return Mapped(self.text + other.text, [*self.at, *other.at], [*self.to, *other.to])

    @classmethod
    def joined(cls, parts: Sequence[Mapped]) -> Mapped:
        """All of ``parts`` as one."""
        some = [part for part in parts if part.text]
        if len(some) < 2:
            return some[0] if some else cls("", ())
        text = "".join(part.text for part in some)
        return cls(text, [place for part in some for place in part.at], [place for part in some for place in part.to])

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """The document's [start, stop) of the characters [start, stop) of this text, whose end is as far as it goes."""
        stop = min(stop, len(self.text))
        if start < stop:
            first, last = self.at[start], self.to[stop - 1]
            return first, last if last > first else self.to[start]  # put together from several places: its first
        place = self.at[start] if start < len(self.at) else self.to[-1] if self.to else 0
        return place, place

    def replaced(self, pattern: re.Pattern[str], value: Callable[[re.Match[str]], str]) -> Mapped:
        """Every match of ``pattern`` replaced; all of a replacement stands where the match stood."""
        made: list[Mapped] = []
        position = 0
        for found in pattern.finditer(self.text):
            text = value(found)
            if text != found[0]:
                start, stop = self.span(found.start(), found.end())
                made += [self[position : found.start()], Mapped(text, [start] * len(text), [stop] * len(text))]
                position = found.end()
        return Mapped.joined([*made, self[position : len(self.text)]]) if position else self
