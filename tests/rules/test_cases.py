"""Every rule: its cases, both sides of its version bounds, what it reads, and its page."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from qcmatrix.assess import Assessor
from qcmatrix.catalogue.releases import load_release, release_names
from qcmatrix.deployment import Deployment
from qcmatrix.launch.parse import parse
from qcmatrix.memory.footprint import footprint
from qcmatrix.rules import all_rules
from qcmatrix.rules.cases import Case, Kind, case_file, case_names
from qcmatrix.rules.declare import Breach, Rule, Unknown, Verdict
from qcmatrix.versions import parse_version

RULES = {rule.id: rule for rule in all_rules()}
SECTIONS = ("What it finds", "Why it fails", "What to do", "Not covered")


def deployment_of(case: Case, vllm: str | None = None) -> Deployment:
    release = load_release(vllm or case.vllm)
    parsed = parse(case.words, release)
    return Assessor(release, case.fleet, case.checkpoint).resolve(parsed.launch, parsed.problems)


def verdict_of(rule: Rule, deployment: Any) -> Verdict:
    if rule.needs_footprint:
        ledger = footprint(deployment)
        assert ledger is not None, "a memory rule's case must be one that can be sized"
        return rule.function(deployment, ledger)
    return rule.function(deployment)


def judged(rule: Rule, case: Case, vllm: str | None = None) -> Verdict:
    deployment = deployment_of(case, vllm)
    return verdict_of(rule, deployment) if deployment.release.version in rule.holds else None


def every_case() -> list[Any]:
    found = []
    for rule_id, rule in RULES.items():
        file = case_file(rule_id)
        for kind in get_args(Kind):
            for number, case in enumerate(file.of(kind)):
                found.append(pytest.param(rule, kind, case, id=f"{rule_id}-{kind}-{number}"))
    return found


@pytest.mark.parametrize(("rule", "kind", "case"), every_case())
def test_case(rule: Rule, kind: Kind, case: Case) -> None:
    verdict = judged(rule, case)
    expected: Any = {"breaks": Breach, "allows": type(None), "unknown": Unknown}[kind]
    assert isinstance(verdict, expected), verdict
    if case.says:
        assert verdict is not None
        assert case.says in verdict.because


@pytest.mark.parametrize("rule_id", RULES)
def test_every_rule_has_a_breaking_and_an_allowed_case(rule_id: str) -> None:
    file = case_file(rule_id)
    assert file.breaks or file.unknown
    assert file.allows


def test_no_case_file_without_a_rule() -> None:
    assert set(case_names()) == set(RULES)


def bounds() -> list[Any]:
    found = []
    for rule_id, rule in RULES.items():
        for bound, inside_is in ((rule.holds.low, "at"), (rule.holds.high, "before")):
            if bound is not None and case_file(rule_id).breaks:
                found.append(pytest.param(rule, bound, inside_is, id=f"{rule_id}-{inside_is}-{bound}"))
    return found


@pytest.mark.parametrize(("rule", "bound", "inside_is"), bounds())
def test_both_sides_of_a_version_bound(rule: Rule, bound: str, inside_is: str) -> None:
    """A breaking case is one on the inner side of each bound, and is none on the outer side."""
    names = release_names()
    version = parse_version(bound)
    at = [name for name in names if parse_version(name) >= version]
    before = [name for name in names if parse_version(name) < version]
    inner, outer = (at[0], before[-1] if before else None) if inside_is == "at" else (before[-1], at[0] if at else None)
    assert any(isinstance(judged(rule, case, inner), Breach) for case in case_file(rule.id).breaks), inner
    if outer is not None:
        assert all(not isinstance(judged(rule, case, outer), Breach) for case in case_file(rule.id).breaks), outer


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_ranges_take_pre_post_and_local_versions(rule: Rule) -> None:
    for bound, inside in ((rule.holds.low, True), (rule.holds.high, False)):
        if bound is not None:
            assert (parse_version(f"{bound}+cpu") in rule.holds) is inside
            assert (parse_version(f"{bound}.post1") in rule.holds) is inside
            assert (parse_version(f"{bound}rc1") in rule.holds) is not inside


class Recorder:
    """A deployment that notes which of its attributes are read."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._deployment, name)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_reads_only_what_it_says(rule: Rule) -> None:
    file = case_file(rule.id)
    read: set[str] = set()
    for case in (*file.breaks, *file.allows, *file.unknown):
        deployment = deployment_of(case)
        recorder = Recorder(deployment)
        arguments: list[Any] = [recorder]
        if rule.needs_footprint:
            arguments.append(footprint(deployment))
        rule.function(*arguments)
        read |= recorder.read
    assert read <= set(rule.reads)
    assert set(rule.reads) - {"footprint"} <= set(Deployment.__struct_fields__)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_page(rule: Rule) -> None:
    lines = rule.page.splitlines()
    assert len(rule.title) <= 75
    assert [line for line in lines if line in SECTIONS] == list(SECTIONS)
    assert rule.sources, "a rule without a source is a rumour with an id"
    assert all(source.url.startswith("https://") and source.quote for source in rule.sources)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_fixes_mend(rule: Rule) -> None:
    """Each offered fix silences the rule that offers it, on the rule's own cases."""
    from qcmatrix.assess import with_fix

    for case in case_file(rule.id).breaks:
        release = load_release(case.vllm)
        parsed = parse(case.words, release)
        assessor = Assessor(release, case.fleet, case.checkpoint)
        deployment = assessor.resolve(parsed.launch, parsed.problems)
        verdict = verdict_of(rule, deployment)
        assert isinstance(verdict, Breach)
        mended = [
            not isinstance(verdict_of(rule, assessor.resolve(with_fix(parsed.launch, fix))), Breach)
            for fix in verdict.fixes
        ]
        # What helps with memory depends on how much is missing: each fix is judged again before it is offered.
        assert any(mended) if rule.needs_footprint and mended else all(mended), verdict.fixes
