"""The arguments of a start: its line of non-default arguments, the engine's configuration, or a command in the log."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from qcmatrix.catalogue.releases import Release
from qcmatrix.errors import UserError
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.parse import parse
from qcmatrix.launch.parsed import Problem, ProblemKind
from qcmatrix.launch.shell import split_shell
from qcmatrix.startup_log.reader import Attempt

__all__ = ["Arguments", "arguments_of", "items_of"]

_OPENING = {"{": "}", "[": "]", "(": ")"}
_PAIR = re.compile(r"\s*(?:'(?P<quoted>\w+)'\s*:|(?P<bare>\w+)\s*=)\s*")
_MOST_ITEMS = 600
_NOT_OPTIONS = frozenset({"subparser", "model", "model_tag", "dispatch_function", "config"})
_OF_THE_ENGINE = {
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "data_parallel_size": "data_parallel_size",
    "max_seq_len": "max_model_len",
    "enforce_eager": "enforce_eager",
    "kv_cache_dtype": "kv_cache_dtype",
}
"""What the engine's configuration says of the launch: only what nothing changes on the way from the options to it."""
_COMMAND = re.compile(
    r"(?:\S*/)?vllm serve\s|\S*python[\d.]*\s+(?:-u\s+)?-m\s+vllm\.entrypoints|docker run\s|-m\s+vllm\.entry"
)


class Arguments(msgspec.Struct, frozen=True):
    """What a log says of its launch."""

    launch: Launch
    basis: str
    """Where it stands: ``non-default arguments``, ``engine configuration``, ``command``; empty: nowhere."""
    line: int = 0
    unread: tuple[str, ...] = ()
    """Arguments whose value is printed in a form that cannot be read back."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the words of a command."""
    release_hint: str | None = None


def arguments_of(attempt: Attempt, release: Release) -> Arguments:
    """The launch of ``attempt``, read with the option names of ``release``."""
    given: tuple[int, dict[str, Any], tuple[str, ...]] | None = None
    engine: tuple[int, dict[str, Any]] | None = None
    for line, text in attempt.arguments:
        if given is None and "non-default args:" in text:
            given = (line, *items_of(text.partition("non-default args:")[2].strip()))
        elif given is None and "args: Namespace(" in text:
            values, unread = items_of(text.partition("args: Namespace")[2].strip())
            defaults = {flag.dest: flag.default for flag in release.flag_by_dest.values()}
            given = (line, {name: value for name, value in values.items() if value != defaults.get(name)}, unread)
        elif engine is None and " with config: " in text:
            engine = (line, items_of("(" + text.partition(" with config: ")[2].strip())[0])
    if given is not None:
        return _from_given(given, engine, release)
    for line, text in attempt.commands:
        found = _from_command(line, text, release)
        if found is not None:
            return found
    if engine is not None:
        values = {ours: engine[1][theirs] for theirs, ours in _OF_THE_ENGINE.items() if engine[1].get(theirs)}
        return Arguments(
            Launch(str(engine[1].get("model") or ""), _options(values, release)), "engine configuration", engine[0]
        )
    return Arguments(Launch(""), "")


def _from_given(
    given: tuple[int, dict[str, Any], tuple[str, ...]], engine: tuple[int, dict[str, Any]] | None, release: Release
) -> Arguments:
    line, values, unread = given
    model = values.get("model_tag") or values.get("model")
    if not isinstance(model, str) and engine is not None:
        model = engine[1].get("model")
    options = _options({name: value for name, value in values.items() if name not in _NOT_OPTIONS}, release)
    unread = tuple(name for name in unread if name in release.flag_by_dest)
    return Arguments(Launch(model if isinstance(model, str) else "", options), "non-default arguments", line, unread)


def _options(values: Mapping[str, Any], release: Release) -> dict[str, Any]:
    """Values of options that the release has, of a type that its parser could have given."""
    options = {}
    for name, value in values.items():
        flag = release.flag_by_dest.get(name)
        if flag is None or value is None:
            continue
        if flag.type in ("int", "human_int") and (isinstance(value, bool) or not isinstance(value, int)):
            continue
        if flag.type == "float" and (isinstance(value, bool) or not isinstance(value, (int, float))):
            continue
        if flag.type in ("bool", "optional_bool") and not isinstance(value, bool):
            continue
        if flag.type == "json" and isinstance(value, str) and not flag.text_allowed:
            continue
        options[name] = value
    return options


def _from_command(line: int, text: str, release: Release) -> Arguments | None:
    start = _COMMAND.search(text)
    if start is None:
        return None
    # Environment before the launcher belongs to it; prompts and keys before that do not.
    before = re.search(r"(?:[A-Z_][A-Z0-9_]*=\S+\s+)+$", text[: start.start()])
    begins = before.start() if before else start.start()
    command = text[begins:].strip().strip("`")
    if text[:begins].endswith("["):
        command = _within_brackets(command)
    try:
        shell = split_shell(command)
        parsed = parse(shell.argv, release, env=shell.env)
    except (UserError, ValueError, RecursionError):
        return None
    stray = any(problem.kind is ProblemKind.STRAY_WORD for problem in parsed.problems)
    if not parsed.launch.options and (stray or "/" not in parsed.launch.model):
        return None  # a sentence that speaks of the command
    return Arguments(parsed.launch, "command", line, problems=parsed.problems, release_hint=parsed.release_hint)


def _within_brackets(text: str) -> str:
    """Up to the bracket that closes one before ``text``: ``arguments: [vllm serve X], ports: [8000]``."""
    return next((text[:place] for place, character in _top_level(text) if character == "]"), text)


def items_of(text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The items of a printed dict or call (``{'a': 1, ...}``, ``(a=1, b='x')``), and the names whose value is no
    literal (an object's own form). The text may break off anywhere: what is whole is read."""
    values: dict[str, Any] = {}
    unread: list[str] = []
    body = text[1:] if text[:1] in "{(" else text
    for item in _split(body):
        match = _PAIR.match(item)
        if match is None:
            continue
        name = match["quoted"] or match["bare"]
        printed = item[match.end() :].strip()
        try:
            values[name] = ast.literal_eval(printed)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            word = re.fullmatch(r"(?:torch\.)?([A-Za-z][\w.-]*)", printed)
            enum = re.fullmatch(r"<\w+\.\w+: ('[^']*'|-?\d+)>", printed)
            if enum is not None:
                values[name] = ast.literal_eval(enum[1])
            elif word is not None:
                values[name] = word[1]
            else:
                unread.append(name)
    return values, tuple(unread)


def _split(text: str) -> list[str]:
    """``text`` cut at the commas of its own level, up to where that level ends; an item that breaks off is dropped."""
    items: list[str] = []
    start = 0
    for place, character in _top_level(text):
        items.append(text[start:place])
        start = place + 1
        if character != "," or len(items) >= _MOST_ITEMS:
            break
    return items


def _top_level(text: str) -> Iterator[tuple[int, str]]:
    """Commas and closing brackets outside of quotes and of brackets that ``text`` opens itself, with their places; at
    its end an empty character, unless it breaks off within one."""
    closing: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character in _OPENING:
            closing.append(_OPENING[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif not closing and character in ",)}]":
            yield position, character
        position += 1
    if not quote and not closing:
        yield len(text), ""
