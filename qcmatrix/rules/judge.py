"""Judging a deployment by the rules of its release.

A :class:`Judge` is made once per release, checkpoint and fleet; it drops the rules that do not hold there and
remembers each rule's verdict by what the rule reads, so that a planner's thousands of launches cost a few dictionary
look-ups each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from qcmatrix.deployment import Deployment
from qcmatrix.memory.ledger import Footprint
from qcmatrix.rules.declare import Breach, Outcome, Rule, Severity, Unknown, Verdict
from qcmatrix.versions import Version

__all__ = ["Finding", "Judge"]

# The same for all deployments that one judge sees, so no part of what a verdict is remembered by.
_FIXED = frozenset({"release", "fleet", "gpu", "checkpoint", "architecture"})
_ORDER = {severity: index for index, severity in enumerate(Severity)}
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says of one launch."""

    rule: Rule
    verdict: Breach | Unknown

    @property
    def outcome(self) -> Outcome | None:
        """What will happen; ``None`` when the rule cannot tell."""
        if isinstance(self.verdict, Unknown):
            return None
        return self.verdict.outcome or self.rule.outcome

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        if isinstance(self.verdict, Unknown):
            return Severity.WARNING if self.verdict.decides else Severity.INFO
        return self.verdict.severity or (self.verdict.outcome or self.rule.outcome).severity

    @property
    def stops(self) -> bool:
        """Does it keep the launch from serving as asked?"""
        return isinstance(self.verdict, Breach) and self.severity is Severity.ERROR


class _Memory:
    """One rule with its verdicts so far."""

    __slots__ = ("_getter", "_verdicts", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        varying = tuple(name for name in rule.reads if name not in _FIXED and name != "footprint")
        self._getter = attrgetter(*varying) if varying else _nothing
        self._verdicts: dict[Any, Any] = {}

    def ask(self, deployment: Deployment) -> Verdict:
        key = self._getter(deployment)
        try:
            verdict = self._verdicts.get(key, _MISSING)
        except TypeError:  # something it reads cannot be hashed: options, environment
            return self.rule.function(deployment)
        if verdict is _MISSING:
            verdict = self._verdicts[key] = self.rule.function(deployment)
        return verdict  # type: ignore[no-any-return]


def _nothing(_: Deployment) -> None:
    return None


class Judge:
    """The rules that hold for one release, ready to judge deployments of one checkpoint on one fleet."""

    def __init__(self, version: Version, rules: Iterable[Rule]) -> None:
        holding = [rule for rule in rules if version in rule.holds]
        self._cheap = tuple(_Memory(rule) for rule in holding if not rule.needs_footprint)
        self._costly = tuple(rule for rule in holding if rule.needs_footprint)

    def cheap(self, deployment: Deployment) -> tuple[Finding, ...]:
        """Findings of the rules that need no memory ledger, worst first."""
        found = [
            Finding(memory.rule, verdict) for memory in self._cheap if (verdict := memory.ask(deployment)) is not None
        ]
        return _sorted(found)

    def stopped(self, deployment: Deployment) -> Finding | None:
        """The first error of the cheap rules, or ``None``: the fast path of a search."""
        for memory in self._cheap:
            verdict = memory.ask(deployment)
            if verdict is not None:
                finding = Finding(memory.rule, verdict)
                if finding.stops:
                    return finding
        return None

    def costly(self, deployment: Deployment, footprint: Footprint) -> tuple[Finding, ...]:
        """Findings of the rules that read the memory ledger, worst first."""
        found = [
            Finding(rule, verdict)
            for rule in self._costly
            if (verdict := rule.function(deployment, footprint)) is not None
        ]
        return _sorted(found)

    def judge(self, deployment: Deployment, footprint: Footprint | None) -> tuple[Finding, ...]:
        """All findings, worst first; without a footprint the memory rules are not asked."""
        cheap = self.cheap(deployment)
        return cheap if footprint is None else _sorted([*cheap, *self.costly(deployment, footprint)])


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (_ORDER[finding.severity], finding.rule.id)))
