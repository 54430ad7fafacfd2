"""What is otherwise in the later of two runs."""

from __future__ import annotations

import msgspec
from hypothesis import given

from qcmatrix.results.compare import compare
from qcmatrix.results.junit import junit_properties
from qcmatrix.results.schema import CaseResult, Result, State
from qcmatrix.results.summary import profiles_of
from tests.results.made import HEADER, SUITE, case, cases


def _result(made: list[CaseResult]) -> Result:
    return Result(**HEADER, ended="", boot=None, cases=tuple(made), profiles=profiles_of(made))


@given(cases)
def test_a_run_is_the_same_as_itself(made: list[CaseResult]) -> None:
    found = compare(_result(made), _result(made))
    assert found.is_same
    assert found.unchanged == len(made)


@given(cases, cases)
def test_every_case_is_counted_once(before: list[CaseResult], after: list[CaseResult]) -> None:
    found = compare(_result(before), _result(after))
    back = compare(_result(after), _result(before))
    assert len(found.added) + len(found.changed) + found.unchanged == len(after)
    assert len(found.deleted) + len(found.changed) + found.unchanged == len(before)
    assert (found.added, found.deleted) == (back.deleted, back.added)
    assert {(each.id, each.mode, each.before) for each in found.changed} == {
        (each.id, each.mode, each.after) for each in back.changed
    }


def test_changed_questions_and_another_entry_are_said() -> None:
    before = _result([case("TC-1"), case("TC-2", mode="whole")])
    after = msgspec.structs.replace(
        _result([case("TC-1", State.FAIL), case("TC-2", mode="stream")]),
        suite=msgspec.structs.replace(SUITE, catalogue_sha256="b" * 64),
    )
    found = compare(before, after)
    assert not found.same_questions
    assert found.same_entry
    assert [(each.id, each.before, each.after) for each in found.changed] == [("TC-1", "pass", "fail")]
    assert [(each.id, each.mode) for each in found.added] == [("TC-2", "stream")]
    assert [(each.id, each.mode) for each in found.deleted] == [("TC-2", "whole")]


def test_junit_is_told_what_it_needs() -> None:
    made = case(state=State.XFAIL, issue="https://example.org/1", exchanges=("d1", "d2"), passes=3, trials=5)
    assert junit_properties(made) == (
        ("qc_case", "TC-14.crlf"),
        ("qc_mode", "whole"),
        ("qc_state", "xfail"),
        ("qc_tier", "T1"),
        ("qc_core", "true"),
        ("qc_profile", "tools-core"),
        ("qc_rate", "3/5"),
        ("qc_issue", "https://example.org/1"),
        ("qc_exchange", "d1"),
        ("qc_exchange", "d2"),
    )
