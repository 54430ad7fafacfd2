"""Shell scripts: every command in them that starts a vLLM server.

The grammar is tree-sitter's, which reads on behind mistakes; ``shell_expansion`` tells what words come to. Nothing is
run.
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
from qcmatrix.documents.shell_expansion import Expansion, Room
from qcmatrix.documents.shell_word import Value, Word, joined
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
    expansion = Expansion(source, prompts=prompts, variables={}, room=Room(len(source)))
    return _Script(expansion, depth=0).commands()


class _Script:
    """One script, evaluated from top to bottom."""

    def __init__(self, expansion: Expansion, *, depth: int) -> None:
        self.expansion = expansion
        self.source, self.code = expansion.source, expansion.code
        self.depth = depth
        self.exported: MutableMapping[str, FoundWord] = {}
        self.quoting = Quoting.SHELL if depth == 0 else Quoting.SHELL_IN_QUOTES
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
                self.expansion.assign(node, sure=sure)
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

    def _written(self, node: Node) -> Mapped:
        """The text of a here-document: unless its end is quoted, a backslash escapes some characters."""
        mapped = self.expansion.mapped(node)
        beside = node.parent.children if node.parent is not None else []
        start = next((child for child in beside if child.type == "heredoc_start"), None)
        if start is None or self.code.text(start.start_byte, start.end_byte)[:1] in ("'", '"', "\\"):
            return mapped
        return mapped.replaced(_ESCAPED, lambda found: found[1] or "")

    def _unset(self, node: Node) -> None:
        for child in node.children:
            if child.type == "variable_name":
                name = self.code.text(child.start_byte, child.end_byte)
                self.expansion.variables[name] = Value([])
                with contextlib.suppress(KeyError):  # it was never exported, or outside of this script
                    del self.exported[name]

    # Statements

    def _declare(self, node: Node, *, sure: bool) -> None:
        exports = self.code.text(node.start_byte, node.start_byte + 6) == "export"
        for child in node.children:
            if child.type == "variable_assignment":
                self.expansion.assign(child, sure=sure)
                name_node = child.child_by_field_name("name")
                if exports and name_node is not None:
                    name = self.code.text(name_node.start_byte, name_node.end_byte)
                    word = self.expansion.one(child.child_by_field_name("value"))
                    self.exported[name] = self._env_word(child, word, sure=sure)

    def _env_word(self, node: Node, word: Word, *, sure: bool = True) -> FoundWord:
        start, stop = self.expansion.extent(node)
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
                    env[name] = self._env_word(child, self.expansion.one(child.child_by_field_name("value")))
            elif child.is_named and child.type not in ("file_redirect", "heredoc_redirect", "herestring_redirect"):
                more = self.expansion.words(child.children[0] if child.type == "command_name" else child)
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
        _, stop = self.expansion.extent(node)
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
        variables = ChainMap({}, self.expansion.variables)
        expansion = Expansion(text, prompts=False, variables=variables, room=self.expansion.room, within=True)
        script = _Script(expansion, depth=self.depth + 1)
        script.exported = ChainMap({}, self.exported)
        return script.commands()
