"""Bytes of parameters per rank: asked of real releases, and held against the packaged evidence."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from qcmatrix.catalogue.releases import Release, load_release, release_names
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import latest, read
from qcmatrix.memory.weights_basis import ASKED
from qcmatrix.probe.graded import Mark
from qcmatrix.probe.parts import weights
from qcmatrix.probe.parts.weights import FULL, QUICK, Layout, disagreements, graded, kept, our_bytes, probe
from qcmatrix.probe.session import Reply, Session, WorkerError
from qcmatrix.versions import parse_version

NEW = load_release("0.32.0")
OLD = load_release("0.28.0")


def told(layout: Layout, release: Release, **said: object) -> Record:
    return Record(
        release=release.name,
        part="weights",
        subject=layout.subject,
        question=msgspec.to_builtins(layout),
        date="2026-11-22",
        torch="2.13.0",
        transformers="5.19.0",
        **said,  # type: ignore[arg-type]
    )


def mark(layout: Layout, release: Release, **said: object) -> Mark:
    (one,) = graded([told(layout, release, **said)], release)
    assert [found.subject for found in disagreements([told(layout, release, **said)])] == (
        [layout.subject] if one.mark is Mark.DISAGREE else []
    )
    return one.mark


def test_the_questions_cover_the_family() -> None:
    assert len({layout.subject for layout in FULL}) == len(FULL)
    assert set(QUICK) <= set(FULL)
    assert {layout.tp for layout in FULL} >= {1, 2, 4, 8, 16}
    for name in ("480b", "480b-fp8", "480b-awq", "30b", "30b-fp8", "30b-awq", "next", "next-fp8"):
        own = [layout for layout in QUICK if layout.checkpoint == name]
        assert len(own) >= 3
        assert any(layout.tp > 1 for layout in own)
    assert {(layout.ep, layout.pp > 1, layout.dp > 1) for layout in QUICK} >= {
        (True, False, False),
        (True, False, True),
        (False, True, False),
        (True, True, False),
    }


def test_one_byte_apart_is_a_disagreement() -> None:
    layout = Layout("480b-fp8", tp=4, pp=2)
    sizes = our_bytes(layout, NEW.version)
    assert mark(layout, NEW, answer={"bytes": list(sizes)}) is Mark.AGREE
    assert mark(layout, NEW, answer={"bytes": [sizes[0], sizes[1] + 1]}) is Mark.DISAGREE
    assert mark(layout, NEW, answer={"bytes": [sizes[0]]}) is Mark.DISAGREE


def test_a_refusal_must_be_foretold_by_a_rule() -> None:
    cut = Layout("480b-fp8", tp=8)
    assert mark(cut, OLD, answer={"refused": "ValueError: ... not divisible"}) is Mark.EXPLAINED
    assert mark(cut, NEW, answer={"refused": "ValueError: ... not divisible"}) is Mark.DISAGREE
    assert mark(Layout("480b-fp8", tp=8, ep=True), OLD, answer={"refused": "ValueError: no"}) is Mark.DISAGREE


def test_what_was_not_worked_out_is_no_agreement() -> None:
    layout = Layout("30b")
    assert mark(layout, NEW, error="TypeError: no") is Mark.FAILED
    assert mark(layout, NEW, not_askable="it calls a compiled CUDA kernel") is Mark.NOT_ASKABLE


def test_what_a_record_keeps() -> None:
    refusal = {"refused": {"type": "ValueError", "text": "no " * 500}}
    assert len(kept(Reply(refusal, None, None, 0.1), dict)["answer"]["refused"]) <= 200
    assert kept(Reply(None, WorkerError("KeyError", "x"), None, 0.1), dict) == {"error": "KeyError: x"}
    assert kept(Reply(None, None, "why", 0.1), dict) == {"not_askable": "why"}


def test_figures_that_only_asking_all_releases_showed() -> None:
    """``A_log`` of the gated delta net is 16 bit from 0.11.1 up to 0.18.1: 36 layers x 32 heads x 2 bytes."""
    sizes = [our_bytes(Layout("next"), parse_version(name))[0] for name in ("0.11.0", "0.11.1", "0.18.1", "0.19.0")]
    assert sizes[0] - sizes[1] == sizes[3] - sizes[2] == 36 * 32 * 2
    online = [
        our_bytes(Layout("30b", quantization="fp8"), parse_version(name))[0]
        for name in ("0.12.0", "0.13.0", "0.18.1", "0.19.0", "0.30.0", "0.31.0")
    ]
    assert [before - after for before, after in pairwise(online)] == [
        48 * 128 * 4,
        0,
        48 * 128 * 8,
        0,
        48 * 8,
    ]


def test_compressed_tensors_holds_zero_points_of_the_cache_from_0_15() -> None:
    layout = Layout("30b-nvfp4", capability=(10, 0))
    before, after = (our_bytes(layout, parse_version(name))[0] for name in ("0.14.1", "0.15.0"))
    assert after - before == 48 * 10


def test_packaged_evidence_equals_our_figures() -> None:
    records = latest(read(part="weights"))
    # what is called exact was asked
    assert {name for name in release_names() if parse_version(name) in ASKED} <= {one.release for one in records}
    assert disagreements(records) == []
    assert [record.subject for record in records if record.error is not None] == []
    assert sum("bytes" in (record.answer or {}) for record in records) >= 30 * len({one.release for one in records})


@pytest.mark.probe
def test_a_real_release_lays_out_the_same_bytes(release_session: Session, probed_release: Release) -> None:
    records = probe(release_session, probed_release)
    found = list(graded(records, probed_release))
    assert [one for one in found if one.mark not in (Mark.AGREE, Mark.EXPLAINED)] == []
    assert len(found) == len(QUICK)
    assert Counter(one.mark for one in found)[Mark.AGREE] >= 30


@pytest.mark.probe
def test_buffers_and_names_can_be_asked_too(release_session: Session, probed_release: Release) -> None:
    weights.send_configs(release_session, [Layout("30b")])
    question = {**Layout("30b").question(), "modules": True}
    reply = release_session.ask("weights", timeout=300.0, **question)
    assert reply.answer is not None
    (stage,) = reply.answer["stages"]
    parameters = sum(size for name, size in stage["modules"].items() if name.startswith("bytes:"))
    assert parameters == stage["bytes"] == our_bytes(Layout("30b"), probed_release.version)[0]
    assert stage["buffers"] > 0
