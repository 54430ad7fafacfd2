"""Type hints of config classes -> argparse arguments, as ``_compute_kwargs`` of each release does it.

Re-implements ``vllm/engine/arg_utils.py`` (``_compute_kwargs``, ``literal_to_kwargs``, ``collection_to_kwargs``). What
differs between releases (the names read as human-readable integers, choices or only a hint) is read from that file.
"""

from __future__ import annotations

import ast
import enum
import types
import typing
from dataclasses import dataclass, replace
from typing import Any

from qcmatrix.catalogue.releases import ValueType
from qcmatrix.refresh.interpret import Interpreter
from qcmatrix.refresh.tree import ExtractionError, Module
from qcmatrix.refresh.values import UNKNOWN, Outside, is_outside, outside

__all__ = ["BOOLEAN_OPTIONAL", "Converter", "HintReader"]

BOOLEAN_OPTIONAL = outside("argparse.BooleanOptionalAction")
_PYDANTIC_NUMBERS: dict[str, type] = {
    "PositiveInt": int,
    "NonNegativeInt": int,
    "PositiveFloat": float,
    "NonNegativeFloat": float,
}


@dataclass(frozen=True, slots=True)
class Converter:
    """argparse's ``type``: what kind of value it reads."""

    kind: ValueType = "str"
    none_allowed: bool = False
    """``None`` and the empty string read as no value (``optional_type``)."""
    accepts_auto: bool = False
    """``-1`` and ``auto`` read as -1 (``human_readable_int_or_auto``)."""
    text_allowed: bool = False
    """What is not a JSON object is taken as text (``union_dict_and_str``)."""
    folded: bool = False
    """Read in lower case, with hyphens as underscores (a ``lambda``)."""


class HintReader:
    """``get_kwargs`` of one release."""

    def __init__(self, interpreter: Interpreter, arg_utils: Module) -> None:
        self.interpreter = interpreter
        compute = _function(arg_utils, "_compute_kwargs")
        literal = _function(arg_utils, "literal_to_kwargs")
        text = ast.unparse(compute)
        self.literal_with_text_is_a_hint = "metavar" in ast.unparse(literal)
        self.bool_or_text_has_optional_value = "{bool, str, type(None)}" in text
        self.human_names = _human_names(compute)
        self.auto_names = {"max_model_len"} if "human_readable_int_or_auto" in text else set()
        if not self.human_names:
            raise ExtractionError(f"{arg_utils.path}: no name is read as a human-readable integer")

    def get_kwargs(self, cls: type) -> dict[str, dict[str, Any]]:
        """Field name -> argparse keywords (``type`` is a :class:`Converter`)."""
        made: dict[str, dict[str, Any]] = {}
        for name, (source, node) in self.interpreter.annotations(cls).items():
            hint = self.interpreter.evaluate(node.annotation, self.interpreter.body_scope(source))
            if "ClassVar" in ast.unparse(node.annotation) or "InitVar" in ast.unparse(node.annotation):
                continue
            default = UNKNOWN
            if node.value is not None:
                default = self.interpreter.default(node.value, self.interpreter.body_scope(source))
            made[name] = {"default": default, "help": _doc_after(source.node, node), "_class": cls.__name__}
            made[name] |= self._keywords(name, hint)
        return made

    def _keywords(self, name: str, hint: Any) -> dict[str, Any]:
        hints = {dict if _is_dict_class(each) else each for each in _flatten(hint)}
        made: dict[str, Any] = {}
        if any(_is_dataclass(each) for each in hints):
            made["type"] = Converter("json")
        elif self.bool_or_text_has_optional_value and hints == {bool, str, type(None)}:
            made |= {"type": Converter("str"), "nargs": "?"}
        elif _has(hints, bool):
            # `bool | None` is a switch with three states; argparse itself makes no difference.
            return {"action": BOOLEAN_OPTIONAL, "three": type(None) in hints}
        elif _has(hints, typing.Literal):
            made |= self._literal(hints)
        elif (collection := next((k for k in (tuple, list, set) if _has(hints, k)), None)) is not None:
            made |= self._collection(hints, collection)
        elif _has(hints, int):
            auto, human = name in self.auto_names, name in self.human_names or name in self.auto_names
            made["type"] = Converter("human_int" if human else "int", accepts_auto=auto)
        elif _has(hints, float):
            made["type"] = Converter("float")
        elif _has(hints, dict):
            others = any(_has(hints, str) or _not_builtin(each) for each in hints)
            made["type"] = Converter("json", text_allowed=others)
        else:
            made |= {"type": Converter("str"), "known": _enum_values(hints)}
        if type(None) in hints and not _has(hints, bool):
            kind: Converter = made["type"]
            made["type"] = replace(kind, none_allowed=True)
        return made

    def _literal(self, hints: set[Any]) -> dict[str, Any]:
        options = typing.get_args(_get(hints, typing.Literal))
        key = "known" if self.literal_with_text_is_a_hint and _has(hints, str) else "choices"
        return {"type": _converter(type(options[0])), key: sorted(options)}

    def _collection(self, hints: set[Any], kind: type) -> dict[str, Any]:
        items = typing.get_args(_get(hints, kind))
        item = items[0] if items else str
        if typing.get_origin(item) in {typing.Union, types.UnionType}:
            item = str
        made: dict[str, Any] = {"nargs": "+" if kind is not tuple or Ellipsis in items else len(items)}
        if typing.get_origin(item) is typing.Literal:
            return made | self._literal({item})
        return made | {"type": _converter(item)}


def _enum_values(hints: set[Any]) -> list[str]:
    """How the members of an enum are written on a command line: by name where the value is a class path."""
    found = next((each for each in hints if isinstance(each, type) and issubclass(each, enum.Enum)), None)
    if found is None:
        return []
    values = {name: str(member.value) for name, member in found.__members__.items()}
    by_name = any("." in value for value in values.values())
    return sorted(values if by_name else values.values())


def _converter(kind: Any) -> Converter:
    if kind is int:
        return Converter("int")
    if kind is float:
        return Converter("float")
    return Converter("str")


def _flatten(hint: Any) -> set[Any]:
    if hint is UNKNOWN:
        return {outside("unknown")}
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _flatten(typing.get_args(hint)[0])
    if origin in {typing.Union, types.UnionType}:
        return {each for part in typing.get_args(hint) for each in _flatten(part)}
    if is_outside(hint):
        return {_PYDANTIC_NUMBERS.get(hint.__name__.rpartition(".")[2], hint)}
    return {type(None) if hint is None else hint}


def _has(hints: set[Any], kind: Any) -> bool:
    return _get(hints, kind) is not None


def _get(hints: set[Any], kind: Any) -> Any:
    return next((each for each in hints if each is kind or typing.get_origin(each) is kind), None)


def _not_builtin(hint: Any) -> bool:
    return getattr(hint, "__module__", "builtins") != "builtins"


def _is_dict_class(hint: Any) -> bool:
    return isinstance(hint, type) and hint is not dict and issubclass(hint, dict)


def _is_dataclass(hint: Any) -> bool:
    if not isinstance(hint, type) or issubclass(hint, (Outside, enum.Enum)):
        return False
    for owner in hint.__mro__:
        source = vars(owner).get("source")
        for decorator in source.node.decorator_list if source is not None else ():
            name = ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if name.rpartition(".")[2] in {"dataclass", "config"}:
                return True
    return False


def _function(module: Module, name: str) -> ast.FunctionDef:
    found = module.bindings.get(name)
    if not isinstance(found, ast.FunctionDef):
        raise ExtractionError(f"{module.path}: no function {name}")
    return found


def _human_names(compute: ast.FunctionDef) -> set[str]:
    """The names that the branch for integers compares with, where it picks ``human_readable_int``."""
    names: set[str] = set()
    for node in ast.walk(compute):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "contains_type(type_hints, int)"):
            continue
        for inner in (each for statement in node.body for each in ast.walk(statement)):
            if isinstance(inner, (ast.Set, ast.Tuple, ast.List)):
                names |= {str(item.value) for item in inner.elts if isinstance(item, ast.Constant)}
            elif isinstance(inner, ast.Compare) and isinstance(inner.comparators[0], ast.Constant):
                names.add(str(inner.comparators[0].value))
    return names


def _doc_after(node: ast.ClassDef, field: ast.AnnAssign) -> str:
    position = next((index for index, statement in enumerate(node.body) if statement is field), None)
    if position is not None and position + 1 < len(node.body):
        match node.body[position + 1]:
            case ast.Expr(value=ast.Constant(value=str() as text)):
                return text.strip()
    return ""
