"""Percentiles and budgets: pure functions of values."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.matrix.entries import Budget
from qcmatrix.suites.latency.agent import growth_of
from qcmatrix.suites.latency.gate import broken_twice, budgets_for, judge
from qcmatrix.suites.latency.spread import percentile, quantile_of, ratio_of, summary, thinned


def drawn(many: int, middle: float, seed: int = 1) -> list[float]:
    rng = random.Random(seed)  # noqa: S311 - values, not secrets
    return [rng.lognormvariate(0, 0.1) * middle for _ in range(many)]


def budget(most: float, quantile: str = "p95", metric: str = "ttft_ms", workload: str = "LAT-02") -> Budget:
    return Budget(gpu="H200", workload=workload, metric=metric, quantile=quantile, most=most)  # type: ignore[arg-type]


def test_percentile_by_hand() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([10, 20, 30, 40, 50], 0.95) == pytest.approx(48.0)
    assert percentile([7], 0.99) == 7


@pytest.mark.parametrize(("name", "least"), [("p50", 5), ("p90", 50), ("p95", 200), ("p99", 1000)])
def test_a_percentile_wants_enough_values(name: str, least: int) -> None:
    assert quantile_of(drawn(least - 1, 100), name) is None
    found = quantile_of(drawn(least, 100), name)
    assert found is not None
    assert found.low <= found.value <= found.high


def test_the_summary_prints_only_what_it_may() -> None:
    told = summary({"ttft_ms": drawn(60, 100)})["ttft_ms"]
    assert {"n", "mean", "p50", "ci95_p50", "p90", "ci95_p90"} == set(told)


def test_an_interval_is_the_same_each_time_and_covers_as_often_as_it_says() -> None:
    values = drawn(200, 100)
    assert quantile_of(values, "p95") == quantile_of(values, "p95")
    covered = sum(
        found.low <= 100 <= found.high for seed in range(100) if (found := quantile_of(drawn(60, 100, seed), "p50"))
    )
    assert 87 <= covered <= 100, "the median of what is drawn is 100"


def test_many_values_take_the_ranks_that_resampling_tends_to() -> None:
    values = drawn(5_000, 100)
    resampled, by_rank = quantile_of(values, "p95"), quantile_of([*values, values[0]], "p95")
    assert resampled is not None
    assert by_rank is not None
    assert by_rank.low == pytest.approx(resampled.low, rel=0.01)
    assert by_rank.high == pytest.approx(resampled.high, rel=0.01)


@given(values=st.lists(st.floats(0, 1e4), min_size=1, max_size=300), most=st.integers(1, 100))
def test_thinned_keeps_values_in_order(values: list[float], most: int) -> None:
    kept = thinned(values, most)
    assert len(kept) == min(most, len(values))
    rest = iter(round(value, 3) for value in values)
    assert all(value in rest for value in kept)


def test_budgets_are_of_a_card_and_a_check() -> None:
    all_of_them = (budget(1), budget(2, workload="LAT-02.c4"), budget(3, workload="LAT-01"))
    assert [each.most for each in budgets_for(all_of_them, "H200", "LAT-02.c4")] == [1, 2]
    assert [each.most for each in budgets_for(all_of_them, "H200", "LAT-02.c1")] == [1]
    assert budgets_for(all_of_them, "H20-141", "LAT-02.c4") == ()
    assert budgets_for(all_of_them, None, "LAT-02.c4") == ()


def test_a_budget_is_broken_only_by_the_whole_interval() -> None:
    values = {"ttft_ms": drawn(200, 100)}
    found = quantile_of(values["ttft_ms"], "p95")
    assert found is not None
    states = [each.state for each in judge(values, [budget(found.low - 1), budget(found.value), budget(found.high)])]
    assert states == ["broken", "open", "kept"]
    assert judge({"ttft_ms": drawn(199, 1000)}, [budget(1)])[0].state == "open", "too few for a 95th percentile"
    assert judge({}, [budget(1)])[0].state == "open"


def test_a_budget_fails_only_when_it_is_broken_again() -> None:
    slow, fast = {"ttft_ms": drawn(200, 100)}, {"ttft_ms": drawn(200, 10)}
    runs: list[str] = []

    def again(values: dict[str, list[float]]) -> dict[str, list[float]]:
        runs.append("again")
        return values

    assert broken_twice(fast, [budget(50)], lambda: again(fast))[1] == ()
    assert runs == [], "a budget that is kept is not measured again"
    assert broken_twice(slow, [budget(50)], lambda: again(fast))[1] == ()
    verdicts, broken = broken_twice(slow, [budget(50), budget(500)], lambda: again(slow))
    assert [each.state for each in verdicts] == ["broken", "kept"]
    assert [each.budget.most for each in broken] == [50]
    assert len(runs) == 2


def test_interference_ratio() -> None:
    found = ratio_of(drawn(200, 400, 1), drawn(200, 100, 2), "p95")
    assert found is not None
    assert 3.4 < found.low < 4 < found.high < 4.6
    assert ratio_of(drawn(199, 400), drawn(200, 100), "p95") is None


@pytest.mark.parametrize(
    ("cpu", "growth"),
    [
        ([0.01, 0.20, 2.0], pytest.approx(1.0, rel=0.01)),
        ([0.01, 0.04, 4.0], pytest.approx(13.9, rel=0.01)),
        ([0.01, 0.01, 0.05], None),
        ([0.01, None, 4.0], None),
        ([0.01, 0.2], None),
    ],
)
def test_growth_of_cpu(cpu: list[float | None], growth: object) -> None:
    assert growth_of(list(zip((1_000, 20_000, 200_000), cpu, strict=False))) == growth
