"""Version-scoped constraints, one rule per file: the function is the rule, its docstring the page."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache

from qcmatrix.catalogue.names import closest
from qcmatrix.errors import CatalogueError
from qcmatrix.rules.declare import Rule

__all__ = ["all_rules", "find_rule"]

_MACHINERY = frozenset(
    {"cases", "configuration_keys", "declare", "judge", "old_engine", "unread_override", "yarn_fix", "wider_split"}
)
_OF_FILES = ("client-", "suppression-", "command-ends-early", "unknown-name")
"""How the names of findings begin that no launch shows: ``lint/`` and ``clients/`` make them."""


@lru_cache(maxsize=1)
def all_rules() -> tuple[Rule, ...]:
    """Every rule of the package, by id.

    Raises:
        RuntimeError: two rules share an id, or a module declares none (a bug of ours).
    """
    rules: dict[str, Rule] = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.name in _MACHINERY:
            continue
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        found = [value for value in vars(module).values() if isinstance(value, Rule)]
        if len(found) != 1 or found[0].id in rules:
            raise RuntimeError(f"{module.__name__} must declare one rule of a new name, not {[r.id for r in found]}")
        rules[found[0].id] = found[0]
    return tuple(rules[rule_id] for rule_id in sorted(rules))


def find_rule(text: str) -> Rule:
    """The rule with that id (case and underscores do not matter).

    Raises:
        CatalogueError: there is none; the nearest ids are named.
    """
    by_id = {rule.id: rule for rule in all_rules()}
    wanted = text.strip().lower().replace("_", "-")
    if wanted in by_id:
        return by_id[wanted]
    if wanted.startswith(_OF_FILES):
        raise CatalogueError(
            f"{wanted} is a finding about files, not a rule about launches",
            "`qcmatrix check FILE` says with it why, and what to write; there is no page of it",
        )
    near = closest(wanted, tuple(by_id))
    raise CatalogueError(
        f"no rule is called {text.strip()!r}",
        *([f"close: {', '.join(near)}"] if near else []),
        "`qcmatrix rules` lists them",
    )
