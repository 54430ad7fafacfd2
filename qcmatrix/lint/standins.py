"""What holds of a command whatever the model and the card: where nobody says which, several stand in for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import msgspec

from qcmatrix.assess import with_fix
from qcmatrix.catalogue.fleets import Fleet, parse_fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint, find_checkpoint
from qcmatrix.fixes import Offer, problems_left
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.parsed import Problem
from qcmatrix.lint.subject import Subject
from qcmatrix.resolve.resolver import Resolver
from qcmatrix.rules import all_rules
from qcmatrix.rules.declare import Breach, Fix, Outcome, Rule, Severity
from qcmatrix.rules.judge import Finding, Judge, worst_first

__all__ = ["common_findings"]

_ANY_FLEET = ("1024xH200", "1024xA100-80", "1024xL40S", "1024xB200")
"""What holds on all of these holds whatever the card: a Hopper, an Ampere, an Ada and a Blackwell card."""
_ANY_MODEL = ("480b-fp8", "next", "30b", "q2.5-coder-7b-awq")
_WHATEVER = frozenset(
    {
        "more-gpus-than-are-visible",
        "tool-call-parser-missing",
        "tool-call-parser-not-in-release",
        "yarn-by-removed-rope-scaling-flag",
    }
)
"""They read the model or the card for their fixes or their words, and hold for all of them."""
_CARD = frozenset({"gpu", "fleet", "footprint"})
_MODEL = frozenset({"architecture", "checkpoint", "quantization", "footprint"})
_Findings = dict[str, Finding]


class _StandIn(msgspec.Struct):
    resolver: Resolver
    judge: Judge
    findings: _Findings

    def found(self, launch: Launch, problems: tuple[Problem, ...]) -> tuple[Finding, ...]:
        """What the rules say of ``launch`` here."""
        deployment = self.resolver.resolve(launch)
        return self.judge.cheap(msgspec.structs.replace(deployment, problems=problems) if problems else deployment)


def common_findings(subject: Subject, counts: Callable[[Finding], bool]) -> tuple[tuple[Finding, Offer | None], ...]:
    """The findings of the rules that look at nothing that is not known, which hold on whatever stands in for it, each
    with the first of its fixes that mends it on all of them. ``counts`` says of a finding whether it is one."""
    stand_ins: list[_StandIn] = []
    kept: _Findings | None = None
    rules = _askable(_hidden(subject))
    for fleet, checkpoint in _standing_in(subject):
        stand_in = _StandIn(
            Resolver(subject.release, fleet, checkpoint), Judge(subject.release.version, rules), findings={}
        )
        here = _held(subject, stand_in.found(subject.parsed.launch, subject.parsed.problems), counts)
        stand_in.findings = here
        stand_ins.append(stand_in)
        if kept is None:
            kept = here
        else:
            kept = {rule: each for rule, each in kept.items() if rule in here and _same(each, here[rule])}
        if not kept:
            return ()
    findings = worst_first((kept or {}).values())
    return tuple((each, _offer(subject, stand_ins, each, counts)) for each in findings)


def _standing_in(subject: Subject) -> Iterator[tuple[Fleet, ResolvedCheckpoint]]:
    fleets = (subject.fleet,) if subject.fleet is not None else _fleets()
    models = (subject.checkpoint,) if subject.checkpoint is not None else tuple(map(find_checkpoint, _ANY_MODEL))
    for fleet in fleets:
        for model in models:
            yield fleet, model


def _hidden(subject: Subject) -> frozenset[str]:
    """What rules may read and nobody knows."""
    return (_CARD if subject.fleet is None else frozenset()) | (_MODEL if subject.checkpoint is None else frozenset())


@lru_cache(maxsize=4)
def _askable(hidden: frozenset[str]) -> tuple[Rule, ...]:
    """The rules that look at nothing hidden. Nothing is sized, so nothing is said of memory."""
    return tuple(
        rule
        for rule in all_rules()
        if rule.outcome is not Outcome.DOES_NOT_FIT and (not hidden & set(rule.reads) or rule.id in _WHATEVER)
    )


def _held(subject: Subject, found: Sequence[Finding], counts: Callable[[Finding], bool]) -> _Findings:
    """Those that count, by rule. Of the rules that hold whatever is hidden only what they are sure of."""
    hidden = _hidden(subject)
    return {
        each.rule.id: each
        for each in found
        if not hidden & set(each.rule.reads) or isinstance(each.verdict, Breach)
        if counts(each)
    }


def _same(one: Finding, other: Finding) -> bool:
    return type(one.verdict) is type(other.verdict) and one.verdict.because == other.verdict.because


def _offer(
    subject: Subject, stand_ins: Sequence[_StandIn], finding: Finding, counts: Callable[[Finding], bool]
) -> Offer | None:
    if not isinstance(finding.verdict, Breach) or finding.severity is Severity.INFO:
        return None
    for fix in finding.verdict.fixes:
        if all(_mends(subject, each, finding, fix, counts) for each in stand_ins):
            return Offer(fix, None, fix.text)
    return None


def _mends(subject: Subject, stand_in: _StandIn, finding: Finding, fix: Fix, counts: Callable[[Finding], bool]) -> bool:
    """Is it the same fix here, the rule silent after it, and no new error there?"""
    before = stand_in.findings[finding.rule.id].verdict
    if not isinstance(before, Breach) or fix not in before.fixes:
        return False
    problems = problems_left(subject.release, subject.parsed.problems, fix)
    after = _held(subject, stand_in.found(with_fix(subject.parsed.launch, fix), problems), counts)
    errors = {rule for rule, each in after.items() if each.severity is Severity.ERROR}
    return finding.rule.id not in after and errors <= stand_in.findings.keys()


@lru_cache(maxsize=1)
def _fleets() -> tuple[Fleet, ...]:
    return tuple(fleet for text in _ANY_FLEET for fleet in parse_fleet(text))
