"""What changed between two releases."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from qcmatrix.answers.schema import ChangeAnswer, ChangesAnswer, json_schema
from qcmatrix.catalogue.releases import Flag, Release, load_release, release_names
from qcmatrix.cli.changes import change_lines, changes_command
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import append
from qcmatrix.probe.changed_answers import Asked, Said, asked_changes, asked_of
from qcmatrix.probe.changes import KINDS, changes_between
from qcmatrix.rules import all_rules


@pytest.fixture(autouse=True)
def _no_evidence_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCMATRIX_DATA_DIR", str(tmp_path / "data"))


def found(before: Release, after: Release, kind: str, asked: Asked | None = None) -> dict[str, ChangeAnswer]:
    answer = changes_between(before, after, asked)
    return {change.name: change for change in answer.changes if change.kind == kind}


def with_flags(release: Release, *flags: Flag, **fields: Any) -> Release:
    others = tuple(flag for flag in release.file.flags if flag.dest not in {each.dest for each in flags})
    return msgspec.structs.replace(
        release, file=msgspec.structs.replace(release.file, flags=(*others, *flags), **fields)
    )


RELEASE = load_release("0.32.0")
BASE = with_flags(RELEASE, Flag(dest="lost_thing_size", names=("--lost-thing-size",), type="int", default=3))


def test_nothing_changes_against_itself() -> None:
    for name in ("0.10.0", "0.33.0"):
        assert changes_between(load_release(name), load_release(name)).changes == ()


def test_known_changes_of_real_releases() -> None:
    gone = found(load_release("0.17.1"), load_release("0.18.0"), "flag-gone")
    assert "--swap-space" in gone
    assert gone["--swap-space"].impact == "breaks"
    assert "recomputed" in gone["--swap-space"].text
    # The two best-known constraints of this family each changed meaning between two releases.
    assert "fp8-block-cut-by-tensor-parallel" in found(load_release("0.28.0"), load_release("0.29.0"), "rule-ends")
    assert "yarn-by-removed-rope-scaling-flag" in found(load_release("0.11.0"), load_release("0.11.1"), "rule-begins")
    moved = found(load_release("0.11.2"), load_release("0.12.0"), "spelling-moved")
    assert (moved["-O"].before, moved["-O"].after) == ("--compilation-config", "--optimization-level")
    renamed = found(load_release("0.16.0"), load_release("0.33.0"), "flag-renamed")
    assert renamed["--disable-log-requests"].after == "--enable-log-requests"
    values = found(load_release("0.31.0"), load_release("0.32.0"), "choices-gone")
    assert values["--mamba-cache-mode"].before == ["all"]
    assert "VLLM_USE_V1" in found(load_release("0.11.0"), load_release("0.11.1"), "environment-gone")


def test_every_release_against_the_next_tells_every_flag_that_went_and_came() -> None:
    """By another way than the code's own: the sets of flags."""
    names = release_names()
    for one, other in itertools.pairwise(names):
        before, after = load_release(one), load_release(other)
        told = changes_between(before, after).changes
        assert all(change.kind in KINDS for change in told)
        gone = {flag.names[0] for flag in before.file.flags} - {flag.names[0] for flag in after.file.flags}
        assert gone <= {
            c.name for c in told if c.kind in ("flag-gone", "flag-renamed", "spelling-moved", "spelling-gone")
        }
        came = set(after.flag_by_dest) - set(before.flag_by_dest)
        assert {after.flag_by_dest[dest].names[0] for dest in came} == {c.name for c in told if c.kind == "flag-new"}
        parsers = {c.name for c in told if c.kind == "tool-parser-gone"}
        assert parsers == set(before.file.tool_parsers) - set(after.file.tool_parsers)


def test_there_and_back_are_opposites() -> None:
    there = changes_between(load_release("0.20.0"), load_release("0.25.0")).changes
    back = changes_between(load_release("0.25.0"), load_release("0.20.0")).changes
    opposite = {
        "rule-begins": "rule-ends",
        "environment-gone": "environment-new",
        "tool-parser-gone": "tool-parser-new",
    }
    for kind, other in opposite.items():
        assert {c.name for c in there if c.kind == kind} == {c.name for c in back if c.kind == other}
    assert {(c.name, c.before, c.after) for c in there if c.kind == "default-moved"} == {
        (c.name, c.after, c.before) for c in back if c.kind == "default-moved"
    }


@pytest.mark.parametrize(
    ("flag", "kind", "impact"),
    [
        (Flag(dest="lost_thing_size", names=("--lost-thing-size",), type="int", default=4), "default-moved", "differs"),
        (Flag(dest="lost_thing_size", names=("--lost-thing-size",), type="json", default=3), "value-kind", "breaks"),
        (
            Flag(dest="lost_thing_size", names=("--lost-thing-size",), type="human_int", default=3),
            "value-kind",
            "differs",
        ),
        (
            Flag(dest="lost_thing_size", names=("--lost-thing-size",), type="int", nargs="+", default=3),
            "value-kind",
            "breaks",
        ),
        (
            Flag(dest="lost_thing_size", names=("--lost-thing-size",), type="int", default=3, deprecated=True),
            "deprecated",
            "differs",
        ),
        (Flag(dest="lost_thing_size", names=("--other-name",), type="int", default=3), "spelling-gone", "breaks"),
    ],
)
def test_one_flag_changes(flag: Flag, kind: str, impact: str) -> None:
    changes = found(BASE, with_flags(RELEASE, flag), kind)
    assert set(changes) == {"--lost-thing-size"}
    assert changes["--lost-thing-size"].impact == impact


def test_a_lost_flag_is_found_again_under_a_name_alike() -> None:
    heir = Flag(dest="found_thing_size", names=("--found-thing-size",), type="int", default=3)
    assert found(BASE, with_flags(RELEASE, heir), "flag-renamed")["--lost-thing-size"].after == "--found-thing-size"
    other = Flag(dest="found_thing_size", names=("--found-thing-size",), type="float", default=3)
    assert "--lost-thing-size" in found(BASE, with_flags(RELEASE, other), "flag-gone")


def test_what_breaks_comes_first_and_rules_follow_their_range() -> None:
    answer = changes_between(load_release("0.10.0"), load_release("0.33.0"))
    impacts = [change.impact for change in answer.changes]
    assert impacts == sorted(impacts, key=["breaks", "differs", "new"].index)
    began = {c.name for c in answer.changes if c.kind == "rule-begins"}
    for rule in all_rules():
        holds = load_release("0.33.0").version in rule.holds and load_release("0.10.0").version not in rule.holds
        assert (rule.id in began) == holds


def test_batches_are_told_by_card() -> None:
    changes = found(load_release("0.10.0"), load_release("0.33.0"), "scheduler-default")
    assert any("B200" in name and change.text == "8192 -> 16384" for name, change in changes.items())


# -- what the releases did ---------------------------------------------------------------------------------------


def record(release: str, part: str, subject: str, **said: Any) -> Record:
    return Record(
        release=release, part=part, subject=subject, date="2026-11-22", torch="2.13.0", transformers="5.23.0", **said
    )


def said(release: str, *records: Record, contradicted: dict[str, str] | None = None) -> Said:
    return Said(release, {(each.part, each.subject): each for each in records}, contradicted)


def test_parser_cases_fixed_broken_and_changed() -> None:
    before = {"indentation": "ffff", "numbers": "pppp", "ids": "pf", "crash": "cc", "same": "pf"}
    after = {"indentation": "pppp", "numbers": "ppfc", "ids": "fp", "crash": "ff", "same": "pf", "fresh": "f"}
    asked = Asked(
        said("0.31.0", record("0.31.0", "replay", "qwen3_coder", answer={"verdicts": before})),
        said("0.32.0", record("0.32.0", "replay", "qwen3_coder", answer={"verdicts": after})),
    )
    changes = {change.name: change for change in asked_changes(asked)[0]}
    assert {name: (c.kind, c.impact) for name, c in changes.items()} == {
        "qwen3_coder: indentation": ("case-fixed", "new"),
        "qwen3_coder: numbers": ("case-broken", "breaks"),
        "qwen3_coder: ids": ("case-changed", "differs"),
        "qwen3_coder: crash": ("case-changed", "differs"),
    }
    assert changes["qwen3_coder: numbers"].text == "passes -> passes 2 of 4, fails 1 of 4, crashes 1 of 4"


def test_two_names_of_one_parser_and_cases_that_were_put_otherwise() -> None:
    asked = Asked(
        said("0.31.0", record("0.31.0", "replay", "qwen3_xml", answer={"verdicts": {"a#1": "p", "b#1": "p"}})),
        said(
            "0.32.0",
            record("0.32.0", "replay", "qwen3_coder", answer={"verdicts": {"a#1": "f", "b#2": "f"}}),
            record("0.32.0", "replay", "qwen3_xml", answer={"same_as": "qwen3_coder"}),
        ),
    )
    assert [(c.kind, c.name) for c in asked_changes(asked)[0]] == [("case-broken", "qwen3_xml: a")]


@pytest.mark.parametrize(("seconds", "kinds"), [(0.5, []), (4.0, ["case-broken"]), (0.002, ["case-fixed"])])
def test_a_parser_that_takes_many_times_longer(seconds: float, kinds: list[str]) -> None:
    def timed(release: str, streamed: float) -> Said:
        answer = {"20000": {"streamed": 0.1}, "80000": {"whole": 0.1, "streamed": streamed, "deltas": 3}}
        return said(release, record(release, "replay", "qwen3_coder/time", answer=answer))

    changes, _ = asked_changes(Asked(timed("0.31.0", 0.1), timed("0.32.0", seconds)))
    assert [change.kind for change in changes] == kinds


def test_figures_that_moved_and_questions_that_are_others() -> None:
    asked = Asked(
        said(
            "0.31.0",
            record("0.31.0", "weights", "480b-fp8 tp8", question=1, answer={"stages": [{"bytes": 1000, "buffers": 2}]}),
            record("0.31.0", "weights", "30b", question=1, answer={"stages": [{"bytes": 5}]}),
            record("0.31.0", "kv", "30b", question="old", answer={"tokens": 5}),
        ),
        said(
            "0.32.0",
            record("0.32.0", "weights", "480b-fp8 tp8", question=1, answer={"stages": [{"bytes": 2000, "buffers": 2}]}),
            record("0.32.0", "weights", "30b", question=1, error="ValueError: no"),
            record("0.32.0", "kv", "30b", question="new", answer={"tokens": 6}),
        ),
    )
    changes = {change.name: change for change in asked_changes(asked)[0]}
    assert changes["480b-fp8 tp8"].text == "stages[0].bytes: 1,000 -> 2,000"
    assert "refused: ValueError: no" in changes["30b"].text
    assert {change.kind for change in changes.values()} == {"weights-moved"}


def test_contradicted_rules_are_told_and_what_was_not_asked_is_said() -> None:
    rule = all_rules()[0].id
    asked = Asked(said("0.31.0", contradicted={}), said("0.32.0", contradicted={rule: "accepted"}))
    changes, missing = asked_changes(asked)
    assert [(c.kind, c.name, c.impact) for c in changes] == [("rule-contradicted", rule, "breaks")]
    assert all("no evidence" in text for text in missing)
    back, _ = asked_changes(Asked(asked.after, asked.before))
    assert [(c.kind, c.impact) for c in back] == [("rule-agrees", "new")]
    # What was not asked has not come to agree.
    assert asked_changes(Asked(asked.after, said("0.33.0")))[0] == []


def test_evidence_is_read_from_its_files(tmp_path: Path) -> None:
    append([record("0.31.0", "replay", "qwen3_coder", answer={"verdicts": {"a": "p"}})], tmp_path)
    append([record("0.32.0", "replay", "qwen3_coder", answer={"verdicts": {"a": "f"}})], tmp_path)
    changes, missing = asked_changes(asked_of(load_release("0.31.0"), load_release("0.32.0"), tmp_path))
    assert [change.kind for change in changes] == ["case-broken"]
    assert "0.31.0 was not asked about" in missing[0]


# -- the command -------------------------------------------------------------------------------------------------


def test_json_is_what_the_schema_says() -> None:
    result = CliRunner().invoke(changes_command, ["0.10.0", "0.33.0", "--json"], standalone_mode=False)
    assert result.exception is None
    answer = json.loads(result.stdout)
    Draft202012Validator(json_schema("changes")).validate(answer)
    assert (answer["before"], answer["after"]) == ("0.10.0", "0.33.0")
    assert msgspec.json.decode(result.stdout, type=ChangesAnswer).changes


def test_the_command_is_narrow_plain_and_shortens() -> None:
    result = CliRunner().invoke(changes_command, ["0.10.0", "0.33.0"], standalone_mode=False, env={"COLUMNS": "80"})
    lines = result.stdout.splitlines()
    assert result.exception is None
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in result.stdout
    assert lines[2].startswith("Breaks what worked")
    assert any("more (--all)" in line for line in lines)
    whole = CliRunner().invoke(changes_command, ["0.10.0", "0.33.0", "--all"], standalone_mode=False)
    assert "more (--all)" not in whole.stdout
    assert len(whole.stdout) > len(result.stdout)


def test_without_arguments_the_newest_is_compared_with_the_one_before() -> None:
    result = CliRunner().invoke(changes_command, [], standalone_mode=False)
    names = release_names()
    assert result.stdout.startswith(f"vLLM {names[-2]} -> {names[-1]}")


def test_a_pair_without_changes_says_so() -> None:
    lines = list(change_lines(changes_between(RELEASE, RELEASE)))
    assert "nothing that is known of differs" in lines[1]
