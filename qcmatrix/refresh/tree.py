"""The Python files of one vLLM release as modules with bindings, parsed on demand, never imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ExtractionError", "Import", "Module", "SourceTree"]


class ExtractionError(Exception):
    """The source is not as the extractor knows it: a person has to look."""


@dataclass(frozen=True, slots=True)
class Import:
    """A name bound by an import: ``attribute`` of ``module``, or the module itself."""

    module: str
    attribute: str | None = None


Binding = ast.expr | ast.ClassDef | ast.FunctionDef | Import


@dataclass(slots=True)
class Module:
    """One parsed file."""

    name: str
    path: Path
    body: list[ast.stmt]
    bindings: dict[str, Binding] = field(default_factory=dict)
    """The last binding of each top-level name, as at run time (``TYPE_CHECKING`` is false)."""
    stars: list[str] = field(default_factory=list)
    """Modules of ``from x import *``."""

    @property
    def package(self) -> str:
        """What relative imports are relative to."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


class SourceTree:
    """``root`` holds the directory ``vllm``."""

    def __init__(self, root: Path) -> None:
        if not (root / "vllm" / "__init__.py").is_file():
            raise ExtractionError(f"{root}: holds no vllm/__init__.py")
        self.root = root
        self._modules: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """The module of that dotted name; ``None`` when the release has no such file."""
        if name not in self._modules:
            self._modules[name] = self._parse(name)
        return self._modules[name]

    def require(self, *names: str) -> Module:
        """The first of ``names`` that exists.

        Raises:
            ExtractionError: none does.
        """
        for name in names:
            if (module := self.module(name)) is not None:
                return module
        raise ExtractionError(f"none of these modules exists: {', '.join(names)}")

    def files(self, package: str) -> Iterator[Module]:
        """Every module below ``package``, sorted by name."""
        directory = self.root / package.replace(".", "/")
        for path in sorted(directory.rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if (module := self.module(name)) is not None:
                yield module

    def _parse(self, name: str) -> Module | None:
        stem = self.root / name.replace(".", "/")
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.is_file():
                try:
                    body = ast.parse(path.read_text(encoding="utf-8")).body
                except SyntaxError as error:
                    raise ExtractionError(f"{path}: {error}") from error
                module = Module(name, path, body)
                _bind(module, body)
                return module
        return None


def _bind(module: Module, body: list[ast.stmt]) -> None:
    for statement in body:
        match statement:
            case ast.ClassDef() | ast.FunctionDef():
                module.bindings[statement.name] = statement
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                module.bindings[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                module.bindings[name] = value
            case ast.ImportFrom():
                _bind_import_from(module, statement)
            case ast.Import():
                for alias in statement.names:
                    target = alias.name if alias.asname else alias.name.split(".")[0]
                    module.bindings[alias.asname or target] = Import(target)
            case ast.If():
                _bind_if(module, statement)
            case ast.Try():
                _bind(module, statement.body)
                _bind(module, statement.orelse)
            case _:
                pass


def _bind_import_from(module: Module, statement: ast.ImportFrom) -> None:
    source = statement.module or ""
    if statement.level:
        parts = module.package.split(".")
        parent = ".".join(parts[: len(parts) - statement.level + 1])
        source = f"{parent}.{source}" if source else parent
    for alias in statement.names:
        if alias.name == "*":
            module.stars.append(source)
        else:
            module.bindings[alias.asname or alias.name] = Import(source, alias.name)


def _bind_if(module: Module, statement: ast.If) -> None:
    test = ast.unparse(statement.test)
    if test in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
        _bind(module, statement.orelse)
        return
    # The first branch is what an up-to-date Python on Linux takes; the other one only fills gaps.
    first = dict(module.bindings)
    _bind(module, statement.orelse)
    others = {name: value for name, value in module.bindings.items() if first.get(name) is not value}
    module.bindings.update(first)
    _bind(module, statement.body)
    for name, value in others.items():
        module.bindings.setdefault(name, value)
