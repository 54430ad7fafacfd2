"""One launch, judged and sized: what ``check`` prints and what the planner searches through."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.deployment import Deployment
from qcmatrix.errors import RequestError
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.parsed import Problem, ProblemKind
from qcmatrix.memory.footprint import footprint
from qcmatrix.memory.ledger import Fit, Footprint
from qcmatrix.resolve import Resolver
from qcmatrix.rules import all_rules
from qcmatrix.rules.declare import Fix, Outcome, Unknown
from qcmatrix.rules.judge import Finding, Judge, worst_first

__all__ = ["Assessment", "Assessor", "LaunchVerdict", "sized", "with_fix"]


_UNREAD = frozenset(
    {
        ProblemKind.BAD_VALUE,
        ProblemKind.BAD_CHOICE,
        ProblemKind.MISSING_VALUE,
        ProblemKind.AMBIGUOUS_FLAG,
        ProblemKind.UNEXPANDED,
        ProblemKind.CONFIG_FILE,
    }
)


class LaunchVerdict(StrEnum):
    """What will happen to a launch."""

    STARTS = "starts"
    TIGHT = "tight"
    """The prediction's interval straddles what is needed: it may start."""
    DOES_NOT_FIT = "does-not-fit"
    REFUSED = "refused"
    """vLLM stops with an error."""
    WRONG = "wrong"
    """It starts and answers garbage or ignores what was asked."""
    UNKNOWN = "unknown"


class Assessment(msgspec.Struct, frozen=True):
    """A launch with its deployment, footprint and findings.

    ``footprint`` is ``None`` when the shapes cannot be cut at all, so that there is nothing to size.
    """

    launch: Launch
    deployment: Deployment
    footprint: Footprint | None
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> LaunchVerdict:
        """The worst that any finding or the ledger says; unknown is never a pass."""
        outcomes = {finding.outcome for finding in self.findings if finding.stops}
        if Outcome.REFUSES_TO_START in outcomes:
            return LaunchVerdict.REFUSED
        fit = self.footprint.fit if self.footprint is not None else None
        if Outcome.DOES_NOT_FIT in outcomes or fit is Fit.DOES_NOT_FIT:
            return LaunchVerdict.DOES_NOT_FIT
        if outcomes:
            return LaunchVerdict.WRONG
        if any(_undecided(finding) for finding in self.findings) or fit is None:
            return LaunchVerdict.UNKNOWN
        return LaunchVerdict.TIGHT if fit is Fit.TIGHT else LaunchVerdict.STARTS

    @property
    def serves(self) -> bool:
        """Is it worth waiting for the load?"""
        return self.verdict in (LaunchVerdict.STARTS, LaunchVerdict.TIGHT)


class Assessor:
    """Assesses launches of one checkpoint on one fleet under one release."""

    def __init__(self, release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> None:
        self.release = release
        self.fleet = fleet
        self.checkpoint = checkpoint
        self._resolver = Resolver(release, fleet, checkpoint)
        self._judge = Judge(release.version, all_rules())

    def resolve(self, launch: Launch, problems: tuple[Problem, ...] = ()) -> Deployment:
        """The launch with the release's defaults filled in; ``problems`` are those of the words that it came from."""
        deployment = self._resolver.resolve(launch)
        return msgspec.structs.replace(deployment, problems=problems) if problems else deployment

    def cheap(self, deployment: Deployment) -> tuple[Finding, ...]:
        """What the rules say that need no memory ledger."""
        return self._judge.cheap(deployment)

    def assess(self, launch: Launch, problems: tuple[Problem, ...] = ()) -> Assessment:
        """Everything about ``launch``."""
        deployment = self.resolve(launch, problems)
        # Words that were not read, or not seen, may have changed every figure: none is better than a wrong one.
        unread = any(problem.kind in _UNREAD and not problem.harmless for problem in problems)
        # Nor is the ledger of another model, where an override of the architecture is not followed.
        cheap = self._judge.cheap(deployment)
        reshaped = any(_undecided(finding) and "override_keys" in finding.rule.reads for finding in cheap)
        ledger = None if unread or reshaped else sized(deployment)
        findings = cheap if ledger is None else (*cheap, *self._judge.costly(deployment, ledger))
        return Assessment(launch, deployment, ledger, worst_first(findings))

    def finish(
        self, launch: Launch, deployment: Deployment, cheap: tuple[Finding, ...], ledger: Footprint
    ) -> Assessment:
        """The same, with what a search already knows."""
        findings = worst_first((*cheap, *self._judge.costly(deployment, ledger)))
        return Assessment(launch, deployment, ledger, findings)


def _undecided(finding: Finding) -> bool:
    return isinstance(finding.verdict, Unknown) and finding.verdict.decides


def sized(deployment: Deployment) -> Footprint | None:
    """The ledger, or ``None`` where the shapes cannot be cut, so that there is nothing to size."""
    try:
        return footprint(deployment)
    except RequestError:
        return None


def with_fix(launch: Launch, fix: Fix) -> Launch:
    """``launch`` after ``fix``; nothing else changes."""
    options = {dest: value for dest, value in launch.options.items() if dest not in fix.drop}
    options.update(fix.set)
    env = {name: value for name, value in launch.env.items() if name not in fix.drop_env}
    env.update(fix.set_env)
    unknown = tuple(word for word in launch.unknown if word not in fix.drop_words)
    return Launch(model=launch.model, options=options, env=env, unknown=unknown)
