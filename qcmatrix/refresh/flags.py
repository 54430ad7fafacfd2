"""The options of ``vllm serve``, by stepping through the functions of the release that declare them."""

from __future__ import annotations

import ast
import dataclasses
import enum
import re
from typing import Any

from qcmatrix.catalogue.releases import Flag
from qcmatrix.refresh.hints import BOOLEAN_OPTIONAL, Converter, HintReader
from qcmatrix.refresh.interpret import Interpreter
from qcmatrix.refresh.tree import ExtractionError, Module, SourceTree
from qcmatrix.refresh.values import UNKNOWN, Anonymous, Function, Scope, is_outside

__all__ = ["read_flags"]

_CLI_MODULES = (
    "vllm.entrypoints.common.cli_args",
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.openai.cli_args",
)
_ARGPARSE_MODULES = ("vllm.utils.argparse_utils", "vllm.utils")
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
_FOLDING = ("s.lower().replace('-', '_')", "s.replace('-', '_').lower()")
_DECLARING = frozenset({"add_cli_args", "make_arg_parser", "_customize_cli_kwargs"})


class _Parser:
    """Stands for the argument parser and its groups; keeps what is declared."""

    interpreted = True

    def __init__(self, declared: list[tuple[str, tuple[Any, ...], dict[str, Any]]], group: str = "") -> None:
        self._declared, self._group = declared, group

    def add_argument(self, *names: Any, **keywords: Any) -> None:
        self._declared.append((self._group, names, keywords))

    def add_argument_group(self, title: Any = "", **_: Any) -> _Parser:
        return _Parser(self._declared, title if isinstance(title, str) else "")


def read_flags(tree: SourceTree, tool_parsers: list[str], reasoning_parsers: list[str]) -> tuple[Flag, ...]:
    """Every option that ``vllm serve`` of this release takes, by canonical name.

    Raises:
        ExtractionError: the declaring functions are not as this module knows them.
    """
    arg_utils = tree.require("vllm.engine.arg_utils")
    interpreter = Interpreter(
        tree,
        known={
            "sys.argv": ["vllm", "serve"],
            "vllm.platforms.current_platform": _cuda(),
            "ToolParserManager.tool_parsers": dict.fromkeys(tool_parsers),
            "ToolParserManager.list_registered": lambda: list(tool_parsers),
            "ReasoningParserManager.reasoning_parsers": dict.fromkeys(reasoning_parsers),
            "ReasoningParserManager.list_registered": lambda: list(reasoning_parsers),
            "optional_type()": lambda kind: _converter(kind, none_allowed=True),
            "parse_type()": lambda kind: _converter(kind),
        },
        runs=_DECLARING,
    )
    reader = HintReader(interpreter, arg_utils)
    interpreter.known["get_kwargs()"] = reader.get_kwargs
    cli = tree.require(*_CLI_MODULES)
    make = interpreter.name(cli, "make_arg_parser")
    if not isinstance(make, Function):
        raise ExtractionError(f"{cli.path}: no function make_arg_parser")
    declared: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    interpreter.run(make, [_Parser(declared)], {})
    declared += _of_the_command(tree, interpreter)
    inverses = _inverse_prefixes(tree)
    flags = [_flag(*each, inverses) for each in declared if str(each[1][0]).startswith("-")]
    return tuple(sorted(_with_optimization_level(tree, flags), key=lambda flag: flag.names[0]))


def _of_the_command(tree: SourceTree, interpreter: Interpreter) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """What ``vllm serve`` itself adds to the server's options (``--grpc`` from 0.18.0 to 0.19.1)."""
    module = tree.module("vllm.entrypoints.cli.serve")
    found: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    if module is None:
        return found
    for statement in module.body:
        for node in ast.walk(statement):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="serve_parser"), attr="add_argument")):
                    names = tuple(interpreter.evaluate(each, Scope(module)) for each in node.args)
                    values = {
                        key.arg: interpreter.evaluate(key.value, Scope(module)) for key in node.keywords if key.arg
                    }
                    found.append(("", names, values))
    return found


def _cuda() -> Any:
    """The platform that the catalogue speaks of."""
    from types import SimpleNamespace

    return SimpleNamespace(device_type="cuda")


def _flag(group: str, names: tuple[Any, ...], keywords: dict[str, Any], inverses: dict[str, str]) -> Flag:
    if UNKNOWN in names:
        raise ExtractionError(f"an option whose name is not known, in group {group!r}")
    spelled = (*(n for n in names if n.startswith("--")), *(n for n in names if not n.startswith("--")))
    dest = keywords.get("dest") or spelled[0].lstrip("-").replace("-", "_")
    action = keywords.get("action")
    negations: tuple[str, ...] = ()
    converter = _converter(keywords.get("type", str))
    kind = converter.kind
    if action is BOOLEAN_OPTIONAL:
        long = [name for name in spelled if name.startswith("--")]
        negations = (
            *("--no-" + name[2:] for name in long),
            *(new + name.removeprefix(old) for name in long for old, new in inverses.items() if name.startswith(old)),
        )
        kind = "optional_bool" if keywords.get("three") or keywords.get("default", UNKNOWN) is None else "bool"
    elif action in {"store_true", "store_false"}:
        kind = "bool"
        keywords = {"default": action == "store_false", **keywords}
    choices = keywords.get("choices")
    return Flag(
        dest=dest,
        names=spelled,
        negations=negations,
        type=kind,
        nargs=keywords.get("nargs"),
        default=_plain(keywords.get("default")),
        choices=_texts(choices),
        known=() if choices else _texts(keywords.get("known")),
        none_allowed=converter.none_allowed,
        accepts_auto=converter.accepts_auto,
        text_allowed=converter.text_allowed,
        folded=converter.folded,
        repeatable=action == "append",
        deprecated=_deprecated(keywords),
        group=group,
    )


def _converter(kind: Any, *, none_allowed: bool = False) -> Converter:
    match kind:
        case Converter():
            return dataclasses.replace(kind, none_allowed=kind.none_allowed or none_allowed)
        case Anonymous(node=made):
            return Converter("str", none_allowed, folded=ast.unparse(made.body) in _FOLDING)
        case Function(node=node):
            found = {
                "human_readable_int": Converter("human_int"),
                "human_readable_int_or_auto": Converter("human_int", accepts_auto=True),
                "union_dict_and_str": Converter("json", text_allowed=True),
            }.get(node.name, Converter("str"))
            return _converter(found, none_allowed=none_allowed)
    if is_outside(kind) and kind.__name__ == "json.loads":
        return Converter("json", none_allowed)
    # `type=bool` reads any text as true: it takes a value, so it is no switch.
    return Converter({int: "int", float: "float"}.get(kind, "str") if isinstance(kind, type) else "str", none_allowed)  # type: ignore[arg-type]


def _texts(options: Any) -> tuple[str, ...]:
    if not isinstance(options, (list, tuple, set, dict)) or UNKNOWN in list(options):
        return ()
    return tuple(dict.fromkeys(str(option) for option in options if option not in (None, "None")))


def _plain(value: Any) -> Any:
    """A default as JSON has it; ``None`` where it is computed or an object."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple, set)):
        items = [_plain(item) for item in (sorted(value) if isinstance(value, set) else value)]
        return None if None in items else items
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return None


def _deprecated(keywords: dict[str, Any]) -> bool:
    if keywords.get("deprecated") is True:
        return True
    action = keywords.get("action")
    if isinstance(action, type) and action.__name__.startswith("Deprecated"):
        return True
    text = keywords.get("help")
    if not isinstance(text, str):
        return False
    return any(pattern.search(text) for pattern in _DEPRECATED)


def _argparse_module(tree: SourceTree) -> Module:
    for name in _ARGPARSE_MODULES:
        module = tree.module(name)
        if module is not None and "FlexibleArgumentParser" in module.bindings:
            return module
    raise ExtractionError("no FlexibleArgumentParser")


def _inverse_prefixes(tree: SourceTree) -> dict[str, str]:
    """``--enable-`` -> ``--disable-`` where the release pairs them (``EnableDisableAction``)."""
    for node in _argparse_module(tree).body:
        for inner in node.body if isinstance(node, ast.ClassDef) else ():
            match inner:
                case ast.Assign(targets=[ast.Name(id="_inverse_prefixes")], value=value):
                    return dict(ast.literal_eval(value))
    return {}


def _with_optimization_level(tree: SourceTree, flags: list[Flag]) -> list[Flag]:
    """``-O`` belongs to ``--optimization-level`` where the parser rewrites it before argparse sees it."""
    import msgspec

    if any("-O" in flag.names for flag in flags):
        return flags
    parser = _argparse_module(tree).bindings["FlexibleArgumentParser"]
    constants = {node.value for node in ast.walk(parser) if isinstance(node, ast.Constant)}  # type: ignore[arg-type]
    if not {"-O", "--optimization-level"} <= constants:
        return flags
    return [
        msgspec.structs.replace(flag, names=(*flag.names, "-O")) if flag.dest == "optimization_level" else flag
        for flag in flags
    ]
