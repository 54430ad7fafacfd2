"""The KV cache: layers and planning asked of real releases, and held against the packaged evidence."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import Release, load_release, release_names
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import latest, read
from qcmatrix.probe.configs import config_json
from qcmatrix.probe.graded import Mark
from qcmatrix.probe.parts.kv import FULL, QUICK, Plan, Specs, disagreements, graded, our_plan, our_specs, probe
from qcmatrix.probe.session import Session
from qcmatrix.versions import parse_version

NEW = load_release("0.32.0")


def told(one: Specs | Plan, **said: object) -> Record:
    return Record(
        release=NEW.name,
        part="kv",
        subject=one.subject,
        question=msgspec.to_builtins(one),
        date="2026-11-22",
        torch="2.13.0",
        transformers="5.19.0",
        **said,  # type: ignore[arg-type]
    )


def mark(one: Specs | Plan, **said: object) -> Mark:
    (found,) = graded([told(one, **said)], NEW)
    assert [each.subject for each in disagreements([told(one, **said)])] == (
        [one.subject] if found.mark is Mark.DISAGREE else []
    )
    return found.mark


def test_the_questions_cover_the_family() -> None:
    assert len({one.subject for one in FULL}) == len(FULL)
    assert set(QUICK) <= set(FULL)
    plans = [one for one in QUICK if isinstance(one, Plan)]
    assert {one.checkpoint for one in plans} == {"480b", "30b", "next"}
    for trait in ("kv_cache_dtype", "block_size", "dcp", "override", "prefix_caching", "ssm_dtype", "stages"):
        assert len({getattr(one, trait) for one in plans}) >= 2, trait
    verdicts = {our_plan(one, NEW.version)["admits"] for one in plans}
    assert verdicts == {True, False}


def test_releases_are_asked_only_what_they_know() -> None:
    old, older = parse_version("0.10.2"), parse_version("0.10.0")
    assert not Specs("next").fits(older)
    assert Specs("next").fits(old)
    assert not Plan("next", (1,), prefix_caching=True).fits(old)
    assert not Plan("480b", (1,), dcp=2).fits(older)
    assert not Plan("480b", (1,), kv_cache_dtype="bfloat16").fits(old)
    for release in ("0.10.0", "0.10.2", "0.20.0", "0.33.0"):
        version = parse_version(release)
        for one in FULL:
            if one.fits(version):
                assert our_specs(one, version) if isinstance(one, Specs) else our_plan(one, version)


def test_one_block_apart_is_a_disagreement() -> None:
    one = Plan("480b", (65_831_525_231,), tp=8)
    answer = our_plan(one, NEW.version)
    assert mark(one, answer=answer) is Mark.AGREE
    assert mark(one, answer={**answer, "blocks": answer["blocks"] + 1}) is Mark.DISAGREE
    assert mark(one, answer={**answer, "more": 1}) is Mark.DISAGREE
    assert mark(one, answer={"refused": "ValueError: no"}) is Mark.DISAGREE
    assert mark(one, error="TypeError: no") is Mark.FAILED
    assert mark(one, not_askable="why") is Mark.NOT_ASKABLE


def test_one_head_apart_is_a_disagreement() -> None:
    one = Specs("next", tp=2, pp=2)
    stages: list[dict[str, Any]] = [{"specs": specs} for specs in our_specs(one, NEW.version)]
    assert Specs("next", tp=2, pp=2) in FULL or one.subject not in {each.subject for each in FULL}
    asked = Specs("next", tp=2)
    (specs,) = our_specs(asked, NEW.version)
    assert mark(asked, answer={"stages": [{"specs": specs}]}) is Mark.AGREE
    broken = [{**spec, "page_bytes": spec["page_bytes"] + 1} for spec in specs]
    assert mark(asked, answer={"stages": [{"specs": broken}]}) is Mark.DISAGREE
    assert mark(asked, answer={"stages": stages}) is Mark.DISAGREE
    assert mark(asked, answer={"refused": "ValueError: no"}) is Mark.DISAGREE


def test_packaged_evidence_equals_our_figures() -> None:
    records = latest(read(part="kv"))
    releases = {record.release for record in records}
    assert set(release_names()) <= releases
    assert disagreements(records) == []
    assert [record.subject for record in records if record.error is not None] == []
    assert sum("refused" not in (record.answer or {"refused": 1}) for record in records) >= 20 * len(releases)


@pytest.mark.probe
def test_a_real_release_plans_the_same(release_session: Session, probed_release: Release) -> None:
    records = probe(release_session, probed_release)
    found = list(graded(records, probed_release))
    assert [one for one in found if one.mark not in (Mark.AGREE, Mark.EXPLAINED)] == []
    assert len(found) == sum(one.fits(probed_release.version) for one in QUICK)
    assert Counter(one.mark for one in found)[Mark.AGREE] >= 20


@pytest.mark.probe
def test_planning_leaves_no_traces_in_the_worker(release_session: Session, probed_release: Release) -> None:
    """It replaces parts of vLLM for one question; the next one must find everything as it was."""
    found = find_checkpoint("next")
    release_session.configs({found.checkpoint.repository: config_json(found)})
    layers = Specs("next", tp=2).question(probed_release.version)
    plan = Plan("next", (20 << 30,), tp=2).question(probed_release.version)
    first, planned, second, again = release_session.ask_many([layers, plan, layers, plan], timeout=300.0)
    assert first.answer is not None
    assert planned.answer is not None
    assert first.answer == second.answer
    assert planned.answer == again.answer
