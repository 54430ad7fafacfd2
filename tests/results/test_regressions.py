"""The newest run of an entry against its earlier ones: what is a regression, what is noise, what cannot be said."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from qcmatrix.report.served_runs import served_page
from qcmatrix.results.regressions import Move, moves_of, shift_of
from qcmatrix.results.schema import Result
from tests.results.made import ENTRY, HEADER, HOST, case

CARD = msgspec.structs.replace(HOST, gpus=("H200",))
SHAPE = {"requests": 200}


def drawn(many: int, middle: float, seed: int = 1) -> list[float]:
    rng = random.Random(seed)  # noqa: S311 - values, not secrets
    return [rng.lognormvariate(0, 0.1) * middle for _ in range(many)]


def night(number: int, middle: float, vllm: str = "0.32.0", **figures: Any) -> Result:
    """A run of that night with a median of ``middle`` ms."""
    told: dict[str, Any] = {"shape": SHAPE, "samples": {"ttft_ms": drawn(200, middle, number)}} | figures
    header = HEADER | {
        "run": f"{number:08d}-0000-4000-8000-000000000001",
        "started": f"2026-11-{number:02d}T01:00:00+00:00",
        "host": CARD,
        "entry": msgspec.structs.replace(ENTRY, id="big", vllm=vllm),
    }
    made = (case("LAT-02.c4", mode="stream", suite="latency", figures=told),)
    return Result(**header, ended="2026-11-28T02:00:00+00:00", boot=None, cases=made, profiles={})


def nights(*middles: float) -> list[Result]:
    return [night(number, middle) for number, middle in enumerate(middles, start=1)]


def only(results: list[Result]) -> Move:
    (move,) = moves_of(results)
    return move


def test_a_regression_is_certain_and_large() -> None:
    calm = [drawn(200, 100, 1), drawn(200, 100, 2), drawn(200, 100, 3)]
    assert shift_of(calm, drawn(200, 100, 4)).state == "same"
    assert shift_of(calm, drawn(2_000, 103, 4)).state == "same", "certain, but less than 5 %"
    assert shift_of(calm, drawn(200, 110, 4)).state == "regressed"
    assert shift_of(calm, drawn(200, 90, 4)).state == "improved"
    assert shift_of(calm, drawn(10, 200, 4)).state == "unknown"
    assert shift_of(calm[:2], drawn(200, 200, 4)).state == "unknown", "two restarts do not tell what restarts differ by"


def test_what_restarts_differ_by_is_no_regression() -> None:
    restless = [drawn(200, 80, 1), drawn(200, 100, 2), drawn(200, 120, 3)]
    moved = shift_of(restless, drawn(200, 125, 4))
    assert moved.state == "same"
    assert moved.allowed > 0.2 * moved.before
    assert shift_of(restless, drawn(200, 160, 4)).state == "regressed"


@pytest.mark.parametrize(
    ("middles", "verdict"),
    [
        ((100, 150), "unknown"),
        ((100, 100, 100, 100), "same"),
        ((100, 100, 100, 150), "regressed"),
        ((100, 100, 100, 60), "improved"),
        ((100, 100, 100, 150, 150), "fail"),
        ((100, 100, 100, 150, 100), "same"),
        ((100, 100, 100, 150, 100, 150), "regressed"),
        ((100, 100, 150, 150), "regressed"),  # of the first slow night too few runs were known to say so
    ],
)
def test_a_regression_warns_once_and_fails_when_it_comes_twice(middles: tuple[float, ...], verdict: str) -> None:
    assert only(nights(*middles)).verdict == verdict
    assert only(nights(*middles)[::-1]).verdict == verdict, "the order of the files does not matter"


def test_the_first_slow_night_is_no_measure_of_the_second() -> None:
    move = only(nights(100, 100, 100, 150, 150))
    assert move.baseline == tuple(f"0.32.0@2026-11-0{day}T01:00:00+00:00" for day in (3, 2, 1))
    assert move.shift.before == pytest.approx(100, rel=0.03)


def test_one_thing_is_varied() -> None:
    calm = nights(100, 100, 100)
    slow = night(9, 150)
    assert only([*calm, slow]).verdict == "regressed"
    other_card = msgspec.structs.replace(slow, host=msgspec.structs.replace(HOST, gpus=("H20-141",)))
    assert moves_of([*calm, other_card]) == moves_of(calm), "two cards are two histories"
    assert only([*calm, night(9, 150, shape={"requests": 5})]).verdict == "unknown"
    assert moves_of([*calm[:1], night(9, 150, scaled="too small")]) == ()
    assert moves_of(calm[:1]) == ()


def test_a_new_release_is_held_against_the_one_below() -> None:
    older = [night(day, 100, "0.31.0") for day in (1, 2, 3)] + [night(4, 300, "0.30.0"), night(5, 10, "0.33.0")]
    move = only([*older, night(9, 150)])
    assert (move.verdict, {run.partition("@")[0] for run in move.baseline}) == ("regressed", {"0.31.0"})
    assert only([*older, night(9, 150), night(10, 150)]).verdict == "fail"
    later = only([*older, *(night(day, 150) for day in range(9, 14))])
    assert (later.verdict, {run.partition("@")[0] for run in later.baseline}) == ("same", {"0.32.0"})


def test_the_page_tells_what_moved() -> None:
    page = served_page(nights(100, 100, 100, 150, 150), [])
    assert "Medians against the runs before: 0 the same, but" in page
    assert "- **fail** LAT-02.c4 (stream) ttft: " in page
    assert "Medians against the runs before: 1 the same." in served_page(nights(100, 100, 100, 100), [])
    assert "Medians against" not in served_page(nights(100, 150), [])
