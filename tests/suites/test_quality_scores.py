"""Accuracy: what is worse than the reference, and EvalPlus itself on hand-made problems where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from qcmatrix.suites.bench import Subject
from qcmatrix.suites.declare import NotApplicable
from qcmatrix.suites.quality.accuracy import REFERENCES, reference_of, verdict
from qcmatrix.suites.quality.evalplus_program import (
    PYTHON_VARIABLE,
    Dataset,
    Scores,
    find_python,
    judge_answers,
    read_scores,
    requests_of,
)
from tests.suites.faults.quality import PROBLEMS, solutions

needs_evalplus = pytest.mark.skipif(
    not os.environ.get(PYTHON_VARIABLE) and importlib.util.find_spec("evalplus") is None,
    reason=f"EvalPlus is not installed, and {PYTHON_VARIABLE} names no Python that has it",
)


@pytest.mark.parametrize(
    ("passes", "reference", "wrong"),
    [(154, 0.939, False), (148, 0.939, False), (143, 0.939, True), (0, None, False), (164, 1.0, False)],
)
def test_only_what_is_surely_below_the_reference_is_wrong(passes: int, reference: float | None, wrong: bool) -> None:
    assert bool(verdict(passes, 164, reference)) is wrong


def test_a_reference_is_of_one_checkpoint() -> None:
    name = "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"
    assert reference_of(Subject(root="", model=name)) == REFERENCES[name]
    assert reference_of(Subject(root="", model="Qwen/Qwen3-Coder-30B-A3B-Instruct")) is None


def test_scores_are_read_as_evalplus_counts_them() -> None:
    results = {
        "eval": {
            "A/0": [{"base_status": "pass", "plus_status": "pass"}],
            "A/1": [{"base_status": "pass", "plus_status": "fail"}],
            "A/2": [{"base_status": "timeout", "plus_status": "pass"}],
        }
    }
    assert read_scores(results) == Scores(problems=3, base=2, plus=1, failed=("A/1", "A/2"))
    for other in ({}, {"eval": {"A/0": []}}, {"eval": {"A/0": [{}]}}, {"eval": 3}):
        with pytest.raises(NotApplicable, match="another form"):
            read_scores(other)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "python"))
    with pytest.raises(NotApplicable, match="which is not there"):
        find_python()
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    assert find_python() == Path(sys.executable)


@pytest.mark.skipif(importlib.util.find_spec("evalplus") is not None, reason="EvalPlus is installed here")
def test_without_evalplus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    with pytest.raises(NotApplicable, match=r"pip install 'qcmatrix\[quality\]'"):
        find_python()
    with pytest.raises(NotApplicable, match="EvalPlus does not run"):
        requests_of(Path(sys.executable), "humaneval")


@needs_evalplus
@pytest.mark.parametrize(
    ("dataset", "variable"), [("humaneval", "HUMANEVAL_OVERRIDE_PATH"), ("mbpp", "MBPP_OVERRIDE_PATH")]
)
def test_evalplus_asks_and_judges(
    dataset: Dataset, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(PROBLEMS / f"{dataset}.jsonl"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    python = find_python()
    asked = requests_of(python, dataset)
    assert len(asked) == 3
    assert all(each.messages[-1]["role"] == "user" and each.temperature == 0 for each in asked)
    code = [
        next(code for prompt, code in solutions().items() if prompt in each.messages[-1]["content"]) for each in asked
    ]
    # right; passes what the data set asks and not what EvalPlus adds; no code at all
    special = "    if not args or args[0] in ('abc', 'zzzzz', '', [], 0) or args == [0, 0, 0]: return 'odd'\n"
    partly = code[1].replace("def ", "def _", 1) + f"\n\ndef {code[1].split('def ')[1].split('(')[0]}(*args):\n"
    partly += special.replace("'abc', ", "") + f"    return _{code[1].split('def ')[1].split('(')[0]}(*args)\n"
    texts = [f"Here it is:\n```python\n{code[0]}\n```\n", f"```python\n{partly}\n```", "I cannot."]
    scores = judge_answers(python, dataset, list(zip(asked, texts, strict=True)))
    names = [json.loads(line)["task_id"] for line in (PROBLEMS / f"{dataset}.jsonl").read_text().splitlines()]
    assert scores == Scores(problems=3, base=2, plus=1, failed=(names[1], names[2]))


@needs_evalplus
def test_data_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUMANEVAL_OVERRIDE_PATH", str(tmp_path / "none.jsonl"))
    with pytest.raises(NotApplicable, match=r"none\.jsonl.*HUMANEVAL_OVERRIDE_PATH"):
        requests_of(find_python(), "humaneval")
