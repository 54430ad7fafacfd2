"""All checks, found in the suites' modules."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache

from qcmatrix.errors import CatalogueError
from qcmatrix.suites.declare import Check

__all__ = ["SUITES", "all_checks", "find_checks"]

SUITES = ("boot", "tools", "fim", "context", "latency", "quality")
"""In the order in which they run: no behaviour is asked for where the contract is broken."""


@lru_cache(maxsize=1)
def all_checks() -> tuple[Check, ...]:
    """Every check of every suite: in the order of the suites, then by id.

    Raises:
        RuntimeError: two checks share an id, or one stands in another suite's package (a bug of ours).
    """
    found: dict[str, Check] = {}
    for suite in SUITES:
        package = importlib.import_module(f"qcmatrix.suites.{suite}")
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{info.name}")
            own = [
                check
                for value in vars(module).values()
                if isinstance(value, tuple)
                for check in value
                if isinstance(check, Check)
            ]
            for check in own:
                if check.suite != suite or found.get(check.id, check) is not check:
                    raise RuntimeError(f"{module.__name__}: {check.id} is there twice, or in another suite")
                found[check.id] = check
    return tuple(sorted(found.values(), key=lambda check: (SUITES.index(check.suite), _natural(check.id))))


def find_checks(wanted: str) -> tuple[Check, ...]:
    """The checks of that id (``TC-14`` stands for all of its variants), suite or profile.

    Raises:
        CatalogueError: there are none.
    """
    matching = tuple(
        check
        for check in all_checks()
        if wanted in (check.id, check.suite, *check.profiles) or check.id.startswith(f"{wanted}.")
    )
    if not matching and wanted not in SUITES:
        profiles = sorted({profile for check in all_checks() for profile in check.profiles})
        raise CatalogueError(
            f"no check, suite or profile is called {wanted!r}",
            f"suites: {', '.join(SUITES)}",
            f"profiles: {', '.join(profiles)}",
        )
    return matching


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in text.replace("-", ".").split(".")]
