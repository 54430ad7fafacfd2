"""Steps through the functions of a release that declare command line arguments.

Only functions that are named may be stepped into; every statement they use is known here or the extraction stops.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from qcmatrix.refresh.evaluate import CALLABLE, Evaluator
from qcmatrix.refresh.tree import ExtractionError, SourceTree
from qcmatrix.refresh.values import UNKNOWN, Function, Method, ModuleRef, Scope, is_outside

__all__ = ["Interpreter"]


class _Return(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


class Interpreter(Evaluator):
    """An evaluator that also answers calls.

    ``runs`` names the functions of the release that may be stepped into; ``known`` may hold a Python callable for
    others, by ``function()`` or ``module.function()``.
    """

    def __init__(
        self, tree: SourceTree, known: Mapping[str, Any] | None = None, runs: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(tree, known)
        self.runs = runs

    def _call_node(self, node: ast.Call, scope: Scope) -> Any:
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            return _Super(self, scope)
        called = self.evaluate(node.func, scope)
        if called is UNKNOWN or is_outside(called):
            return UNKNOWN
        args = self._items(node.args, scope)
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value, scope)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            elif isinstance(value, dict):
                keywords.update(value)
            else:
                raise ExtractionError(f"{scope.module.path}:{node.lineno}: **{ast.unparse(keyword.value)} is not known")
        return self.call(called, [] if args is UNKNOWN else args, keywords)

    def call(self, called: Any, args: list[Any], keywords: dict[str, Any]) -> Any:
        """Call a function of the release (if it may be stepped into) or one of this interpreter's own values."""
        match called:
            case Function(module=module, node=node):
                own = self.known.get(f"{module.name}.{node.name}()") or self.known.get(f"{node.name}()")
                if own is not None:
                    return own(*args, **keywords)
                return self.run(called, args, keywords) if node.name in self.runs else UNKNOWN
            case Method(function=function, receiver=receiver):
                first = [] if receiver is None else [receiver]
                return self.run(function, [*first, *args], keywords) if function.node.name in self.runs else UNKNOWN
        if not callable(called) or (isinstance(called, type) and called not in CALLABLE):
            return UNKNOWN
        pure = called in CALLABLE or isinstance(getattr(called, "__self__", None), str)
        if pure and any(value is UNKNOWN for value in (*args, *keywords.values())):
            return UNKNOWN
        try:
            return called(*args, **keywords)
        except (TypeError, ValueError, KeyError) as error:
            raise ExtractionError(f"{called!r} called with {args!r} {keywords!r}: {error}") from error

    def run(self, function: Function, args: list[Any], keywords: dict[str, Any]) -> Any:
        """Step through a function of the release."""
        scope = Scope(function.module, {}, function.owner)
        parameters = function.node.args
        names = [parameter.arg for parameter in parameters.args]
        defaults = dict(zip(reversed(names), reversed(parameters.defaults), strict=False))
        for position, parameter in enumerate(parameters.args):
            if position < len(args):
                scope.names[parameter.arg] = args[position]
            elif parameter.arg in keywords:
                scope.names[parameter.arg] = keywords[parameter.arg]
            elif parameter.arg in defaults:
                scope.names[parameter.arg] = self.evaluate(defaults[parameter.arg], scope)
            else:
                scope.names[parameter.arg] = UNKNOWN
        try:
            self._execute(function.node.body, scope)
        except _Return as done:
            return done.value
        return None

    def _execute(self, body: list[ast.stmt], scope: Scope) -> None:
        for statement in body:
            try:
                self._step(statement, scope)
            except ExtractionError as error:
                raise ExtractionError(f"{scope.module.path.name}:{statement.lineno}: {error}") from error

    def _step(self, statement: ast.stmt, scope: Scope) -> None:
        match statement:
            case ast.Expr(value=value):
                self.evaluate(value, scope)
            case ast.Assign(targets=targets, value=value):
                result = self.evaluate(value, scope)
                for target in targets:
                    self._assign(target, result, scope)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, self.evaluate(value, scope), scope)
            case ast.AugAssign(target=target, op=op, value=value):
                now = self.evaluate(_load(target), scope)
                self._assign(target, self._operate(type(op), now, self.evaluate(value, scope)), scope)
            case ast.Delete(targets=[ast.Subscript(value=value, slice=index)]):
                self.evaluate(value, scope).pop(self.evaluate(index, scope))
            case ast.If(test=test, body=body, orelse=orelse):
                self._execute(body if self.evaluate(test, scope) else orelse, scope)
            case ast.For(target=target, iter=rows, body=body):
                for row in list(self.evaluate(rows, scope)):
                    self._assign(target, row, scope)
                    self._execute(body, scope)
            case ast.ImportFrom(module=str() as module, names=names, level=0):
                for alias in names:
                    scope.names[alias.asname or alias.name] = self._attribute(ModuleRef(module), alias.name)
            case ast.Return(value=value):
                raise _Return(None if value is None else self.evaluate(value, scope))
            case ast.Pass():
                pass
            case _:
                raise ExtractionError(f"a statement that is not understood: {ast.unparse(statement)[:80]}")


class _Super:
    """``super()`` inside a class method."""

    interpreted = True

    def __init__(self, interpreter: Interpreter, scope: Scope) -> None:
        self._interpreter, self._scope = interpreter, scope

    def __getattr__(self, name: str) -> Any:
        owner, receiver = self._scope.owner, self._scope.names.get("cls")
        if owner is None or not isinstance(receiver, type):
            raise ExtractionError("super() outside a class method")
        parent = receiver.__mro__[receiver.__mro__.index(owner) + 1]
        found = self._interpreter.class_attribute(parent, name)
        return Method(found.function, receiver) if isinstance(found, Method) else found


def _load(target: ast.expr) -> ast.expr:
    match target:
        case ast.Name(id=name):
            return ast.Name(id=name, ctx=ast.Load())
        case ast.Subscript(value=value, slice=index):
            return ast.Subscript(value=value, slice=index, ctx=ast.Load())
    return target
