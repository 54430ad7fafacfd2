"""Shell text -> the words of one command, and back.

A reader of POSIX words with the position of each: quotes, backslashes, continuations, comments. Variables that the
text itself sets are filled in, others stay as they stand (``$MODEL``); nothing is run. ``shlex`` splits the same words
but does not say where they are.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from qcmatrix.errors import RequestError
from qcmatrix.launch.launch import Span

__all__ = ["ShellCommand", "ShellWord", "count_launches", "join_shell", "split_shell", "words_of"]

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_OPERATORS = ("&&", "||", ";;", "|&", ";", "&", "|", "(", ")", "\n")
_REDIRECTION = re.compile(r"(?:\d+|&)?(?:>>|>&|>\||<<<|<<|<&|<>|>|<)")
_BLANK = " \t\r"
_VARIABLE = re.compile(r"\$(?:(?P<bare>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?::?-(?P<default>[^{}]*))?\})")
_LAUNCHES = re.compile(r"\bvllm\b|api_server")


class ShellWord(msgspec.Struct, frozen=True):
    """One word without its quotes, and the characters [start, stop) of the text that it was."""

    text: str
    start: int
    stop: int


class ShellCommand(NamedTuple):
    """One command taken from shell text."""

    env: dict[str, str]
    """Assignments before it, ``export`` lines included."""
    argv: tuple[str, ...]
    spans: tuple[Span, ...]
    """Of each word of ``argv``: the characters [start, stop) of the text, quotes included."""
    env_spans: dict[str, Span]
    """Of each assignment, likewise."""


def split_shell(text: str) -> ShellCommand:
    """The vLLM command in ``text`` (the first one; any command when none speaks of vLLM).

    Redirections are dropped, ``$ `` and ``> `` prompts too; the environment is what stands before the command.

    Raises:
        RequestError: a quote without its end, or no command.
    """
    env: dict[str, str] = {}
    env_spans: dict[str, Span] = {}
    chosen: list[ShellWord] | None = None
    speaks = False  # the chosen one of vLLM
    variables: dict[str, str] = {}
    for words in _commands(text, variables):
        words = words[1:] if words[0].text in ("$", "#", "%") else words
        exported = bool(words) and words[0].text in ("export", "set", "declare")
        rest = words[1:] if exported else words
        assigned = [found for word in rest if (found := _assignment(word)) is not None]
        if len(assigned) == len(rest):
            for name, value, word in assigned:
                variables[name] = value
                if chosen is None:
                    env[name], env_spans[name] = value, Span(word.start, word.stop)
        elif exported:
            continue
        elif chosen is None or _speaks_of_vllm(words):
            chosen, speaks = words, _speaks_of_vllm(words)
        if speaks:
            break
    if chosen is None:
        raise RequestError(
            "there is no command in the text", "give one like `vllm serve MODEL --tensor-parallel-size 8`"
        )
    while (found := _assignment(chosen[0])) is not None:
        name, value, word = found
        env[name], env_spans[name] = value, Span(word.start, word.stop)
        chosen = chosen[1:]
    return ShellCommand(
        env, tuple(word.text for word in chosen), tuple(Span(word.start, word.stop) for word in chosen), env_spans
    )


def count_launches(text: str) -> int:
    """How many commands of ``text`` start vLLM.

    Raises:
        RequestError: a quote without its end.
    """
    return sum(_speaks_of_vllm(words) for words in _commands(text, {}))


def join_shell(lead: Sequence[str], groups: Sequence[Sequence[str]], env: Mapping[str, str], width: int) -> str:
    """``VAR=value lead... group group ...``, one group a line behind ``\\`` unless all of it fits into ``width``.

    A group (an option with its values) is never broken, whatever its length.
    """
    assignments = [f"{name}={shlex.quote(value)}" for name, value in env.items()]
    first = " ".join(shlex.quote(word) for word in lead)
    lines = [" ".join(shlex.quote(word) for word in group) for group in groups]
    whole = " ".join([*assignments, first, *lines])
    if len(whole) <= width or not (assignments or lines):
        return whole
    return " \\\n".join([*assignments, first, *("  " + line for line in lines)])


def _assignment(word: ShellWord) -> tuple[str, str, ShellWord] | None:
    found = _ASSIGNMENT.fullmatch(word.text)
    return None if found is None else (found[1], found[2], word)


def _speaks_of_vllm(words: Sequence[ShellWord]) -> bool:
    return any(_LAUNCHES.search(word.text) for word in words) and words[0].text not in ("pip", "pip3", "apt", "echo")


def _commands(text: str, variables: Mapping[str, str]) -> Iterator[list[ShellWord]]:
    command: list[ShellWord] = []
    for word in words_of(text, variables):
        if word is None:
            if command:
                yield command
            command = []
        else:
            command.append(word)
    if command:
        yield command


def words_of(text: str, variables: Mapping[str, str] | None = None) -> Iterator[ShellWord | None]:
    """The words of ``text`` in order; ``None`` where a command ends.

    ``variables`` may grow while the words are taken: a word sees what is in it when its command begins.

    Raises:
        RequestError: a quote without its end.
    """
    known = {} if variables is None else variables
    position, skip_next = 0, False
    while position < len(text):
        character = text[position]
        if text.startswith(("\\\n", "\\\r\n"), position):
            position = text.index("\n", position) + 1
        elif character in _BLANK:
            position += 1
        elif character == "#":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif (redirection := _REDIRECTION.match(text, position)) is not None:
            position, skip_next = redirection.end(), True
        elif (operator := next((o for o in _OPERATORS if text.startswith(o, position)), None)) is not None:
            position += len(operator)
            skip_next = False
            yield None
        else:
            start = position
            words, position = _words(text, position, known)
            if not skip_next:
                yield from (ShellWord(word, start, position) for word in words)
            skip_next = False


def _words(text: str, position: int, variables: Mapping[str, str]) -> tuple[list[str], int]:
    """What stands from ``position`` to the next blank, and where it ends.

    One word, unless a variable outside of quotes holds several (or none).
    """
    made: list[str | None] = []  # parts of words; None: a border between words
    while position < len(text):
        character = text[position]
        if character == "\\":
            if text.startswith("\r\n", position + 1):
                position += 3
            else:
                if position + 1 < len(text) and text[position + 1] != "\n":
                    made.append(text[position + 1])
                position = min(position + 2, len(text))  # nothing stands behind the last one
        elif character in "'\"":
            part, position = _quoted(text, position, variables)
            made.append(part)
        elif text.startswith("$(", position):
            end = _closing(text, position + 2)
            made.append(text[position:end])
            position = end
        elif character == "$" and (value := _expanded(text, position, variables)) is not None:
            found, position = value
            made.extend(_split(found))
        elif character in _BLANK or character in "\n;&|()<>":
            break
        else:
            made.append(character)
            position += 1
    return _joined(made), position


def _expanded(text: str, position: int, variables: Mapping[str, str]) -> tuple[str, int] | None:
    """The value of the variable that starts at ``position`` and where it ends; ``None``: it is not set here."""
    found = _VARIABLE.match(text, position)
    if found is None:
        return None
    value = variables.get(found["bare"] or found["braced"], found["default"])
    return None if value is None else (value, found.end())


def _split(value: str) -> list[str | None]:
    return [None if part.isspace() else part for part in re.split(r"(\s+)", value) if part]


def _joined(parts: Sequence[str | None]) -> list[str]:
    words: list[list[str]] = [[]]
    for part in parts:
        if part is None:
            words.append([])
        else:
            words[-1].append(part)
    return ["".join(word) for word in words if word]


def _quoted(text: str, position: int, variables: Mapping[str, str]) -> tuple[str, int]:
    quote, start = text[position], position
    made: list[str] = []
    position += 1
    while position < len(text):
        character = text[position]
        if character == quote:
            return "".join(made), position + 1
        if quote == '"' and character == "\\" and position + 1 < len(text) and text[position + 1] in '"\\$`\n':
            if text[position + 1] != "\n":
                made.append(text[position + 1])
            position += 2
        elif quote == '"' and character == "$" and (value := _expanded(text, position, variables)) is not None:
            part, position = value
            made.append(part)
        else:
            made.append(character)
            position += 1
    line = text.count("\n", 0, start) + 1
    raise RequestError(f"line {line}: the quote {quote} is never closed")


def _closing(text: str, position: int) -> int:
    """Behind the parenthesis that closes ``$(``; the end of the text when none does."""
    depth = 1
    while position < len(text) and depth:
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        position += 1
    return position
