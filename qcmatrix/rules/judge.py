"""Judging a deployment by the rules of its release.

A :class:`Judge` is made once per release, checkpoint and fleet; it drops the rules that do not hold there and
remembers verdicts by what the rules read: a planner's thousands of launches cost a few dictionary look-ups each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from qcmatrix.deployment import Deployment
from qcmatrix.memory.ledger import Footprint
from qcmatrix.rules.declare import Breach, Outcome, Rule, Severity, Unknown
from qcmatrix.versions import Version

__all__ = ["Finding", "Judge", "worst_first"]

# The same for all deployments that one judge sees, so no part of what a verdict is remembered by.
_FIXED = frozenset({"release", "fleet", "gpu", "checkpoint", "architecture"})
_ORDER = {severity: index for index, severity in enumerate(Severity)}
_KEPT = 20_000
"""Verdicts that a group remembers before it starts anew."""
_KINDS = {
    "tensor_parallel_size": "shape",
    "pipeline_parallel_size": "shape",
    "data_parallel_size": "shape",
    "data_parallel_size_local": "shape",
    "decode_context_parallel_size": "shape",
    "enable_expert_parallel": "shape",
    "context": "length",
    "max_model_len": "length",
    "rope": "length",
    "max_num_batched_tokens": "batch",
    "max_num_seqs": "batch",
    "kv_cache_dtype": "kv",
    "options": "options",
    "env": "env",
}
"""What a search varies together. Options cannot be hashed: they are a kind of their own."""


class Finding(msgspec.Struct, frozen=True):
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


class _Group:
    """Rules that read the same kinds of attributes, with their findings so far.

    One key and one look-up serve the whole group: the shapes repeat over many contexts, the contexts over many shapes,
    and what has to do with neither is the same all through a search.
    """

    __slots__ = ("_findings", "_getter", "_rules")

    def __init__(self, rules: tuple[Rule, ...], getter: Callable[[Deployment], Any]) -> None:
        self._rules = rules
        self._getter = getter
        self._findings: dict[Any, tuple[Finding, ...]] = {}

    def ask(self, deployment: Deployment) -> tuple[Finding, ...]:
        key = self._getter(deployment)
        try:
            found = self._findings.get(key)
        except TypeError:  # something they read cannot be hashed: options
            return self._judge(deployment)
        if found is None:
            if len(self._findings) >= _KEPT:
                self._findings.clear()
            found = self._findings[key] = self._judge(deployment)
        return found

    def _judge(self, deployment: Deployment) -> tuple[Finding, ...]:
        return tuple(
            Finding(rule, verdict) for rule in self._rules if (verdict := rule.function(deployment)) is not None
        )


def _key_of(reads: list[str]) -> Callable[[Deployment], Any]:
    """What the verdicts of rules that read ``reads`` are remembered by."""
    if not reads:
        return lambda _: None
    if "env" not in reads:
        return attrgetter(*reads)
    others = [name for name in reads if name != "env"]
    rest = attrgetter(*others) if others else lambda _: None
    return lambda deployment: (tuple(deployment.env.items()), rest(deployment))


@lru_cache(maxsize=256)
def _holding(
    version: Version, rules: tuple[Rule, ...]
) -> tuple[tuple[tuple[tuple[Rule, ...], Any], ...], tuple[Rule, ...]]:
    """The rules that hold for ``version``: those that need no memory ledger, by the kinds of attributes that they read
    (what cannot be hashed keeps to itself), each group with what its verdicts are remembered by; and the others."""
    holding = [rule for rule in rules if version in rule.holds]
    by_kind: dict[frozenset[str], list[Rule]] = {}
    for rule in holding:
        if not rule.needs_footprint:
            kinds = frozenset(_KINDS.get(name, "rest") for name in rule.reads if name not in _FIXED)
            by_kind.setdefault(kinds, []).append(rule)
    groups = tuple(
        (tuple(group), _key_of(sorted({name for rule in group for name in rule.reads} - _FIXED)))
        for group in by_kind.values()
    )
    return groups, tuple(rule for rule in holding if rule.needs_footprint)


class Judge:
    """The rules that hold for one release, ready to judge deployments of one checkpoint on one fleet."""

    def __init__(self, version: Version, rules: Iterable[Rule]) -> None:
        groups, self._costly = _holding(version, tuple(rules))
        self._groups = tuple(_Group(*group) for group in groups)

    def cheap(self, deployment: Deployment) -> tuple[Finding, ...]:
        """Findings of the rules that need no memory ledger, in no order."""
        found: tuple[Finding, ...] = ()
        for group in self._groups:
            found += group.ask(deployment)
        return found

    def costly(self, deployment: Deployment, footprint: Footprint) -> tuple[Finding, ...]:
        """Findings of the rules that read the memory ledger, in no order."""
        return tuple(
            Finding(rule, verdict)
            for rule in self._costly
            if (verdict := rule.function(deployment, footprint)) is not None
        )

    def judge(self, deployment: Deployment, footprint: Footprint | None) -> tuple[Finding, ...]:
        """All findings, worst first; without a footprint the memory rules are not asked."""
        cheap = self.cheap(deployment)
        return worst_first(cheap if footprint is None else (*cheap, *self.costly(deployment, footprint)))


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors, then warnings, then notes; by rule within each."""
    return tuple(sorted(findings, key=lambda finding: (_ORDER[finding.severity], finding.rule.id)))
