"""The values that the interpreter of vLLM's source works with."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qcmatrix.refresh.tree import ExtractionError, Module

__all__ = [
    "UNKNOWN",
    "Anonymous",
    "ClassSource",
    "Function",
    "Method",
    "ModuleRef",
    "Outside",
    "Scope",
    "is_outside",
    "outside",
]


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        raise ExtractionError("a value that is not known statically decides a branch")


UNKNOWN: Any = _Unknown()
"""A value that the source alone does not tell."""


class Outside:
    """Base of the stand-ins for classes and functions of other packages."""


@functools.cache
def outside(name: str) -> type:
    """A stand-in class for ``torch.dtype`` and the like: usable in type hints, nothing else."""
    return type(name, (Outside,), {"__module__": "outside"})


def is_outside(value: object) -> bool:
    """Whether ``value`` stands for something of another package."""
    return isinstance(value, type) and issubclass(value, Outside)


@dataclass(frozen=True, slots=True)
class ClassSource:
    """Where a class of the release is written."""

    module: Module
    node: ast.ClassDef


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the release; ``owner`` is its class."""

    module: Module
    node: ast.FunctionDef
    owner: type | None = None


@dataclass(frozen=True, slots=True)
class Anonymous:
    """A ``lambda``."""

    node: ast.Lambda


@dataclass(frozen=True, slots=True)
class Method:
    """A function with what it is bound to (``None``: a static method)."""

    function: Function
    receiver: Any


@dataclass(frozen=True, slots=True)
class ModuleRef:
    """A module as a value."""

    name: str


@dataclass(slots=True)
class Scope:
    """Local names over a module's names."""

    module: Module
    names: dict[str, Any] = field(default_factory=dict)
    owner: type | None = None

    def with_names(self, names: Mapping[str, Any]) -> Scope:
        """A scope inside this one."""
        return Scope(self.module, {**self.names, **names}, self.owner)
