"""Profiles are called supported for passes only, and counts add up."""

from __future__ import annotations

import pytest
from hypothesis import given

from qcmatrix.results.schema import CaseResult, State
from qcmatrix.results.summary import SILENT, profiles_of, totals
from tests.results.made import case, cases


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["pass", "pass"], "supported"),
        (["pass", "xpass"], "supported"),
        (["pass", "unsupported"], "supported"),
        (["pass", "skip", "unsupported"], "partial"),
        (["skip", "fail"], "fail"),
        (["pass", "xfail"], "partial"),
        (["xfail", "fail"], "fail"),
        (["pass", "blocked"], "fail"),
        (["pass", "flaky"], "unknown"),
        (["pass", "error"], "unknown"),
        (["pass", "not_run"], "unknown"),
        (["xfail", "not_run"], "unknown"),
        (["skip", "unsupported"], "unknown"),
    ],
)
def test_state_of_a_profile(states: list[str], state: str) -> None:
    made = [case(f"TC-{number}", State(each)) for number, each in enumerate(states)]
    assert profiles_of(made)["tools-core"].state == state


def test_an_extended_failure_is_counted_and_takes_no_support_away() -> None:
    found = profiles_of([case("TC-1"), case("TC-2", State.FAIL, core=False)])["tools-core"]
    assert (found.core, found.extended, found.state) == ((1, 1), (0, 1), "supported")


@given(cases)
def test_counts_add_up(made: list[CaseResult]) -> None:
    assert sum(totals(made).values()) == len(made)
    for name, summary in profiles_of(made).items():
        members = [each for each in made if name in each.profiles and each.state not in SILENT]
        assert summary.core[1] + summary.extended[1] == len(members)
        assert 0 <= summary.core[0] <= summary.core[1]
        assert 0 <= summary.extended[0] <= summary.extended[1]
        if summary.state == "supported":
            assert summary.core[0] == summary.core[1] > 0
