"""What is wrong with a matrix.toml besides its launches; all of it at once."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qcmatrix.matrix.entries import Budget, ExpectedFailure, Matrix, read_matrix
from qcmatrix.matrix.problems import CheckNames, problems_of

MATRIX = read_matrix(Path(__file__).parents[2] / "matrix.toml")
TODAY = datetime.date(2026, 12, 1)
NAMES = CheckNames(
    frozenset({"TC-14.crlf", "LC-11", "LAT-01.c1", "LAT-02.c4", "LAT-03"}),
    frozenset({"boot", "tools", "fim", "context", "latency"}),
)
FAILURE = ExpectedFailure(
    check="TC-14.*",
    low="0.32.0",
    high="0.33.0",
    entries=("tiny-*",),
    reason="indentation is lost",
    issue="https://github.com/vllm-project/vllm/issues/1",
    expires=datetime.date(2027, 1, 1),
)
BUDGET = Budget(gpu="H200", workload="LAT-02", metric="ttft_ms", quantile="p95", most=500)


def _with(name: str, **changes: Any) -> Matrix:
    entries = tuple(msgspec.structs.replace(each, **changes) if each.id == name else each for each in MATRIX.entry)
    return msgspec.structs.replace(MATRIX, entry=entries)


def _failing(**changes: Any) -> Matrix:
    return msgspec.structs.replace(MATRIX, expected_failure=(msgspec.structs.replace(FAILURE, **changes),))


def _defaults(**changes: Any) -> Matrix:
    defaults = msgspec.structs.replace(MATRIX.defaults, **changes)
    entries = tuple(msgspec.structs.replace(each, budgets=()) for each in MATRIX.entry)
    return msgspec.structs.replace(MATRIX, defaults=defaults, entry=entries)


def _budget(**changes: Any) -> tuple[Budget, ...]:
    return (msgspec.structs.replace(BUDGET, **changes),)


def test_a_good_one_has_none() -> None:
    assert problems_of(_failing(), today=TODAY, names=NAMES) == ()


H200, YARN = "30b-fp8-256k-1xh200-0.33", "30b-fp8-fp8kv-yarn-1m-1xh200-0.33"


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (_failing(expires=TODAY), "expired on 2026-12-01: look again at https://github.com"),
        (_failing(check="TC-99"), "there is no such check"),
        (_failing(low="0.33.0", high="0.32.0"), "there is no release"),
        (_failing(low="0.11.0", high="0.12.0"), "has a release in its range"),
        (_with(H200, profiles=("tools", "toools")), "no suite, profile or check is called 'toools'"),
        (_defaults(profiles=("boots",)), "defaults: no suite, profile or check is called 'boots'"),
        (_defaults(cpu_profiles=("boots",)), "defaults: no suite, profile or check is called 'boots'"),
        (_defaults(budgets=_budget(gpu="H2000")), "there is no GPU of that name"),
        (_defaults(budgets=_budget(workload="LAT-77")), "there is no such workload"),
        (_defaults(budgets=_budget(most=0)), "at most 0 ms"),
        (_defaults(budgets=_budget(source="a friend")), "source must be a public URL"),
        (_defaults(budgets=_budget(entries=("7b-*",))), "no entry is called 7b-*"),
        (_defaults(budgets=(BUDGET, BUDGET)), "there are two"),
        (_defaults(boot_seconds=0), "boot_seconds is 0"),
        (_with(H200, budgets=_budget(gpu="L40S")), "it runs on 1xH200"),
        (_with("tiny-cpu", budgets=_budget()), "it runs on cpu"),
        (_with(H200, budgets=_budget(entries=("a",))), "`entries` belongs to the defaults"),
        (_with(H200, source="our notes"), "source must be a public URL"),
        (_with(H200, read=datetime.date(2027, 1, 1)), "is to come"),
        (_with(H200, boot_seconds=-1.0), "boot_seconds is -1"),
        (_with(H200, image="vllm/vllm-openai:v0.25.1"), "its image is of vLLM 0.25.1, it is for 0.33.0"),
        (_with(H200, weights="random"), "its weights are real by its command, random by its own word"),
        (_with("tiny-cpu", weights="real"), "its weights are random by its command, real by its own word"),
        (_with(H200, twin=H200.replace("fp8-", "fp8-fp8kv-")), "it has a twin and asks for no YaRN"),
        (_with(YARN, twin=YARN), "asks for YaRN as well"),
        (_with(YARN, twin=H200), "differs in more than YaRN: kv_cache_dtype"),
        (_with(YARN, twin="30b-fp8-fp8kv-256k-1xh200-0.25"), "has another release: 0.25.1, not 0.33.0"),
        (_with(YARN, twin="480b-fp8-tp8-refused-8xh200"), "is not expected to start"),
    ],
)
def test_what_is_wrong_is_said(matrix: Matrix, said: str) -> None:
    assert any(said in problem for problem in problems_of(matrix, today=TODAY, names=NAMES))


def test_all_at_once() -> None:
    matrix = msgspec.structs.replace(
        _with(H200, source="our notes", boot_seconds=0.0), expected_failure=_failing(expires=TODAY).expected_failure
    )
    assert len(problems_of(matrix, today=TODAY, names=NAMES)) == 3


def test_without_the_checks_their_names_are_not_looked_up() -> None:
    assert problems_of(_failing(check="TC-99"), today=TODAY) == ()
    matrix = _defaults(profiles=("boots",), budgets=_budget(workload="LATE"))
    assert [problem.partition(": ")[2] for problem in problems_of(matrix, today=TODAY)] == [
        "budget LATE ttft_ms p95 on H200: there is no such workload"
    ]
