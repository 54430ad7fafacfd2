"""A latency against what it was before: regressed only if it is both certain and large."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

__all__ = ["Shift", "compare", "compare_figures", "verdict"]

P_MOST = 0.01
SHARE_LEAST = 0.05
_FEWEST = 20
"""Values on each side: below, Mann-Whitney's p cannot be trusted to be small for a reason."""


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """How a metric moved."""

    state: Literal["same", "regressed", "improved", "unknown"]
    """``unknown``: too few values."""
    before: float
    """Median, ms."""
    after: float
    allowed: float
    """A move of the median by so much (ms) is noise: 5 %, or twice the MAD of the medians of the restarts."""
    p: float | None = None
    """Mann-Whitney's, two-sided."""


def compare(baseline: Sequence[Sequence[float]], new: Sequence[float]) -> Shift:
    """``new`` (ms per request) against ``baseline``: the same of each restart of the server that it was taken on.

    Regressed: Mann-Whitney p < 0.01 on the pooled values, and the median moved by more than the larger of 5 % and
    twice the median absolute deviation of the restarts' medians. One restart has no such deviation: take three.
    """
    pooled = [value for restart in baseline for value in restart]
    if len(pooled) < _FEWEST or len(new) < _FEWEST:
        return Shift(
            state="unknown",
            before=statistics.median(pooled) if pooled else 0.0,
            after=statistics.median(new) if new else 0.0,
            allowed=0.0,
        )
    from scipy import stats  # type: ignore[import-untyped]

    before, after = statistics.median(pooled), statistics.median(new)
    medians = [statistics.median(restart) for restart in baseline if restart]
    centre = statistics.median(medians)
    spread = statistics.median(abs(each - centre) for each in medians)
    allowed = max(SHARE_LEAST * before, 2 * spread)
    p = float(stats.mannwhitneyu(pooled, new, alternative="two-sided").pvalue)
    state: Literal["same", "regressed", "improved"] = "same"
    if p < P_MOST and abs(after - before) > allowed:
        state = "regressed" if after > before else "improved"
    return Shift(state=state, before=before, after=after, allowed=allowed, p=p)


def compare_figures(baseline: Sequence[Mapping[str, Any]], new: Mapping[str, Any]) -> dict[str, Shift]:
    """By metric: the ``figures`` of one latency check against those of earlier runs of it, one per restart.

    Only of the same shape: what was measured scaled down, or with other requests, is compared with nothing.
    """
    alike = [each for each in baseline if each.get("shape") == new.get("shape") and each.get("samples")]
    return {
        metric: compare([each["samples"].get(metric, ()) for each in alike], values)
        for metric, values in (new.get("samples") or {}).items()
        if alike
    }


def verdict(nights: Sequence[Shift]) -> Literal["same", "regressed", "fail"]:
    """Of the newest night, ``nights`` oldest first: a regression warns once, and fails when it comes twice running."""
    if not nights or nights[-1].state != "regressed":
        return "same"
    return "fail" if len(nights) > 1 and nights[-2].state == "regressed" else "regressed"
