"""How values are spread: percentiles where there are enough, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

__all__ = ["QUANTILES", "Quantile", "percentile", "quantile_of", "ratio_of", "summary", "thinned"]

QUANTILES: dict[str, tuple[float, int]] = {"p50": (0.50, 5), "p90": (0.90, 50), "p95": (0.95, 200), "p99": (0.99, 1000)}
"""The share, and how many values it takes: ten beyond the percentile, and never fewer than five."""

_RESAMPLES = 2_000
_MOST_RESAMPLED = 5_000
_SEED = 20_250_731
"""Fixed: the same values have the same interval."""


class Quantile(msgspec.Struct, frozen=True):
    """A percentile and the 95 % interval of it."""

    value: float
    low: float
    high: float


def percentile(values: Sequence[float], share: float) -> float:
    """By linear interpolation between the values beside it."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def quantile_of(values: Sequence[float], name: str) -> Quantile | None:
    """The percentile ``name`` of ``values`` with its bootstrap interval; ``None``: too few of them.

    Up to 5,000 values are resampled (percentile bootstrap, scipy.stats.bootstrap). Of more the interval is what that
    tends to: the values at the ranks between which a binomial count lies
    (https://online.stat.psu.edu/stat415/lesson/19/19.2).
    """
    share, least = QUANTILES[name]
    if len(values) < least:
        return None
    value = percentile(values, share)
    if min(values) == max(values):
        return Quantile(value, value, value)
    if len(values) > _MOST_RESAMPLED:
        return Quantile(value, *_by_rank(values, share))
    import numpy  # seconds to load: only what measures pays
    from scipy import stats  # type: ignore[import-untyped]

    found = stats.bootstrap(
        (numpy.asarray(values, dtype=float),),
        lambda sample, axis: numpy.quantile(sample, share, axis=axis),
        n_resamples=_RESAMPLES,
        batch=max(1, 1_000_000 // len(values)),
        vectorized=True,
        method="percentile",
        rng=numpy.random.default_rng(_SEED),
    ).confidence_interval
    return Quantile(value, float(found.low), float(found.high))


def ratio_of(loaded: Sequence[float], alone: Sequence[float], name: str) -> Quantile | None:
    """How many times the percentile of ``alone`` that of ``loaded`` is, with its bootstrap interval."""
    share, least = QUANTILES[name]
    if min(len(loaded), len(alone)) < least or percentile(alone, share) <= 0:
        return None
    value = percentile(loaded, share) / percentile(alone, share)
    if min(loaded) == max(loaded) and min(alone) == max(alone):
        return Quantile(value, value, value)
    import numpy
    from scipy import stats

    found = stats.bootstrap(
        (numpy.asarray(loaded, dtype=float), numpy.asarray(alone, dtype=float)),
        lambda one, two, axis: numpy.quantile(one, share, axis=axis) / numpy.quantile(two, share, axis=axis),
        n_resamples=_RESAMPLES,
        vectorized=True,
        method="percentile",
        rng=numpy.random.default_rng(_SEED),
    ).confidence_interval
    return Quantile(value, float(found.low), float(found.high))


def summary(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Per metric: how many, the mean, and each percentile that they allow with its interval (``ci95_p50``)."""
    told: dict[str, dict[str, Any]] = {}
    for metric, each in values.items():
        own: dict[str, Any] = {"n": len(each), "mean": round(sum(each) / len(each), 3)}
        for name in QUANTILES:
            found = quantile_of(each, name)
            if found is not None:
                own[name] = round(found.value, 3)
                own[f"ci95_{name}"] = [round(found.low, 3), round(found.high, 3)]
        told[metric] = own
    return told


def thinned(values: Sequence[float], most: int = 1_000) -> list[float]:
    """At most so many of ``values``, evenly over all of them, rounded to a microsecond: what a later run compares."""
    step = max(1.0, len(values) / most)
    return [round(values[int(place * step)], 3) for place in range(min(most, len(values)))]


def _by_rank(values: Sequence[float], share: float) -> tuple[float, float]:
    from scipy import stats

    ordered = sorted(values)
    low, high = (int(stats.binom.ppf(tail, len(ordered), share)) for tail in (0.025, 0.975))
    return ordered[max(0, low - 1)], ordered[min(high, len(ordered) - 1)]
