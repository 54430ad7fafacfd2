"""The latency table of a served run: what was measured, its interval, and the budget of the card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qcmatrix.results.regressions import Move, move_text
from qcmatrix.results.schema import CaseResult

__all__ = ["latency_lines", "move_lines"]

_QUANTILES = ("p50", "p95", "p99")


def latency_lines(cases: Iterable[CaseResult]) -> Iterator[str]:
    """A row per workload and metric; nothing where nothing was measured, or only a scaled-down form of it."""
    rows = [row for case in cases if not case.figures.get("scaled") for row in _rows(case)]
    if not rows:
        return
    yield f"| Workload | Metric, ms | n | {' | '.join(_QUANTILES)} | Budget |"
    yield "|---|---|---|---|---|---|---|"
    yield from rows
    yield ""


def move_lines(moves: Iterable[Move]) -> Iterator[str]:
    """How the medians moved against earlier runs; nothing where there are too few of those."""
    known = [move for move in moves if move.verdict != "unknown"]
    if not known:
        return
    told = [move for move in known if move.verdict != "same"]
    still = len(known) - len(told)
    yield f"Medians against the runs before: {still} the same" + (", but" if told else ".")
    yield ""
    for move in told:
        yield f"- {move_text(move).replace(move.verdict, f'**{move.verdict}**', 1)}"
    if told:
        yield ""


def _rows(case: CaseResult) -> Iterator[str]:
    metrics = case.figures.get("metrics")
    if not isinstance(metrics, Mapping):
        return
    budgets = [each for each in case.figures.get("budgets") or () if isinstance(each, Mapping)]
    for metric, told in metrics.items():
        if not isinstance(told, Mapping):
            continue
        own = [each for each in budgets if each.get("metric") == metric]
        shown = "; ".join(
            f"{each.get('quantile')} at most {_ms(each.get('most'))}: {each.get('state')}" for each in own
        )
        quantiles = " | ".join(_quantile(told, name) for name in _QUANTILES)
        yield f"| {case.id} | {metric.removesuffix('_ms')} | {told.get('n', '')} | {quantiles} | {shown} |"


def _quantile(told: Mapping[str, Any], name: str) -> str:
    """``210 (200 to 230)``; empty: too few values for it."""
    if told.get(name) is None:
        return ""
    interval = told.get(f"ci95_{name}")
    low_high = f" ({_ms(interval[0])} to {_ms(interval[1])})" if isinstance(interval, (list, tuple)) else ""
    return f"{_ms(told[name])}{low_high}"


def _ms(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return str(value)
    return f"{value:.0f}" if value >= 100 or float(value).is_integer() else f"{value:.1f}"
