"""From what the planner and the judge found to the published answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.answers.evidence import evidence_of
from qcmatrix.answers.schema import (
    AskedAnswer,
    Estimate,
    EvidenceAnswer,
    FindingAnswer,
    HintAnswer,
    LatencyAnswer,
    LaunchAnswer,
    MemoryAnswer,
    NodeAnswer,
    PlanAnswer,
    TermAnswer,
)
from qcmatrix.assess import Assessment
from qcmatrix.catalogue.releases import Release
from qcmatrix.latency.roofline import Bounds, bounds
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.render import render
from qcmatrix.launch.secrets import redact, scrub
from qcmatrix.memory.ledger import Footprint, Interval
from qcmatrix.planner.nodes import commands_per_node
from qcmatrix.planner.plan import Hint, Plan
from qcmatrix.rules.declare import Breach
from qcmatrix.rules.judge import Finding

_WEIGHTS = ("weights", "allocator rounding")

__all__ = [
    "argv_of",
    "env_of",
    "finding_answer",
    "hint_answer",
    "launch_answer",
    "memory_answer",
    "plan_answer",
]


def argv_of(launch: Launch, release: Release) -> tuple[str, ...]:
    """The words of the command, secrets masked."""
    return tuple(render(redact(launch), release))


def env_of(launch: Launch) -> dict[str, str]:
    """The environment of the command, secrets masked."""
    return dict(redact(launch).env)


def plan_answer(plan: Plan, why: str, fixes: Mapping[str, str], asked: AskedAnswer | None = None) -> PlanAnswer:
    """One suggestion, as published; ``fixes`` holds the judged fix of a rule by its id."""
    assessment, request = plan.assessment, plan.request
    if assessment.footprint is None:  # a plan serves, and what serves has been sized
        raise ValueError("a plan without a footprint")
    release = request.release
    nodes = _nodes(plan)
    return PlanAnswer(
        fleet=str(request.fleet),
        model=request.checkpoint.checkpoint.repository,
        release=release.name,
        argv=nodes[0].argv or (),
        env=nodes[0].env,
        nodes=nodes,
        verdict=assessment.verdict.value,
        evidence=evidence_of(assessment),
        memory=memory_answer(assessment.footprint),
        latency=latency_answer(plan.latency),
        findings=tuple(finding_answer(finding, fixes.get(finding.rule.id)) for finding in assessment.findings),
        why=why,
        asked=asked,
    )


def _nodes(plan: Plan) -> tuple[NodeAnswer, ...]:
    request = plan.request
    return tuple(
        NodeAnswer(
            node=each.node,
            before=each.before,
            argv=None if each.launch is None else argv_of(each.launch, request.release),
            env={} if each.launch is None else env_of(each.launch),
        )
        for each in commands_per_node(plan.assessment.launch, plan.shape, request.fleet, request.release)
    )


def launch_answer(
    assessment: Assessment,
    fixes: Mapping[str, str],
    secrets: frozenset[str] = frozenset(),
    asked: AskedAnswer | None = None,
) -> LaunchAnswer:
    """One checked launch, as published; ``fixes`` holds the judged fix of a rule by its id."""
    deployment = assessment.deployment
    sized = assessment.footprint is not None
    return LaunchAnswer(
        argv=argv_of(assessment.launch, deployment.release),
        env=env_of(assessment.launch),
        release=deployment.release.name,
        fleet=str(deployment.fleet),
        model=deployment.checkpoint.repository,
        verdict=assessment.verdict.value,
        evidence=_evidence(assessment, asked),
        memory=memory_answer(assessment.footprint) if assessment.footprint is not None else None,
        findings=tuple(finding_answer(f, fixes.get(f.rule.id), secrets) for f in assessment.findings),
        latency=latency_answer(bounds(deployment)) if sized else None,
        asked=asked,
    )


def _evidence(assessment: Assessment, asked: AskedAnswer | None) -> EvidenceAnswer:
    """A refusal that the vLLM itself confirms is probed; an acceptance leaves the memory, which nobody was asked."""
    known = evidence_of(assessment)
    if asked is None or asked.says != "refuses" or asked.contradicts:
        return known
    return EvidenceAnswer(level="probed", release=asked.release, date=asked.date, sources=known.sources)


def hint_answer(hint: Hint, asked: AskedAnswer | None = None) -> HintAnswer:
    """One change that helps, as published."""
    request, nodes = hint.plan.request, _nodes(hint.plan)
    return HintAnswer(
        change=hint.change.kind,
        text=hint.change.text,
        fleet=str(request.fleet),
        model=request.checkpoint.checkpoint.repository,
        release=request.release.name,
        argv=nodes[0].argv or (),
        env=nodes[0].env,
        nodes=nodes,
        asked=asked,
    )


def finding_answer(finding: Finding, fix: str | None = None, secrets: frozenset[str] = frozenset()) -> FindingAnswer:
    """One finding, as published; no text repeats one of ``secrets``."""
    verdict = finding.verdict
    return FindingAnswer(
        rule=finding.rule.id,
        severity=finding.severity.value,
        because=scrub(verdict.because, secrets),
        fix=None if fix is None else scrub(fix, secrets),
        outcome=finding.outcome.value if finding.outcome is not None else "unknown",
        level=finding.rule.level.value,
        probed_on=finding.rule.probed_on,
        error=scrub(verdict.error, secrets) if isinstance(verdict, Breach) else "",
    )


def memory_answer(footprint: Footprint) -> MemoryAnswer:
    """The ledger, as published."""
    return MemoryAnswer(
        usable_gib=_round(footprint.usable_gib),
        budget_gib=_round(footprint.budget_gib),
        weights_gib=_round(sum(term.gib.mid for term in footprint.terms if term.name in _WEIGHTS)),
        overhead_gib=_estimate(footprint.overhead_gib),
        kv_gib=_estimate(footprint.kv_gib),
        kv_tokens=_estimate(footprint.kv_tokens, digits=0),
        kv_bytes_per_token=footprint.kv_bytes_per_token,
        max_context=_estimate(footprint.max_context, digits=0),
        max_concurrency=_estimate(footprint.max_concurrency, digits=2),
        needed_kv_gib=_round(footprint.needed_kv_gib),
        terms=tuple(
            TermAnswer(name=term.name, gib=_estimate(term.gib), in_budget=term.in_budget, basis=term.basis)
            for term in footprint.terms
        ),
        stage=footprint.stage,
    )


def latency_answer(found: Bounds) -> LatencyAnswer:
    """The bounds, as published."""
    return LatencyAnswer(
        prompt_tokens=found.prompt_tokens,
        attention=found.attention,
        prefill_seconds_at_least=_round(found.prefill_seconds),
        decode_milliseconds_at_least=_round(found.decode_milliseconds),
        decode_empty_context_milliseconds_at_least=_round(found.decode_empty_milliseconds),
    )


def _estimate(interval: Interval, digits: int = 3) -> Estimate:
    return Estimate(*(round(value, digits) for value in (interval.low, interval.mid, interval.high)))


def _round(value: Any) -> Any:
    return None if value is None else round(value, 3)
