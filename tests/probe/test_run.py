"""A run: part after part, written down at once, and taken up again where it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from qcmatrix.answers.schema import json_schema
from qcmatrix.catalogue.releases import load_release
from qcmatrix.errors import RequestError
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import read
from qcmatrix.probe import run
from qcmatrix.probe.graded import Graded, Mark
from qcmatrix.probe.session import Session, SessionError
from qcmatrix.probe.tally import graded
from qcmatrix.rules import find_rule

RELEASE = load_release("0.32.0")
SESSION = Session(Path("/no/such/python"))  # never started: the parts here ask nothing


class Part(types.ModuleType):
    """A part that answers as it is told."""

    def __init__(self, name: str) -> None:
        super().__init__(f"qcmatrix.probe.parts.{name}")
        self.__spec__ = ModuleSpec(self.__name__, None)
        self.name = name
        self.asked = 0
        self.says: dict[str, Any] = {"answer": 1}
        self.fails: Exception | None = None

    def probe(self, session: Session, release: object, progress: Any, **more: Any) -> list[Record]:
        assert session is SESSION
        self.asked += 1
        progress("asking")
        if self.fails is not None:
            raise self.fails
        return [
            Record(
                release=str(release),
                part=self.name,
                subject="only",
                question=more or None,
                date="2026-11-22",
                torch="2.13.0",
                transformers="5.19.0",
                **self.says,
            )
        ]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Part]:
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path / "cache"))
    made = {name: Part(name) for name in ("first", "second", "third")}
    for part in made.values():
        monkeypatch.setitem(sys.modules, part.__name__, part)
    monkeypatch.setattr(run, "PARTS", ("first", "second", "missing", "third"))
    return made


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


def go(directory: Path, **more: Any) -> Iterator[run.Answered]:
    return run.probe(SESSION, RELEASE, directory=directory, **{"environment": "0.32.0-abc", **more})


def test_each_part_is_on_disk_before_the_next_begins(parts: dict[str, Part], directory: Path) -> None:
    seen = []
    for answered in go(directory):
        seen.append(answered.part)
        assert {record.part for record in read(directory)} == set(seen)
    assert seen == ["first", "second", "third"]


def test_a_run_that_ended_early_goes_on_where_it_was(parts: dict[str, Part], directory: Path) -> None:
    parts["second"].fails = SessionError("the worker is gone")
    answered = []
    with pytest.raises(SessionError):
        answered.extend(go(directory))
    assert [record.part for record in read(directory)] == ["first"]
    parts["second"].fails = None
    answered = list(go(directory))
    assert [each.skipped for each in answered] == [True, False, False]
    assert [part.asked for part in parts.values()] == [1, 2, 1]
    assert all(len(each.records) == 1 for each in answered)


def test_again(parts: dict[str, Part], directory: Path) -> None:
    list(go(directory))
    list(go(directory))
    assert parts["first"].asked == 1
    parts["first"].says = {"answer": 2}
    answered = list(go(directory, again=True))
    assert [each.skipped for each in answered] == [False, False, False]
    assert (len(answered[0].appended.changed), answered[1].appended.same) == (1, 1)
    assert [record.answer for record in answered[0].records] == [2]


@pytest.mark.parametrize(
    "other", [{"environment": "0.32.0-def"}, {"environment": None}, {"directory": "elsewhere"}], ids=str
)
def test_what_another_one_answered_does_not_count(
    parts: dict[str, Part], directory: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    list(go(directory))
    where = tmp_path / other.pop("directory", "evidence")
    assert not any(each.skipped for each in go(where, **other))


def test_other_questions_are_asked(parts: dict[str, Part], directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(go(directory))
    monkeypatch.setattr(run, "_own_digest", lambda: "other rules")
    assert not any(each.skipped for each in go(directory))


def test_evidence_that_was_deleted_is_asked_for_again(parts: dict[str, Part], directory: Path) -> None:
    list(go(directory))
    for path in directory.iterdir():
        path.unlink()
    assert not any(each.skipped for each in go(directory))


def test_what_failed_is_asked_again(parts: dict[str, Part], directory: Path) -> None:
    parts["first"].says = {"error": "WorkerCrashed: signal SIGSEGV"}
    list(go(directory))
    assert [each.skipped for each in go(directory)] == [False, True, True]


def test_some_parts_only(parts: dict[str, Part], directory: Path) -> None:
    assert [each.part for each in go(directory, parts=("third", "first"))] == ["first", "third"]
    with pytest.raises(RequestError, match="no part 'missing'"):
        list(go(directory, parts=("missing",)))


def test_every_part_of_the_package_can_be_asked() -> None:
    assert run.available_parts()
    for part in run.available_parts():
        assert callable(__import__(f"qcmatrix.probe.parts.{part}", fromlist=["probe"]).probe)


def test_a_part_judges_its_own_records(parts: dict[str, Part], directory: Path) -> None:
    (answered,) = go(directory, parts=("first",))
    assert graded("first", answered.records, RELEASE) is None
    one = Graded(subject="only", mark=Mark.AGREE)
    parts["first"].graded = lambda records, _: [one for _ in records]  # type: ignore[attr-defined]
    assert graded("first", answered.records, RELEASE) == (one,)


def test_drawn_launches_are_counted() -> None:
    answer = {
        "agreed": 90,
        "explained": {"a known one": 2},
        "unknown": {"rule-a": 3},
        "not askable": {"no Ray": 4},
        "disagreements": [{"command": "vllm serve X", "gpus": "8xH200", "launches": 1, "why": "accepted", "error": ""}],
    }
    record = Record(
        release="0.32.0", part="draws", subject="seed/1", answer=answer, date="2026-11-22", torch="2", transformers="5"
    )
    found = graded("draws", [record], RELEASE)
    assert found is not None
    assert [(each.mark, each.count) for each in found] == [
        (Mark.AGREE, 90),
        (Mark.EXPLAINED, 2),
        (Mark.NOT_ASKABLE, 3),
        (Mark.NOT_ASKABLE, 4),
        (Mark.DISAGREE, 1),
    ]
    assert "vllm serve X" in found[-1].why


@pytest.mark.probe
def test_a_rule_asked_of_a_real_release(release_name: str, tmp_path: Path) -> None:
    rule = "fp8-block-cut-by-tensor-parallel"
    done = subprocess.run(
        [sys.executable, "-m", "qcmatrix", "probe", "--vllm", release_name, "--rule", rule, "--json"],
        env={**os.environ, "QCMATRIX_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    Draft202012Validator(json_schema("probe")).validate(answer)
    (release,) = answer["releases"]
    assert release["release"] == release_name
    breaches = [one for one in release["graded"] if one["subject"].startswith(f"{rule}/breaks/")]
    assert breaches
    holds = load_release(release_name).version in find_rule(rule).holds
    for one in breaches:
        assert one["mark"] == "agree"
        assert one["said"].startswith("refused (weights)") is holds
        assert ("is not divisible by weight quantization block_n" in one["said"]) is holds
    assert [record.release for record in read(tmp_path / "evidence")] == [release_name] * len(release["graded"])
