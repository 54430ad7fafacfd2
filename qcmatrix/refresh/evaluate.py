"""Constants, type hints, enums and config classes of a release, evaluated from its syntax trees.

Nothing of the release runs. What cannot be known is :data:`UNKNOWN`, which swallows every operation, so that a wrong
guess is impossible and a missing value is visible.
"""

from __future__ import annotations

import ast
import enum
import itertools
import operator
import ssl
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from qcmatrix.refresh.tree import ExtractionError, Import, Module, SourceTree
from qcmatrix.refresh.values import (
    UNKNOWN,
    Anonymous,
    ClassSource,
    Function,
    Method,
    ModuleRef,
    Scope,
    is_outside,
    outside,
)

__all__ = ["CALLABLE", "Evaluator"]

_BUILTINS: dict[str, Any] = {
    kind.__name__: kind for kind in (bool, bytes, dict, float, frozenset, int, list, object, set, str, tuple, type)
} | {"len": len, "sorted": sorted, "min": min, "max": max, "Ellipsis": ..., "range": range}
_TYPING_MODULES = {"typing", "typing_extensions", "collections.abc", "types", "collections"}
_REAL: dict[str, Any] = {"ssl.CERT_NONE": ssl.CERT_NONE, "itertools.permutations": itertools.permutations}
CALLABLE = (*_BUILTINS.values(), itertools.permutations, typing.get_args)
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_METHODS = {
    str: {"replace", "join", "lower", "upper", "strip", "split", "removeprefix"},
    dict: {"items", "keys", "values", "get", "pop", "update"},
    list: {"append", "remove", "extend"},
}


class Evaluator:
    """Evaluates names, classes, type hints and expressions of one release.

    ``known`` gives values that the release only has at run time: ``Class.attribute`` or ``module.name`` -> value, or
    a Python callable for a function.
    """

    def __init__(self, tree: SourceTree, known: Mapping[str, Any] | None = None):
        self.tree = tree
        self.known = dict(known or {})
        self._globals: dict[tuple[str, str], Any] = {}
        self._classes: dict[tuple[str, str], type] = {}

    # -- names ---------------------------------------------------------------------------------------------------

    def name(self, module: Module, name: str) -> Any:
        """The value that ``name`` has at the end of ``module``."""
        key = (module.name, name)
        if f"{module.name}.{name}" in self.known:
            return self.known[f"{module.name}.{name}"]
        if key not in self._globals:
            self._globals[key] = UNKNOWN  # a name that needs itself is not known
            self._globals[key] = self._global(module, name)
        return self._globals[key]

    def _global(self, module: Module, name: str) -> Any:
        binding = module.bindings.get(name)
        match binding:
            case ast.ClassDef():
                return self.class_of(module, binding)
            case ast.FunctionDef():
                return Function(module, binding)
            case Import():
                return self._imported(binding)
            case ast.expr():
                return self.evaluate(binding, Scope(module))
        for star in module.stars:
            source = self.tree.module(star)
            if source is not None and (name in source.bindings or source.stars):
                value = self.name(source, name)
                if value is not UNKNOWN:
                    return value
        return _BUILTINS.get(name, UNKNOWN)

    def _imported(self, what: Import) -> Any:
        if what.attribute is None:
            return ModuleRef(what.module)
        return self._attribute(ModuleRef(what.module), what.attribute)

    # -- classes -------------------------------------------------------------------------------------------------

    def class_of(self, module: Module, node: ast.ClassDef) -> type:
        """The stand-in for a class of the release: a real ``Enum`` for an enum, an empty class otherwise."""
        key = (module.name, node.name)
        if key not in self._classes:
            scope = Scope(module)
            bases = tuple(_origin(self.evaluate(base, scope)) for base in node.bases)
            self._classes[key] = self._enum(module, node, bases) or self._plain(module, node, bases)
        return self._classes[key]

    def _plain(self, module: Module, node: ast.ClassDef, bases: tuple[Any, ...]) -> type:
        body = {"__module__": module.name, "source": ClassSource(module, node)}
        real = tuple(base for base in bases if isinstance(base, type) and base is not object and not is_outside(base))
        try:
            return type(node.name, real, dict(body))
        except TypeError:
            return type(node.name, (), dict(body))

    def _enum(self, module: Module, node: ast.ClassDef, bases: tuple[Any, ...]) -> type | None:
        names = {getattr(base, "__name__", "") for base in bases}
        if not (
            any(isinstance(b, type) and issubclass(b, enum.Enum) for b in bases) or any("Enum" in n for n in names)
        ):
            return None
        scope = Scope(module)
        members: dict[str, Any] = {}
        for statement in node.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if not name.startswith("_"):
                    item = self.evaluate(value, scope.with_names(members))
                    members[name] = name.lower() if is_outside(item) or item is UNKNOWN else item
        if not members:
            return None
        functional: Any = enum.Enum  # mypy only knows the functional form with literal names
        made = functional(node.name, members)
        made.__module__ = module.name
        return made if isinstance(made, type) else None

    def annotations(self, cls: type) -> dict[str, tuple[ClassSource, ast.AnnAssign]]:
        """Field name -> where it is annotated, bases first, as ``dataclasses.fields`` orders them."""
        found: dict[str, tuple[ClassSource, ast.AnnAssign]] = {}
        for source in reversed(_sources(cls)):
            for statement in source.node.body:
                match statement:
                    case ast.AnnAssign(target=ast.Name(id=name)):
                        found[name] = (source, statement)
        return found

    def class_attribute(self, cls: type, name: str) -> Any:
        """``cls.name`` as written in its body: a constant, a field's default or a method."""
        for owner in cls.__mro__:
            if f"{owner.__name__}.{name}" in self.known:
                return self.known[f"{owner.__name__}.{name}"]
        for source, owner in zip(_sources(cls), _owners(cls), strict=True):
            for statement in source.node.body:
                match statement:
                    case ast.FunctionDef() if statement.name == name:
                        return self._bind(Function(source.module, statement, owner), cls)
                    case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                        return self.default(value, self.body_scope(source))
                    case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                        return self.evaluate(value, self.body_scope(source))
        return UNKNOWN

    def body_scope(self, source: ClassSource) -> Scope:
        """The scope inside a class body; constants of the body are found by name."""
        constants: dict[str, Any] = {}
        scope = Scope(source.module)
        for statement in source.node.body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value))
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value))
                ):
                    constants[name] = value
        return scope.with_names(constants)

    def default(self, node: ast.expr, scope: Scope) -> Any:
        """A field's default, seen through ``field(...)`` and ``Field(...)``."""
        match node:
            case ast.Call(func=ast.Name(id="field" | "Field" | "PydanticField")):
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                if "default_factory" in given:
                    return self._made(given["default_factory"], scope)
                value = given.get("default", node.args[0] if node.args else None)
                return UNKNOWN if value is None else self.evaluate(value, scope)
        return self.evaluate(node, scope)

    def _made(self, factory: ast.expr, scope: Scope) -> Any:
        if isinstance(factory, ast.Lambda):
            return self.evaluate(factory.body, scope)
        made = self.evaluate(factory, scope)
        kind = next((k for k in (dict, list, set, tuple) if isinstance(made, type) and issubclass(made, k)), None)
        return UNKNOWN if kind is None else kind()

    # -- expressions ---------------------------------------------------------------------------------------------

    def evaluate(self, node: ast.expr, scope: Scope) -> Any:
        """The value of an expression, :data:`UNKNOWN` where the source alone does not tell."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return scope.names[name] if name in scope.names else self.name(scope.module, name)
            case ast.Attribute(value=value, attr=attribute):
                return self._attribute(self.evaluate(value, scope), attribute)
            case ast.Tuple() | ast.List() | ast.Set():
                items = self._items(node.elts, scope)
                kind = {ast.Tuple: tuple, ast.List: list, ast.Set: set}[type(node)]
                return UNKNOWN if items is UNKNOWN else kind(items)
            case ast.Dict():
                return self._dict(node, scope)
            case ast.Subscript(value=value, slice=index):
                return self._subscript(self.evaluate(value, scope), index, scope)
            case ast.BinOp(left=left, op=op, right=right):
                return self._operate(type(op), self.evaluate(left, scope), self.evaluate(right, scope))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._operate(type(op), self.evaluate(left, scope), self.evaluate(right, scope))
            case ast.UnaryOp(op=op, operand=operand):
                return _unary(op, self.evaluate(operand, scope))
            case ast.BoolOp(op=op, values=values):
                return self._boolean(op, values, scope)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                decided = self.evaluate(test, scope)
                return UNKNOWN if decided is UNKNOWN else self.evaluate(body if decided else orelse, scope)
            case ast.JoinedStr(values=values):
                parts = [self.evaluate(v.value if isinstance(v, ast.FormattedValue) else v, scope) for v in values]
                return UNKNOWN if UNKNOWN in parts else "".join(map(str, parts))
            case ast.Lambda():
                return Anonymous(node)
            case ast.Call():
                return self._call_node(node, scope)
            case ast.ListComp(elt=item, generators=[loop]) | ast.GeneratorExp(elt=item, generators=[loop]):
                return self._comprehension(item, loop, scope)
        return UNKNOWN

    def _items(self, nodes: list[ast.expr], scope: Scope) -> Any:
        items: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                more = self.evaluate(node.value, scope)
                if not isinstance(more, (list, tuple, set, dict)):
                    return UNKNOWN
                items.extend(more)
            else:
                items.append(self.evaluate(node, scope))
        return items

    def _dict(self, node: ast.Dict, scope: Scope) -> Any:
        made: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                more = self.evaluate(value, scope)
                if not isinstance(more, dict):
                    return UNKNOWN
                made.update(more)
            else:
                known = self.evaluate(key, scope)
                if known is UNKNOWN:
                    return UNKNOWN
                made[known] = self.evaluate(value, scope)
        return made

    def _comprehension(self, item: ast.expr, loop: ast.comprehension, scope: Scope) -> Any:
        rows = self.evaluate(loop.iter, scope)
        if rows is UNKNOWN or is_outside(rows) or not hasattr(rows, "__iter__"):
            return UNKNOWN
        made = []
        for row in rows:
            inner = scope.with_names({})
            self._assign(loop.target, row, inner)
            tests = [self.evaluate(test, inner) for test in loop.ifs]
            if UNKNOWN in tests:
                return UNKNOWN
            if all(tests):
                made.append(self.evaluate(item, inner))
        return made

    def _boolean(self, op: ast.boolop, values: list[ast.expr], scope: Scope) -> Any:
        result: Any = UNKNOWN
        for value in values:
            result = self.evaluate(value, scope)
            if result is UNKNOWN or bool(result) is isinstance(op, ast.Or):
                return result
        return result

    def _operate(self, op: type[ast.AST], left: Any, right: Any) -> Any:
        if op is ast.BitOr:
            # Type unions: something unknown in a hint is still a class.
            left, right = (outside("unknown") if side is UNKNOWN else side for side in (left, right))
        if left is UNKNOWN or right is UNKNOWN or op not in _OPERATORS:
            return UNKNOWN
        try:
            return _OPERATORS[op](left, right)
        except TypeError:
            return UNKNOWN

    def _subscript(self, value: Any, index: ast.expr, scope: Scope) -> Any:
        if isinstance(index, ast.Slice):
            bounds = [None if b is None else self.evaluate(b, scope) for b in (index.lower, index.upper)]
            return value[slice(*bounds)] if isinstance(value, (list, tuple, str)) else UNKNOWN
        key = self.evaluate(index, scope)
        if value is UNKNOWN:
            return UNKNOWN
        if is_outside(value):
            # pydantic's SkipValidation[X] is Annotated[X, ...] at run time.
            return key if value.__name__.endswith("SkipValidation") else value
        if isinstance(value, dict):
            return value.get(key, UNKNOWN)
        if value is not typing.Literal:
            key = _known_hint(key)
        try:
            return value[key]
        except (TypeError, IndexError, KeyError):
            return UNKNOWN

    def _attribute(self, value: Any, name: str) -> Any:
        match value:
            case ModuleRef(name=module):
                return self._module_attribute(module, name)
            case types.SimpleNamespace():
                return getattr(value, name, UNKNOWN)
            case enum.Enum() if name in {"value", "name"}:
                return getattr(value, name)
        if is_outside(value):
            return outside(f"{value.__name__}.{name}")
        if isinstance(value, type):
            if name == "__name__":
                return value.__name__
            if issubclass(value, enum.Enum):
                return getattr(value, name, UNKNOWN)
            return self.class_attribute(value, name)
        for kind, methods in _METHODS.items():
            if isinstance(value, kind) and name in methods:
                return getattr(value, name)
        attribute = getattr(value, name, None) if getattr(value, "interpreted", False) else None
        return UNKNOWN if attribute is None else attribute

    def _module_attribute(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in self.known:
            return self.known[full]
        if full in _REAL:
            return _REAL[full]
        if module in _TYPING_MODULES:
            return getattr(typing, name, outside(full))
        if module == "vllm" or module.startswith("vllm."):
            source = self.tree.module(module)
            if source is not None and (name in source.bindings or source.stars):
                value = self.name(source, name)
                if value is not UNKNOWN or name in source.bindings:
                    return value
            return ModuleRef(full) if self.tree.module(full) is not None else UNKNOWN
        return outside(full)

    # -- for the interpreter -------------------------------------------------------------------------------------

    def _call_node(self, node: ast.Call, scope: Scope) -> Any:  # noqa: ARG002 - a subclass reads them
        """A call: its value takes an :class:`~qcmatrix.refresh.interpret.Interpreter`."""
        return UNKNOWN

    def _assign(self, target: ast.expr, value: Any, scope: Scope) -> None:
        match target:
            case ast.Name(id=name):
                scope.names[name] = value
            case ast.Tuple(elts=targets):
                for each, item in zip(targets, value, strict=True):
                    self._assign(each, item, scope)
            case ast.Subscript(value=container, slice=index):
                self.evaluate(container, scope)[self.evaluate(index, scope)] = value
            case _:
                raise ExtractionError(f"an assignment that is not understood: {ast.unparse(target)}")

    def _bind(self, function: Function, receiver: type) -> Method:
        decorators = {ast.unparse(d) for d in function.node.decorator_list}
        return Method(function, None if "staticmethod" in decorators else receiver)


def _origin(base: Any) -> Any:
    return typing.get_origin(base) or base


def _owners(cls: type) -> list[type]:
    return [owner for owner in cls.__mro__ if "source" in vars(owner)]


def _sources(cls: type) -> list[ClassSource]:
    return [vars(owner)["source"] for owner in _owners(cls)]


def _unary(op: ast.unaryop, value: Any) -> Any:
    if value is UNKNOWN:
        return UNKNOWN
    match op:
        case ast.Not():
            return not value
        case ast.USub():
            return -value
    return UNKNOWN


def _known_hint(value: Any) -> Any:
    if value is UNKNOWN:
        return outside("unknown")
    if isinstance(value, (tuple, list)):
        return type(value)(_known_hint(item) for item in value)
    return value
