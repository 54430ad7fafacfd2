"""YAML with the place of every value.

PyYAML composes nodes with marks; nothing is constructed, and an alias is the same node again, so that a document of
nested aliases costs what it is long. Nesting is bounded before libyaml, which would recurse, sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from qcmatrix.documents.mapped import Mapped

__all__ = ["Tree", "YamlProblemError", "mapped_scalar", "read_yaml"]

_DEEPEST = 60
_LARGEST = 4_000_000  # characters
_OPENING = re.compile(r"[\[{]")
_ESCAPED_BREAKS = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "/": "/", '"': '"', "\\": "\\", " ": " "}


class YamlProblemError(Exception):
    """The text is no YAML that can be read: what, and at which character. ``bounded``: it may be YAML, and is too large
    or too deep."""

    def __init__(self, what: str, offset: int, *, bounded: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.offset = offset
        self.bounded = bounded


class Tree:
    """A mapping node, asked by key."""

    __slots__ = ("_values", "node", "text")

    def __init__(self, text: str, node: MappingNode) -> None:
        self.text = text
        self.node = node
        self._values = _values(node)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    @property
    def keys(self) -> tuple[str, ...]:
        """In the order of the document."""
        return tuple(self._values)

    def get(self, key: str) -> Node | None:
        """The node of ``key``."""
        return self._values.get(key)

    def tree(self, *path: str) -> Tree | None:
        """The mapping at ``path``."""
        found: Tree = self
        for key in path:
            node = found._values.get(key)
            if not isinstance(node, MappingNode):
                return None
            found = Tree(self.text, node)
        return found

    def text_of(self, key: str) -> str | None:
        """A scalar's value."""
        node = self._values.get(key)
        return node.value if isinstance(node, ScalarNode) else None

    def items(self, key: str) -> list[Node]:
        """The nodes of a sequence; none where it is none."""
        node = self._values.get(key)
        return list(node.value) if isinstance(node, SequenceNode) else []

    def mapped(self, node: ScalarNode) -> Mapped:
        """A scalar's value with the place of each character."""
        return mapped_scalar(self.text, node.value, node.start_mark.index, node.end_mark.index)


def _values(node: MappingNode) -> dict[str, Node]:
    """Own keys first, then what ``<<`` merges in; each merged mapping once, however often it is named."""
    found: dict[str, Node] = {}
    seen: set[int] = set()
    stack = [node]
    while stack:
        each = stack.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        for key, value in each.value:
            if not isinstance(key, ScalarNode):
                continue
            if key.value == "<<" and not key.style:
                merged = value.value if isinstance(value, SequenceNode) else [value]
                stack.extend(part for part in reversed(merged) if isinstance(part, MappingNode))
            elif each is node or key.value not in found:
                found[key.value] = value
    return found


def read_yaml(text: str) -> Iterator[Node]:
    """The documents of ``text``.

    Raises:
        YamlProblemError: it is none, or too deep or too large to be taken apart.
    """
    if len(text) > _LARGEST:
        raise YamlProblemError(f"more than {_LARGEST:,} characters of YAML: not read", 0, bounded=True)
    _check_depth(text)
    loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.compose_all(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlProblemError(what, mark.index if mark is not None else 0) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlProblemError(str(error).splitlines()[0] if str(error) else "not YAML", 0) from None


def _check_depth(text: str) -> None:
    """libyaml and the composer recurse once per level: flow levels by their brackets, block levels by indentation."""
    depth = 0
    for found in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if _OPENING.match(found[0]) else max(0, depth - 1)
        if depth > _DEEPEST:
            raise YamlProblemError(f"nested more than {_DEEPEST} levels deep: not read", found.start(), bounded=True)
    # `- - - - x` opens a level per dash, on one line
    for found in re.finditer(r"^[ \t]*((?:[-?][ \t]+)+)", text, re.MULTILINE):
        if found[1].count("-") + found[1].count("?") > _DEEPEST:
            raise YamlProblemError(f"nested more than {_DEEPEST} levels deep: not read", found.start(), bounded=True)
    widest = 0
    indents: list[int] = []
    for found in re.finditer(r"^( *)\S", text, re.MULTILINE):
        indent = len(found[1])
        while indents and indents[-1] >= indent:
            indents.pop()
        indents.append(indent)
        widest = max(widest, len(indents))
        if widest > 4 * _DEEPEST:
            raise YamlProblemError(
                f"nested more than {4 * _DEEPEST} levels deep: not read", found.start(), bounded=True
            )


def mapped_scalar(text: str, value: str, start: int, stop: int) -> Mapped:
    """The value of the scalar at [start, stop) of ``text`` with the place of each of its characters.

    The value is laid beside its source: quotes, indentation, folded line ends and escapes are stepped over. Where that
    does not come out, every character has the place of the scalar.
    """
    position, style = start, text[start : start + 1]
    if style in ("|", ">"):
        line_end = text.find("\n", start, stop)
        position = stop if line_end < 0 else line_end + 1
    elif style in ("'", '"'):
        position = start + 1
    at: list[int] = []
    to: list[int] = []
    for character in value:
        found = _next(text, position, stop, character, quoted=style == '"')
        if found is None:
            if character == "\n" and position >= stop:  # the end that a block scalar adds
                at.append(max(start, stop - 1))
                to.append(stop)
                continue
            return Mapped(value, [start] * len(value), [stop] * len(value))
        place, position = found
        at.append(place)
        to.append(max(place + 1, position if character not in " \n" else place + 1))
    return Mapped(value, at, to)


def _next(text: str, position: int, stop: int, character: str, *, quoted: bool) -> tuple[int, int] | None:
    """Where ``character`` of a value stands at or behind ``position``, and where to go on."""
    while position < stop:
        here = text[position]
        if quoted and here == "\\" and position + 1 < stop:
            if _ESCAPED_BREAKS.get(text[position + 1]) == character:
                return position, position + 2
            if text[position + 1] in "\r\n":
                position += 2
                continue
            if coded := re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)").match(text, position):
                return position, coded.end()
        if here == character:
            # '' within single quotes is one quote
            skip = 2 if here == "'" and not quoted and text.startswith("''", position) else 1
            return position, position + skip
        if character in " \n" and here in "\r\n":
            return position, _behind_indentation(text, position, stop)
        if here not in " \t\r\n":
            return None
        position += 1
    return None


def _behind_indentation(text: str, position: int, stop: int) -> int:
    position += 1
    while position < stop and text[position] in " \t":
        position += 1
    return position
