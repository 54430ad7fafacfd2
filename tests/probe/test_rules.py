"""The rules' cases asked live: the release does what the rules say, on both sides of every bound."""

from __future__ import annotations

import pytest

from qcmatrix.catalogue.releases import Release, release_names
from qcmatrix.evidence.store import latest, read
from qcmatrix.probe.parts.rules import probe
from qcmatrix.probe.proof import PART, Grade, asked_of
from qcmatrix.probe.session import Session
from qcmatrix.probe.status import Standing, cells, judged
from qcmatrix.rules import all_rules
from qcmatrix.rules.cases import case_file

pytestmark = pytest.mark.probe


@pytest.fixture(scope="module")
def live(release_session: Session, probed_release: Release) -> object:
    records = probe(release_session, probed_release)
    return records, cells(records, probed_release)


def test_no_rule_is_contradicted(live: object) -> None:
    _, found = live  # type: ignore[misc]
    assert {rule: cell.why for rule, cell in found.items() if cell.standing is Standing.DISAGREES} == {}


def test_rules_that_vllm_enforces_are_shown_to_be(live: object, probed_release: Release) -> None:
    """Where a breach can be asked, the release refuses it: an answer that says nothing is no proof."""
    _, found = live  # type: ignore[misc]
    shown = [rule for rule, cell in found.items() if cell.standing is Standing.AGREES]
    wanted = [
        rule.id
        for rule in all_rules()
        if rule.enforced_by_vllm and probed_release.version in rule.holds and not case_file(rule.id).not_askable
    ]
    assert len(set(wanted) & set(shown)) >= 0.9 * len(wanted), sorted(set(wanted) - set(shown))


def test_few_answers_say_nothing(live: object) -> None:
    _, found = live  # type: ignore[misc]
    graded = [one.proof.grade for cell in found.values() for one in cell.judged]
    assert len(graded) > 150
    assert sum(grade in (Grade.NOT_ASKABLE, Grade.MASKED) for grade in graded) < 0.15 * len(graded)


def test_the_packaged_evidence_says_the_same(live: object, probed_release: Release) -> None:
    """What it comes to, not word for word: how the worker excuses what it lacks may be put better."""
    _, found = live  # type: ignore[misc]
    records = latest(read(release=probed_release.name, part=PART))
    kept = {one.asked.subject: one.proof for one in judged(records, probed_release)}
    now = {one.asked.subject: one.proof for cell in found.values() for one in cell.judged}
    differ = {name: (kept[name], proof) for name, proof in now.items() if kept[name].grade is not proof.grade}
    assert differ == {}


@pytest.mark.parametrize("side", ["low", "high"])
def test_both_sides_of_every_bound_are_asked(side: str) -> None:
    """Without a release: the questions are there, on the release at the bound and on its neighbour beyond it."""
    from qcmatrix.catalogue.releases import load_release

    names = release_names()
    for rule in all_rules():
        bound = getattr(rule.holds, side)
        if bound is None or case_file(rule.id).not_askable or bound == names[0]:
            continue
        at = names.index(bound)
        for name in (names[at - 1], names[at]):
            asked = list(asked_of(load_release(name), {rule.id: rule}))
            assert asked, f"{rule.id} is not asked on {name}"
