"""When a budget is broken: its whole interval lies above it, twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from qcmatrix.matrix.entries import Budget
from qcmatrix.suites.latency.spread import quantile_of

__all__ = ["Verdict", "broken_twice", "budgets_for", "judge"]

Values = Mapping[str, Sequence[float]]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One budget against what was measured."""

    budget: Budget
    state: str
    """``kept``; ``broken``: all of the interval above it; ``open``: the interval straddles it, or too few values."""
    measured: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        name = f"{self.budget.metric} {self.budget.quantile}"
        if self.measured is None or self.interval is None:
            return f"{name}: too few values"
        low, high = self.interval
        return f"{name} {self.measured:.1f} ms (95 %: {low:.1f} to {high:.1f})"

    @property
    def told(self) -> dict[str, Any]:
        """For the figures of a result."""
        return {
            "metric": self.budget.metric,
            "quantile": self.budget.quantile,
            "most": self.budget.most,
            "measured": None if self.measured is None else round(self.measured, 3),
            "ci95": None if self.interval is None else [round(bound, 3) for bound in self.interval],
            "state": self.state,
        }


def budgets_for(budgets: Sequence[Budget], gpu: str | None, check: str) -> tuple[Budget, ...]:
    """Those of that card and check; one for ``LAT-02`` holds for each of its variants (``LAT-02.c4``)."""
    return tuple(
        budget
        for budget in budgets
        if gpu is not None and budget.gpu == gpu and budget.workload in (check, check.partition(".")[0])
    )


def judge(values: Values, budgets: Sequence[Budget]) -> tuple[Verdict, ...]:
    """Each of ``budgets`` against ``values`` (ms by metric)."""
    verdicts = []
    for budget in budgets:
        found = quantile_of(values.get(budget.metric, ()), budget.quantile)
        if found is None:
            verdicts.append(Verdict(budget=budget, state="open"))
            continue
        state = "broken" if found.low > budget.most else "kept" if found.high <= budget.most else "open"
        verdicts.append(Verdict(budget=budget, state=state, measured=found.value, interval=(found.low, found.high)))
    return tuple(verdicts)


def broken_twice(
    first: Values, budgets: Sequence[Budget], again: Callable[[], Values]
) -> tuple[tuple[Verdict, ...], tuple[Verdict, ...]]:
    """The verdicts on ``first``, and those of the budgets that are broken now and ``again``, as the re-run shows them.

    ``again`` measures anew; it is called once, and only when a budget is broken.
    """
    verdicts = judge(first, budgets)
    broken = [verdict.budget for verdict in verdicts if verdict.state == "broken"]
    if not broken:
        return verdicts, ()
    return verdicts, tuple(verdict for verdict in judge(again(), broken) if verdict.state == "broken")
