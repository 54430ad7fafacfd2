"""What ``vllm serve`` of the release takes: flags, parsers and environment variables, from its live objects.

What a flag's text is turned into is found by giving its converter a few texts, not by the converter's name.
"""

from __future__ import annotations

import argparse
import enum
import os
import re
import typing
from collections.abc import Callable, Iterable
from typing import Any

from qcmatrix_worker import groups, pretend, serve_command

__all__ = ["HANDLERS"]

_DEPRECATED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^\s*\[?DEPRECATED\b",
        r"\n\s*DEPRECATED:",
        r"^[`(\w() -]{0,60}\b(is|are|has been) deprecated\b",
        r"\bthis (argument|option|flag|field|parameter) is deprecated\b",
    )
)
"""How vLLM's help texts say it, besides argparse's own ``deprecated``. Others only speak of deprecated things."""

_REFUSED = object()
_MARK = "QCMATRIX_TEXT_NO_FLAG_KNOWS"


def answer_surface(question: dict[str, Any]) -> dict[str, Any]:
    """Flags as the catalogue has them, parsers by name, variables with the value that they have when they are not set.

    ``environment`` of the question, name -> text, are claims: setting the variable to the text is the same as not
    setting it. Those that are wrong are ``environment_differs``: name -> [value when set, value when not set].
    """
    groups.ready()
    pretend.set_card()
    claims = question.get("environment") or {}
    unset = _environment()
    return {
        "flags": _flags(serve_command.documented_parser()),
        "tool_parsers": _parsers(_tool_parser_manager(), "tool_parsers"),
        "reasoning_parsers": _parsers(_reasoning_parser_manager(), "reasoning_parsers"),
        "environment": {name: _text(value) for name, value in unset.items()},
        "environment_differs": _wrong_claims(claims, unset),
    }


# -- flags -------------------------------------------------------------------------------------------------------


def _flags(parser: Any) -> list[dict[str, Any]]:
    groups_by_action = {
        id(action): group.title or ""
        for group in parser._action_groups
        for action in group._group_actions
        if group.title not in ("positional arguments", "options")
    }
    deprecated = getattr(parser, "_deprecated", None) or set()
    rewritten = _rewritten_options(parser)
    # newer releases hide some spellings from the help, and with that from the action
    spelled: dict[int, list[str]] = {}
    for text, action in parser._option_string_actions.items():
        spelled.setdefault(id(action), []).append(text)
    made = [
        _flag(action, spelled[id(action)], groups_by_action.get(id(action), ""), action in deprecated, rewritten)
        for action in parser._actions
        if action.option_strings and action.dest != "help"
    ]
    return sorted(made, key=lambda flag: str(flag["names"][0]))


def _flag(action: Any, spelled: list[str], group: str, deprecated: bool, rewritten: dict[str, str]) -> dict[str, Any]:
    kind = type(action).__name__
    switch = action.nargs == 0
    boolean = kind in ("BooleanOptionalAction", "EnableDisableAction")
    negations = [text for text in spelled if boolean and _is_negation(text, spelled)]
    names = [text for text in spelled if text not in negations]
    names.sort(key=lambda text: not text.startswith("--"))
    names += [short for short, long in rewritten.items() if long in names]
    made: dict[str, Any] = {"dest": action.dest, "names": names, "negations": negations}
    if boolean:
        made["type"] = "optional_bool" if action.default is None else "bool"
    elif switch:
        made["type"] = "bool"
    else:
        made.update(_converter(action.type))
    made["nargs"] = None if switch or boolean else action.nargs
    made["default"] = plain(None if action.default == "==SUPPRESS==" else action.default)
    made["choices"] = _texts(action.choices)
    made["known"] = [] if boolean or switch else _known(action, group)
    made["repeatable"] = kind in ("_AppendAction", "_ExtendAction")
    made["deprecated"] = bool(
        deprecated
        or getattr(action, "deprecated", False)
        or kind.startswith("Deprecated")
        or any(pattern.search(action.help or "") for pattern in _DEPRECATED)
    )
    made["group"] = group
    return made


def _is_negation(text: str, all_texts: list[str]) -> bool:
    """``--no-X`` beside ``--X``; ``--disable-X`` beside ``--enable-X`` where it stands second."""
    if text.startswith("--no-") and "--" + text[5:] in all_texts:
        return True
    pairs = (("--enable-", "--disable-"), ("--disable-", "--enable-"))
    return any(
        text.startswith(new) and old + text[len(new) :] in all_texts[: all_texts.index(text)] for old, new in pairs
    )


def _converter(convert: Any) -> dict[str, Any]:
    """The catalogue's name of what ``convert`` reads, by what it does with texts."""

    def read(text: str) -> Any:
        if convert is None:
            return text
        try:
            return convert(text)
        except Exception:  # each converter refuses in its own way
            return _REFUSED

    none = read("None") is None and convert is not None
    made: dict[str, Any] = {"type": "str"}
    if read("{}") is not _REFUSED and not isinstance(read("{}"), (str, bool, list, tuple)):
        made = {"type": "json", "text_allowed": read(_MARK) == _MARK}
    elif read("1k") == 1000:
        made = {"type": "human_int", "accepts_auto": read("auto") == -1}
    elif type(read("12")) is int:
        made = {"type": "int"}
    elif type(read("0.5")) is float:
        made = {"type": "float"}
    folded = made["type"] == "str" and read("A-b") == "a_b"
    return {**made, "none_allowed": none, "folded": folded}


def _known(action: Any, group: str) -> list[str]:
    """Values that the release names without argparse refusing others: in the help, or as the type of the field."""
    if action.choices is not None:
        return []
    if isinstance(action.metavar, (list, tuple)):  # of a `Literal[...] | str`
        return _texts(sorted(action.metavar))
    if action.dest == "quantization":
        from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS

        return _texts(sorted(QUANTIZATION_METHODS))
    if action.dest in _REGISTERED:
        return sorted(_REGISTERED[action.dest]())
    kind = _enumeration(action.dest, group)
    if kind is None:
        return []
    values = {name: str(member.value) for name, member in kind.__members__.items()}
    # an enum of class paths is spelled by its names
    return sorted(values if any("." in value for value in values.values()) else values.values())


def _enumeration(dest: str, group: str) -> type[enum.Enum] | None:
    """The enum that the flag's field may hold; the field is the one of its configuration class."""
    import vllm.config

    owner = getattr(vllm.config, group, None)
    if owner is None:
        return None
    try:
        hints = typing.get_type_hints(owner)
    except (NameError, TypeError):  # a name that only a type checker sees
        return None
    for name in (dest, dest.removeprefix(group.removesuffix("Config").lower() + "_")):
        for hint in (hints.get(name), *typing.get_args(hints.get(name))):
            if isinstance(hint, type) and issubclass(hint, enum.Enum):
                return hint
    return None


def _texts(options: Any) -> list[str]:
    if options is None:
        return []
    return list(dict.fromkeys(str(_value(option)) for option in options if option not in (None, "None", "")))


def _value(option: Any) -> Any:
    return option.value if isinstance(option, enum.Enum) else option


def _rewritten_options(parser: Any) -> dict[str, str]:
    """``-O`` of newer releases: their ``parse_args`` rewrites it before argparse sees it."""
    if any("-O" in action.option_strings for action in parser._actions):
        return {}
    seen: list[str] = []
    plain_parser = argparse.ArgumentParser
    before = plain_parser.parse_args

    def keep(self: Any, args: Any = None, namespace: Any = None) -> None:  # noqa: ARG001 - argparse's signature
        seen.extend(args or [])

    try:
        plain_parser.parse_args = keep  # type: ignore[method-assign, assignment]
        parser.parse_args(["serve", "-O2"])
    finally:
        plain_parser.parse_args = before  # type: ignore[method-assign]
    found = re.search(r"(--[\w-]+)[= ]2", " ".join(seen))
    return {"-O": found.group(1)} if found else {}


def plain(value: Any) -> Any:
    """A default as JSON has it; ``None`` where it is an object."""
    value = _value(value)
    if isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
        return None if None in items else items
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return None


# -- parsers -----------------------------------------------------------------------------------------------------


def _tool_parser_manager() -> Any:
    try:
        from vllm.tool_parsers import ToolParserManager
    except ImportError:  # its place until 0.13
        from vllm.entrypoints.openai.tool_parsers import ToolParserManager
    return ToolParserManager


def _reasoning_parser_manager() -> Any:
    from vllm.reasoning import ReasoningParserManager

    return ReasoningParserManager


def _parsers(manager: Any, table: str) -> dict[str, str]:
    """Registered name -> class name, those that are imported on first use included."""
    found = {name: kind.__name__ for name, kind in getattr(manager, table).items()}
    for name, (_, class_name) in getattr(manager, "lazy_parsers", {}).items():
        found.setdefault(name, class_name)
    return dict(sorted(found.items()))


_REGISTERED: dict[str, Callable[[], Iterable[str]]] = {
    "tool_call_parser": lambda: _parsers(_tool_parser_manager(), "tool_parsers"),
    "reasoning_parser": lambda: _parsers(_reasoning_parser_manager(), "reasoning_parsers"),
}
"""Flags whose values are names in a registry."""


# -- environment variables ---------------------------------------------------------------------------------------


def _environment() -> dict[str, Any]:
    """``VLLM_*`` variable -> its value when it is not set."""
    import vllm.envs as envs

    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("VLLM_")}
    try:
        return {
            name: _read(envs.environment_variables[name])
            for name in sorted(envs.environment_variables)
            if name.startswith("VLLM_")
        }
    finally:
        os.environ.update(before)


def _read(reader: Any) -> Any:
    try:
        return reader()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _wrong_claims(claims: dict[str, str | None], unset: dict[str, Any]) -> dict[str, list[Any]]:
    import vllm.envs as envs

    wrong: dict[str, list[Any]] = {}
    for name, text in claims.items():
        reader = envs.environment_variables.get(name)
        if reader is None or text is None:
            continue
        before = os.environ.get(name)
        os.environ[name] = text
        try:
            value = _read(reader)
        finally:
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before
        if _text(value) != _text(unset[name]):
            wrong[name] = [_text(value), _text(unset[name])]
    return wrong


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(int(value)) if isinstance(value, bool) else str(plain(value) if plain(value) is not None else value)


HANDLERS = {"surface": answer_surface}
