"""A script as the grammar of the shell sees it: prepared, and taken apart within a bounded time."""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from qcmatrix.documents.found import NotReadError
from qcmatrix.documents.mapped import Mapped

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

__all__ = ["LARGEST_SCRIPT", "Code"]

LARGEST_SCRIPT = 4_000_000
"""Characters of one script that is taken apart."""
_PATIENCE = 10.0
"""Seconds of processor time for one script. A megabyte that is a script takes less than one; the grammar gets over
mistakes in a time that grows with the square of what is one, so that a few ten kilobytes of no script take minutes."""
_PIECE = 65_536
_PLACEHOLDER = re.compile(r"(?<![\w<>&])<(?=[A-Za-z_]|\d+_[A-Za-z])[\w./ -]{1,60}>(?![\w>&])")
"""``<model>``: what a reader of documentation shall fill in; the shell would take it for a redirection."""
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")
_PROMPT = re.compile(
    r"^[ \t]*(?:\([\w.-]+\)[ \t]*)?(?:(?:[\w.-]+@[\w.:~/-]+)?[$%>]|[\w.-]+@[\w.:~/-]+#)[ \t]+(?=\S)", re.MULTILINE
)
"""``$``, ``user@host:~$``; a bare ``#`` is far more often a comment than root's prompt."""
_FOREIGN = re.compile(r"[^\t\n\r\x20-\x7e]")
_BACKTICK_COMMENT = re.compile(r"`[ \t]*#[^`\n]*`")
"""A comment between the options of a continued command: it expands to nothing, and the grammar reads on behind it."""


class Code:
    """What is parsed in place of a script: as long as it, and bytes count its characters."""

    __slots__ = ("_firsts", "_lasts", "_source", "bytes")

    def __init__(self, source: Mapped, *, prompts: bool) -> None:
        text = _PROMPT.sub(lambda found: " " * len(found[0]), source.text) if prompts else source.text
        text = _BACKTICK_COMMENT.sub(lambda found: " " * len(found[0]), text)
        # The grammar's scanner (tree-sitter-bash 0.25.1) reads beyond a table, and dies, on `{` before a character far
        # beyond ASCII. What such characters are does not matter to the structure; bytes count characters then, too.
        code = bytearray(_FOREIGN.sub("x", text).encode("ascii"))
        holes = _merged(found.span() for pattern in (_PLACEHOLDER, _TEMPLATE) for found in pattern.finditer(text))
        for first, last in holes:
            code[first:last] = b"_" * (last - first)
        self._firsts = [first for first, _ in holes]
        self._lasts = [last for _, last in holes]
        self._source = source
        self.bytes = bytes(code)

    def has_hole(self, start: int, stop: int) -> bool:
        """Is a placeholder or a template among the characters [start, stop)?"""
        index = bisect_right(self._lasts, start)
        return index < len(self._firsts) and self._firsts[index] < stop

    def text(self, start: int, stop: int) -> str:
        """The characters [start, stop) as the grammar sees them."""
        return self.bytes[start:stop].decode("ascii")

    def root(self) -> Node:
        """The tree.

        Raises:
            NotReadError: the script is too large, or what it is cannot be told in a bounded time.
        """
        place = self._source.span(0, 0)[0]
        if len(self.bytes) > LARGEST_SCRIPT:
            raise NotReadError(f"more than {LARGEST_SCRIPT:,} characters of shell: not read", place)
        until = time.process_time() + _PATIENCE
        parser = _parser()
        try:
            tree = parser.parse(
                lambda offset, _: self.bytes[offset : offset + _PIECE],
                progress_callback=lambda *_: time.process_time() > until,
            )
        except ValueError:
            parser.reset()  # or it would go on with this script
            raise NotReadError("too tangled for a shell script: not read", place) from None
        return tree.root_node


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, with those that overlap made one."""
    made: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if made and first <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], last)
        else:
            made.append((first, last))
    return made


@lru_cache(maxsize=1)
def _parser() -> Parser:
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))
