"""Variables of a document filled in, in bounded room: ``A=$A$A`` doubles what it holds with each line."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["Filling"]

_MOST = 100_000
"""Characters that one text gets from variables."""


class Filling:
    """What takes the place of each variable of one text: made for one :func:`re.sub` or :meth:`Mapped.replaced`.

    ``value`` says what a match is to become, ``None``: it is not known. What is not known, or has no room any more,
    stays as it stands, and ``known`` is ``False`` then.
    """

    def __init__(self, value: Callable[[re.Match[str]], str | None]) -> None:
        self._value = value
        self._room = _MOST
        self.known = True

    def __call__(self, found: re.Match[str]) -> str:
        """What stands in place of ``found``."""
        text = self._value(found)
        if text is None or len(text) > self._room:
            self.known = False
            return found[0]
        self._room -= len(text)
        return text
