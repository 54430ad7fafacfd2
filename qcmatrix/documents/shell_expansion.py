"""What the words of a shell script expand to, with the variables that the script itself has set.

What depends on a condition, an argument or another program stays unknown. Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from qcmatrix.documents.found import FoundWord, Quoting
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.shell_grammar import Code
from qcmatrix.documents.shell_word import Value, Word, copied, joined, split, unescaped

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["Expansion", "Room", "shell_words"]


class Room:
    """What variables may still be filled in with: ``A=$A$A`` doubles what it holds with each line."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = 2_000_000 + 20 * length

    def takes(self, value: Value) -> bool:
        """Is there room for ``value`` once more? What is not filled in stays unknown."""
        if value.size > self.left:
            return False
        self.left -= value.size
        return True


class Expansion:
    """The words of one script, whose variables are set as it is read from top to bottom."""

    def __init__(
        self,
        source: Mapped,
        *,
        prompts: bool,
        variables: MutableMapping[str, Value],
        room: Room,
        within: bool = False,
    ) -> None:
        self.source = source
        self.within = within
        self.variables = variables
        self.room = room
        self.code = Code(source, prompts=prompts)

    def extent(self, node: Node) -> tuple[int, int]:
        """Where ``node`` stands in the script."""
        return node.start_byte, node.end_byte

    def mapped(self, node: Node) -> Mapped:
        """Its text as it stands there."""
        start, stop = self.extent(node)
        return self.source[start:stop]

    def words(self, node: Node) -> list[Word]:
        """What ``node`` expands to: one word, or those of an array or of an unquoted variable."""
        start, stop = self.extent(node)
        if start == stop:  # what the grammar misses behind a mistake
            return []
        span = self.source.span(start, stop)
        spliced = self._spliced(node)
        if spliced is not None:
            return spliced
        value, resolved, open_ended = self._evaluate(node)
        resolved = resolved and not self.code.has_hole(start, stop)
        return [Word(value, span, resolved=resolved, open_ended=open_ended)]

    def _spliced(self, node: Node) -> list[Word] | None:
        """The words of ``"${ARGS[@]}"`` and of an unquoted ``$ARGS``; ``None``: it is no such thing."""
        inner, quoted = node, False
        if node.type == "string":
            named = [child for child in node.children if child.is_named]
            if len(named) != 1 or named[0].end_byte - named[0].start_byte != node.end_byte - node.start_byte - 2:
                return None
            inner, quoted = named[0], True
        if inner.type not in ("simple_expansion", "expansion"):
            return None
        name, is_array, plain = self._named(inner)
        if name in ("@", "*"):
            return [Word(Mapped("", ()), (0, 0), open_ended=True)]
        value = self.variables.get(name)
        fits = value is not None and self.room.takes(value)
        if value is None or not fits or not plain or not value.known:
            if is_array or (value is not None and value.open_ended and not quoted):
                known = value.words if value is not None and fits else []
                return [*(copied(word) for word in known), Word(Mapped("", ()), (0, 0), open_ended=True)]
            return None
        if is_array:
            words = [copied(word) for word in value.words]
        elif quoted:
            return None
        else:
            words = [copied(part) for word in value.words[:1] for part in split(word)]
        if value.open_ended:
            words.append(Word(Mapped("", ()), (0, 0), open_ended=True))
        return words

    def _named(self, node: Node) -> tuple[str, bool, bool]:
        """Of an expansion: the variable's name, whether all of an array is meant, whether nothing else is done."""
        text = self.code.text(node.start_byte, node.end_byte)
        if found := re.fullmatch(r"\$\{?(\w+|[@*])\}?", text):
            return found[1], False, True
        if found := re.fullmatch(r"\$\{(\w+)\[[@*]\]\}", text):
            return found[1], True, True
        found = re.match(r"\$\{[#!]?(\w+)(\[[@*]\])?", text)
        return (found[1] if found else ""), bool(found and found[2]), False

    def _evaluate(self, node: Node) -> tuple[Mapped, bool, bool]:
        """The text of one word, whether it is all known, and whether more may belong to it."""
        kind = node.type
        mapped = self.mapped(node)
        if kind in ("word", "number", "extglob_pattern", "regex", "command_name", "string_content"):
            if kind == "command_name" and node.children:
                return self._evaluate(node.children[0])
            return (unescaped(mapped), True, False)
        if kind == "raw_string":
            return mapped[1:-1], True, False
        if kind == "ansi_c_string":
            return mapped[2:-1], "\\" not in mapped.text, False
        if kind in ("string", "translated_string"):
            return self._parts(node, quoted=True)
        if kind in ("concatenation", "brace_expression"):
            return self._parts(node, quoted=False)
        if kind in ("simple_expansion", "expansion"):
            return self._expansion(node, mapped)
        return mapped, False, False

    def _parts(self, node: Node, *, quoted: bool) -> tuple[Mapped, bool, bool]:
        """A string or a concatenation: what its parts give, and the characters between them."""
        start, stop = self.extent(node)
        if quoted:
            start += self.source.text[start:stop].index('"') + 1
            stop -= 1
        made: list[Mapped] = []
        resolved, open_ended = True, False
        position = start
        for child in node.children:
            if not child.is_named or child.type == "string_content":
                continue
            first, last = self.extent(child)
            if first > position:
                made.append(unescaped(self.source[position:first], quoted=quoted))
            text, known, more = self._evaluate(child)
            made.append(text)
            resolved, open_ended = resolved and known, open_ended or more
            position = max(position, last)
        if position < stop:
            made.append(unescaped(self.source[position:stop], quoted=quoted))
        return Mapped.joined(made), resolved, open_ended

    def _expansion(self, node: Node, mapped: Mapped) -> tuple[Mapped, bool, bool]:
        name, _, plain = self._named(node)
        value = self.variables.get(name)
        if value is not None and value.known and plain and self.room.takes(value):
            made: list[Mapped] = []
            for index, word in enumerate(value.words):
                if index and word.value.text:
                    made.append(Mapped(" ", (word.value.at[0],)))
                made.append(word.value)
            return Mapped.joined(made), all(word.resolved for word in value.words), value.open_ended
        start, stop = self.extent(node)
        if default := re.fullmatch(r"\$\{\w+(:?[-=])(.*)\}", self.source.text[start:stop], re.DOTALL):
            if value is not None and value.known:
                return value.words[0].value if value.words else Mapped("", ()), True, False
            # What the caller may set instead cannot be known: the default is what the script says.
            inner = self.source[start + default.start(2) : stop - 1]
            bare = inner[1:-1] if re.fullmatch(r"\"[^\"$`]*\"|'[^']*'", inner.text) else inner
            return bare, "$" not in bare.text and "`" not in bare.text and value is None, False
        return mapped, False, False

    def assign(self, node: Node, *, sure: bool) -> None:
        """``NAME=value`` or ``NAME+=value``; not ``sure``: it depends on something, and is not known after it."""
        name_node, value_node = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name_node is None or name_node.type != "variable_name":
            return
        name = self.code.text(name_node.start_byte, name_node.end_byte)
        words = self._value(value_node)
        operator = self.code.text(name_node.end_byte, name_node.end_byte + 2)
        before = self.variables.get(name)
        if operator == "+=" and before is not None:
            if not sure or not self.room.takes(before):
                self.variables[name] = Value(before.words, known=before.known, open_ended=True)
            elif value_node is not None and value_node.type == "array":
                self.variables[name] = Value([*before.words, *words], known=before.known, open_ended=before.open_ended)
            else:
                grown = joined(before.words[0], words[0]) if before.words and words else None
                kept = before.words if grown is None else [grown]
                self.variables[name] = Value(kept, known=before.known, open_ended=before.open_ended)
        elif sure or (before is None and not self.within and not words):
            known = all(word.resolved for word in words) or len(words) != 1
            self.variables[name] = Value(
                [word for word in words if word.value.text or not word.open_ended],
                known=known,
                open_ended=any(word.open_ended for word in words),
            )
        else:
            self.variables[name] = Value([], known=False)

    def _value(self, node: Node | None) -> list[Word]:
        if node is None:
            return [Word(Mapped("", ()), (0, 0))]
        if node.type == "array":
            return [word for child in node.children if child.is_named and child.type != "comment"
                    for word in self.words(child)]  # fmt: skip
        value, resolved, open_ended = self._evaluate(node)
        start, stop = self.extent(node)
        return [Word(value, self.source.span(start, stop), resolved=resolved, open_ended=open_ended)]

    def one(self, node: Node | None) -> Word:
        """The value of a plain variable: the first word of an array, nothing of an empty one."""
        return next(iter(self._value(node)), Word(Mapped("", ()), (0, 0)))


def shell_words(source: Mapped) -> tuple[list[FoundWord], bool]:
    """The words of one command line that is no script (a container's ``command:`` given as one string), and whether
    there may be more of them. Line ends are blanks."""
    text = re.sub(r"[\r\n]", " ", source.text)
    line = Mapped(text, source.at, source.to)
    expansion = Expansion(line, prompts=False, variables={}, room=Room(len(source)), within=True)
    words: list[Word] = []
    stack = [expansion.code.root()]
    while stack:
        node = stack.pop()
        if node.type == "command":
            for child in node.children:
                if child.type == "variable_assignment":
                    start, stop = expansion.extent(child)
                    words.append(Word(line[start:stop], line.span(start, stop)))
                elif child.is_named:
                    words.extend(expansion.words(child.children[0] if child.type == "command_name" else child))
        else:
            stack.extend(child for child in reversed(node.children) if child.is_named)
    found = [
        FoundWord(word.value.text, *word.span, Quoting.SHELL, resolved=word.resolved, own=word.own)
        for word in words
        if word.value.text or not word.open_ended
    ]
    return found, any(word.open_ended for word in words)
