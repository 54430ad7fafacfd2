"""Shell scripts: every command in them that starts a vLLM server.

The grammar is tree-sitter's, which reads on behind mistakes. What the script itself sets is filled in (variables,
defaults, arrays); what depends on a condition, an argument or another program stays unknown. Nothing is run.
"""

from __future__ import annotations

import contextlib
import re
from collections import ChainMap
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING

from qcmatrix.documents.carriers import TALK, UV_RUNS, runs_text
from qcmatrix.documents.found import FoundCommand, FoundWord, Note, Quoting
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.shell_commands import (
    carried,
    filled_in,
    image_in,
    in_image,
    is_ellipsis,
    is_placeholder,
)
from qcmatrix.documents.shell_grammar import Code
from qcmatrix.documents.shell_word import Value, Word, copied, joined, split, unescaped
from qcmatrix.errors import RequestError
from qcmatrix.launch.command import Form, locate
from qcmatrix.launch.image import serves_by_itself

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["mentions_vllm", "read_shell"]

_LAUNCHES = re.compile(r"\bv(?:llm|LLM)\b|api_server")
_READ = re.compile(r"\$\{?[!#]?(\w+)")
_LEFT_OVER = re.compile(
    # a backslash that continues nothing, and whatever comes between; or at once an option on the next line
    r"(?:[ \t]*\\[ \t]*(?:#[^\n]*)?\r?\n(?:[ \t]*(?:\\[ \t]*)?(?:#[^\n]*)?\r?\n){0,40}"
    r"|[ \t]*(?:#[^\n]*)?\r?\n(?:[ \t]*#[^\n]*\r?\n){0,40})[ \t]*(--?[a-zA-Z][\w-]*)"
)
_ESCAPED = re.compile(r"\\(?:([\\$`])|\r?\n)")
_DEPTH = 6  # scripts within quotes within scripts
_MOST_COMMANDS = 2_000
"""Of one script: each of them is judged, and nobody writes more by hand."""
_CONDITIONS = frozenset({"if_statement", "case_statement", "for_statement", "c_style_for_statement",
                         "while_statement", "elif_clause", "else_clause"})  # fmt: skip


def mentions_vllm(text: str) -> bool:
    """Can there be a command of interest in ``text`` at all?"""
    return _LAUNCHES.search(text) is not None


def read_shell(source: Mapped, *, prompts: bool = False) -> list[FoundCommand]:
    """The commands of ``source`` that start a vLLM server, in order of appearance.

    ``prompts``: lines may begin with a prompt (``$ ``), as in documentation.

    Raises:
        NotReadError: it is too large, or too tangled to be taken apart in a bounded time.
    """
    if not mentions_vllm(source.text):
        return []
    return _Script(source, prompts=prompts, depth=0, variables={}, room=_Room(len(source))).commands()


class _Room:
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


class _Script:
    """One script, evaluated from top to bottom."""

    def __init__(
        self, source: Mapped, *, prompts: bool, depth: int, variables: MutableMapping[str, Value], room: _Room
    ) -> None:
        self.source = source
        self.depth = depth
        self.variables = variables
        self.room = room
        self.exported: MutableMapping[str, FoundWord] = {}
        self.quoting = Quoting.SHELL if depth == 0 else Quoting.SHELL_IN_QUOTES
        self.code = Code(source, prompts=prompts)
        self.read: frozenset[str] | None = None

    def commands(self) -> list[FoundCommand]:
        """All of them."""
        found: list[FoundCommand] = []
        self._visit(self.code.root(), found, sure=True)
        return found

    def _visit(self, root: Node, found: list[FoundCommand], *, sure: bool) -> None:
        """Statement by statement, by a stack of its own: scripts may be nested deeper than Python may recurse."""
        stack = [(root, sure)]
        while stack and len(found) < _MOST_COMMANDS:
            node, sure = stack.pop()
            kind = node.type
            if kind == "command":
                found.extend(self._command(node))
            elif kind == "variable_assignment":
                self._assign(node, sure=sure)
            elif kind == "declaration_command":
                self._declare(node, sure=sure)
            elif kind == "heredoc_body":
                found.extend(self._inner(self._written(node)))
            elif kind == "unset_command":
                self._unset(node)
            elif kind == "list":
                first, *rest = [child for child in node.children if child.is_named]
                behind = sure and not self._decides(node, first)
                stack.extend((child, behind) for child in reversed(rest))
                stack.append((first, sure))
            elif kind not in ("comment", "string", "raw_string"):
                inner = sure and kind not in _CONDITIONS
                stack.extend((child, inner) for child in reversed(node.children) if child.is_named)

    def _decides(self, node: Node, first: Node) -> bool:
        """Does ``first`` of ``first && ...`` or ``first || ...`` test something? What follows may then not be done."""
        if any(child.type == "||" for child in node.children):
            return True
        while first.type == "list" and first.children:
            first = first.children[-1]
        start = self.code.text(first.start_byte, first.start_byte + 5)
        return first.type in ("test_command", "negated_command") or start == "test "

    # Words

    def _extent(self, node: Node) -> tuple[int, int]:
        return node.start_byte, node.end_byte

    def _mapped(self, node: Node) -> Mapped:
        start, stop = self._extent(node)
        return self.source[start:stop]

    def _written(self, node: Node) -> Mapped:
        """The text of a here-document: unless its end is quoted, a backslash escapes some characters."""
        mapped = self._mapped(node)
        beside = node.parent.children if node.parent is not None else []
        start = next((child for child in beside if child.type == "heredoc_start"), None)
        if start is None or self.code.text(start.start_byte, start.end_byte)[:1] in ("'", '"', "\\"):
            return mapped
        return mapped.replaced(_ESCAPED, lambda found: found[1] or "")

    def _unset(self, node: Node) -> None:
        for child in node.children:
            if child.type == "variable_name":
                name = self.code.text(child.start_byte, child.end_byte)
                self.variables[name] = Value([])
                with contextlib.suppress(KeyError):  # it was never exported, or outside of this script
                    del self.exported[name]

    def _words(self, node: Node) -> list[Word]:
        """What ``node`` expands to: one word, or those of an array or of an unquoted variable."""
        start, stop = self._extent(node)
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
        mapped = self._mapped(node)
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
        start, stop = self._extent(node)
        if quoted:
            start += self.source.text[start:stop].index('"') + 1
            stop -= 1
        made: list[Mapped] = []
        resolved, open_ended = True, False
        position = start
        for child in node.children:
            if not child.is_named or child.type == "string_content":
                continue
            first, last = self._extent(child)
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
        start, stop = self._extent(node)
        if default := re.fullmatch(r"\$\{\w+(:?[-=])(.*)\}", self.source.text[start:stop], re.DOTALL):
            if value is not None and value.known:
                return value.words[0].value if value.words else Mapped("", ()), True, False
            # What the caller may set instead cannot be known: the default is what the script says.
            inner = self.source[start + default.start(2) : stop - 1]
            bare = inner[1:-1] if re.fullmatch(r"\"[^\"$`]*\"|'[^']*'", inner.text) else inner
            return bare, "$" not in bare.text and "`" not in bare.text and value is None, False
        return mapped, False, False

    # Statements

    def _assign(self, node: Node, *, sure: bool) -> None:
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
        elif sure or (before is None and self.depth == 0 and not words):
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
                    for word in self._words(child)]  # fmt: skip
        value, resolved, open_ended = self._evaluate(node)
        start, stop = self._extent(node)
        return [Word(value, self.source.span(start, stop), resolved=resolved, open_ended=open_ended)]

    def _one(self, node: Node | None) -> Word:
        """The value of a plain variable: the first word of an array, nothing of an empty one."""
        return next(iter(self._value(node)), Word(Mapped("", ()), (0, 0)))

    def _declare(self, node: Node, *, sure: bool) -> None:
        exports = self.code.text(node.start_byte, node.start_byte + 6) == "export"
        for child in node.children:
            if child.type == "variable_assignment":
                self._assign(child, sure=sure)
                name_node = child.child_by_field_name("name")
                if exports and name_node is not None:
                    name = self.code.text(name_node.start_byte, name_node.end_byte)
                    word = self._one(child.child_by_field_name("value"))
                    self.exported[name] = self._env_word(child, word, sure=sure)

    def _env_word(self, node: Node, word: Word, *, sure: bool = True) -> FoundWord:
        start, stop = self._extent(node)
        span = self.source.span(start, stop)
        return FoundWord(word.value.text, *span, self.quoting, resolved=word.resolved and sure)

    def _command(self, node: Node) -> Iterator[FoundCommand]:
        env: dict[str, FoundWord] = {}
        words: list[Word] = []
        end = -1
        for child in node.children:
            if child.type == "variable_assignment":
                name_node = child.child_by_field_name("name")
                if name_node is not None:
                    name = self.code.text(name_node.start_byte, name_node.end_byte)
                    env[name] = self._env_word(child, self._one(child.child_by_field_name("value")))
            elif child.is_named and child.type not in ("file_redirect", "heredoc_redirect", "herestring_redirect"):
                more = self._words(child.children[0] if child.type == "command_name" else child)
                if words and more and self.source.text[end : child.start_byte] in ("\\\n", "\\\r\n"):
                    words[-1] = joined(words[-1], more.pop(0))  # no blank before or behind: one word
                words.extend(more)
                end = child.end_byte
        words = filled_in(words)
        open_ended = any(word.open_ended or is_ellipsis(word.value.text) for word in words)
        words = [
            word for word in words if (word.value.text or not word.open_ended) and not is_ellipsis(word.value.text)
        ]
        if not words:
            return
        command = self._server(words, env, open_ended=open_ended, after=node)
        if command is not None:
            yield command
            return
        texts = [word.value.text for word in words]
        if not runs_text(texts):
            return
        image = image_in(texts)
        for word in words:
            text = word.value
            if text.text.startswith("--wrap="):  # sbatch
                text = text[len("--wrap=") :]
            if any(blank in text.text for blank in " \n") and mentions_vllm(text.text):
                found = self._inner(text)
                if image is None:
                    yield from found
                else:
                    yield from (in_image(command, image) for command in found)

    def _server(
        self, words: list[Word], env: dict[str, FoundWord], *, open_ended: bool, after: Node
    ) -> FoundCommand | None:
        words = carried(words)
        texts = [word.value.text for word in words]
        first = texts[0].rpartition("/")[2]
        talks = first in TALK and not (first == "uv" and len(texts) > 1 and texts[1] in UV_RUNS)
        if talks or not any(_LAUNCHES.search(text) for text in texts):
            return None
        if runs_text(texts) and any(
            " " in text and re.search(r"\bvllm\s+serve\b|api_server\s", text) for text in texts
        ):
            return None  # a script in quotes: read on its own
        try:
            command = locate(texts)
        except RequestError:
            return None
        if command.form is Form.OPTIONS or (
            command.form is Form.CONTAINER and not serves_by_itself(command.image, texts)
        ):
            return None
        found = tuple(self._found(word) for word in words)
        env = {**({} if command.image is not None else self.exported), **env}
        if self.read is None:
            self.read = frozenset(_READ.findall(self.source.text))
        return FoundCommand(
            found,
            env,
            open_ended=open_ended,
            notes=tuple(self._broken_continuation(after)),
            scripts_own=self.read & env.keys(),
        )

    def _found(self, word: Word) -> FoundWord:
        """``word`` where it stands. In a script that comes from variables a word may come from several places: nothing
        can be written there."""
        start, stop = word.span
        text = word.value.text
        own, quoting = word.own, self.quoting
        backwards = bool(text) and word.value.to[-1] <= word.value.at[0]
        if self.depth and (backwards or stop <= start or stop - start > 6 * len(text) + 40):
            stop, own, quoting = min(max(start, stop), start + 1), False, Quoting.NONE
        resolved = word.resolved and not is_placeholder(text)
        return FoundWord(text, start, stop, quoting, resolved=resolved, own=own)

    def _broken_continuation(self, node: Node) -> Iterator[Note]:
        """``\\`` with a blank behind it, a comment or an empty line ends a command, and the options on the next line
        become one of their own."""
        _, stop = self._extent(node)
        found = _LEFT_OVER.match(self.source.text, stop)
        if found is None:
            return
        start, end = self.source.span(found.start(1), found.end(1))
        why = "the line above does not end in a backslash with nothing behind it"
        if "#" in found[0]:
            why = "a comment stands between"
        yield Note(
            f"the command ends before `{found[1]}`: {why}",
            start,
            end,
        )

    def _inner(self, text: Mapped) -> list[FoundCommand]:
        """A script within this one."""
        if self.depth >= _DEPTH or not mentions_vllm(text.text):
            return []
        script = _Script(
            text, prompts=False, depth=self.depth + 1, variables=ChainMap({}, self.variables), room=self.room
        )
        script.exported = ChainMap({}, self.exported)
        return script.commands()


def shell_words(source: Mapped) -> tuple[list[FoundWord], bool]:
    """The words of one command line that is no script (a container's ``command:`` given as one string), and whether
    there may be more of them. Line ends are blanks."""
    text = re.sub(r"[\r\n]", " ", source.text)
    script = _Script(Mapped(text, source.at, source.to), prompts=False, depth=1, variables={}, room=_Room(len(source)))
    words: list[Word] = []
    stack = [script.code.root()]
    while stack:
        node = stack.pop()
        if node.type == "command":
            for child in node.children:
                if child.type == "variable_assignment":
                    start, stop = script._extent(child)
                    words.append(Word(script.source[start:stop], script.source.span(start, stop)))
                elif child.is_named:
                    words.extend(script._words(child.children[0] if child.type == "command_name" else child))
        else:
            stack.extend(child for child in reversed(node.children) if child.is_named)
    found = [
        FoundWord(word.value.text, *word.span, Quoting.SHELL, resolved=word.resolved, own=word.own)
        for word in words
        if word.value.text or not word.open_ended
    ]
    return found, any(word.open_ended for word in words)
