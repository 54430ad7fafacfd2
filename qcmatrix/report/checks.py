"""The pages of the checks, from their docstrings."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Sequence

from qcmatrix.suites.declare import Check
from qcmatrix.suites.registry import SUITES, all_checks

__all__ = ["checks_index", "suite_page"]


def checks_index() -> str:
    """All checks in one table, variants of one case in one row."""
    counts = ", ".join(f"{suite} {sum(check.suite == suite for check in all_checks())}" for suite in SUITES)
    about = "T1: contract, true of any model; T2: behaviour, a rate; T3: latency; T4: long contexts."
    lines = ["# Checks", "", f"{len(all_checks())} checks: {counts}. {about}", ""]
    lines += ["| Check | Asks | Tier | Profiles | Core | Modes | Needs |", "|---|---|---|---|---|---|---|"]
    for base, checks in _by_case(all_checks()):
        first = checks[0]
        core = {check.core for check in checks}
        cells = [
            f"[{base}]({first.suite}.md#{base.lower()})",
            _plain(first.title) if len(checks) == 1 else f"{_plain(_title(first))} ({len(checks)} variants)",
            first.tier,
            ", ".join(first.profiles),
            "in part" if len(core) > 1 else "yes" if True in core else "no",
            ", ".join(first.modes),
            ", ".join(first.needs),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def suite_page(suite: str) -> str:
    """The checks of one suite."""
    about = inspect.getdoc(importlib.import_module(f"qcmatrix.suites.{suite}")) or ""
    lines = [f"# Suite {suite}", "", about, ""]
    for base, checks in _by_case([check for check in all_checks() if check.suite == suite]):
        first = checks[0]
        lines += [f"## {base}", "", first.page.strip(), ""]
        if len(checks) > 1:
            lines += ["| Variant | Asks |", "|---|---|"]
            lines += [f"| {check.id} | {_plain(check.title)} |" for check in checks]
            lines.append("")
        lines += [f"- <{source}>" for source in dict.fromkeys(source for check in checks for source in check.sources)]
        lines.append("")
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip("\n") + "\n"


def _by_case(checks: Sequence[Check]) -> Iterator[tuple[str, list[Check]]]:
    grouped: dict[str, list[Check]] = {}
    for check in checks:
        grouped.setdefault(check.id.partition(".")[0], []).append(check)
    yield from grouped.items()


def _title(check: Check) -> str:
    return check.title.partition(":")[0]


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
