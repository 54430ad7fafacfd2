"""Markdown and reStructuredText: the blocks of code in them, each read as what it says or looks like."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from qcmatrix.documents.found import NotReadError
from qcmatrix.documents.mapped import Mapped

__all__ = ["Block", "markdown_blocks", "restructured_blocks"]

_LARGEST = 4_000_000
_DIRECTIVE = re.compile(
    r"^(?P<indent>[ \t]*)\.\.[ \t]+(?:code-block|code|sourcecode|parsed-literal|prompt)::"
    r"[ \t]*(?P<language>[\w+-]*)[^\n]*\n",
    re.MULTILINE,
)
_LITERAL = re.compile(r"^(?P<indent>[ \t]*)(?!\.\.[ \t])[^\n]*::[ \t]*\r?\n(?=[ \t]*\r?\n)", re.MULTILINE)
_OPTION = re.compile(r"[ \t]+:[\w-]+:[^\n]*\n")
_MYST = re.compile(r"\{(?:code-block|code|sourcecode|prompt|parsed-literal)\}[ \t]*(?P<language>[\w+.-]*)")
_MYST_OPTION = re.compile(r":[\w-]+:[^\n]*\n")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_DEEPEST = 4
"""Fences within indented blocks within indented blocks."""


class Block(msgspec.Struct, frozen=True):
    """A block of code: its language as written (in lower case), and its text, which may have been indented."""

    language: str
    text: Mapped


def markdown_blocks(text: str) -> Iterator[Block]:
    """Fenced and indented code, also within lists and quotes.

    Raises:
        NotReadError: the text is too large.
    """
    _check_size(text)
    yield from _blocks(text, _DEEPEST)


def _blocks(text: str, depth: int) -> Iterator[Block]:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": 40})
    starts = [0, *(found.end() for found in re.finditer(r"\r\n|\n|\r", text))]
    for token in parser.parse(text):
        if token.type not in ("fence", "code_block") or token.map is None:
            continue
        first, last = token.map
        if token.type == "fence":
            first += 1
        start = starts[min(first, len(starts) - 1)]
        stop = starts[last] if last < len(starts) else len(text)
        laid = _laid(text, token.content, start, stop)
        if token.type == "code_block" and depth and _FENCE.search(token.content):
            # behind `!!! note`, `??? example` and `=== "Tab"` of MkDocs all text is indented
            yield from (_within(laid, block) for block in _blocks(token.content, depth - 1))
            continue
        info = token.info.strip()
        if (myst := _MYST.match(info)) is not None:
            position = 0
            while (option := _MYST_OPTION.match(laid.text, position)) is not None:
                position = option.end()
            yield Block(myst["language"].lower(), laid[position : len(laid)])
            continue
        language = re.match(r"[\w+.-]*", info.strip("{}").lstrip("."))
        yield Block((language[0] if language else "").lower(), laid)


def _within(outer: Mapped, block: Block) -> Block:
    """``block`` of ``outer``'s text, where that stands in the document."""
    return Block(
        block.language,
        Mapped(
            block.text.text,
            [outer.at[min(place, len(outer) - 1)] for place in block.text.at],
            [outer.to[min(max(place, 1), len(outer)) - 1] for place in block.text.to],
        ),
    )


def restructured_blocks(text: str) -> Iterator[Block]:
    """``.. code-block::`` and its kind, and literal blocks behind ``::``.

    Raises:
        NotReadError: the text is too large.
    """
    _check_size(text)
    for pattern in (_DIRECTIVE, _LITERAL):
        for found in pattern.finditer(text):
            position = found.end()
            while pattern is _DIRECTIVE and (option := _OPTION.match(text, position)) is not None:
                position = option.end()
            body = _indented(text, position, len(found["indent"].expandtabs()))
            if body.text.strip():
                yield Block((found["language"] if pattern is _DIRECTIVE else "").lower(), body)


def _check_size(text: str) -> None:
    if len(text) > _LARGEST:
        raise NotReadError(f"more than {_LARGEST:,} characters of text: not read", 0)


def _indented(text: str, position: int, outer: int) -> Mapped:
    """The lines from ``position`` on that stand deeper than ``outer``, without their common indentation."""
    lines: list[tuple[int, int]] = []
    while position < len(text):
        end = text.find("\n", position)
        stop = len(text) if end < 0 else end + 1
        line = text[position:stop]
        if line.strip() and len(line) - len(line.lstrip()) <= outer:
            break
        lines.append((position, stop))
        position = stop
    widths = [len(line) - len(line.lstrip()) for start, stop in lines if (line := text[start:stop]).strip()]
    shift = min(widths, default=0)
    at = [index for start, stop in lines for index in range(min(start + shift, stop), stop)]
    return Mapped("".join(text[index] for index in at), at)


def _laid(text: str, content: str, start: int, stop: int) -> Mapped:
    """``content`` beside its source: what stands before the lines (quotes, list indentation) is stepped over."""
    at: list[int] = []
    position = start
    for line in re.findall(r"[^\n]*\n|[^\n]+", content):  # and no other character ends one
        end = re.compile(r"\r\n|\n|\r").search(text, position)
        limit = end.end() if end is not None and end.end() <= stop else stop
        bare = line.rstrip("\n")
        place = text.find(bare, position, limit) if bare else limit - 1
        if place < 0:  # a tab was made blanks: the end of the line is still the same
            place = max(position, limit - 1 - len(bare))
        at.extend(min(place + index, max(limit - 1, start)) for index in range(len(bare)))
        if line.endswith("\n"):
            at.append(max(position, limit - 1))
        position = limit
    return Mapped(content, at)
