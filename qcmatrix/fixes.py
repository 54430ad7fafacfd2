"""Fixes that have been judged again before anyone is offered one."""

from __future__ import annotations

import msgspec

from qcmatrix.assess import Assessment, Assessor, LaunchVerdict, with_fix
from qcmatrix.catalogue.releases import Release
from qcmatrix.launch.parsed import Problem
from qcmatrix.rules.declare import Breach, Fix, Severity
from qcmatrix.rules.judge import Finding

__all__ = ["Offer", "judged_fix", "judged_fixes", "offered", "problems_left"]

_BETTER_FIRST = (
    LaunchVerdict.STARTS,
    LaunchVerdict.TIGHT,
    LaunchVerdict.UNKNOWN,
    LaunchVerdict.DOES_NOT_FIT,
    LaunchVerdict.WRONG,
    LaunchVerdict.REFUSED,
)
_ABOUT_MEMORY = frozenset({"max_model_len", "gpu_memory_utilization"})
"""What is changed so that it fits."""


def judged_fixes(assessor: Assessor, assessment: Assessment, *, notes: bool = True) -> dict[str, str]:
    """For each finding that has a fix that holds: rule id -> what to do and what comes of it. Without ``notes``, only
    for errors and warnings."""
    fixes = {}
    for finding in assessment.findings:
        if not notes and finding.severity is Severity.INFO:
            continue
        text = judged_fix(assessor, assessment, finding)
        if text is not None:
            fixes[finding.rule.id] = text
    return fixes


class Offer(msgspec.Struct, frozen=True):
    """A fix that was judged: what to do, and what comes of it."""

    fix: Fix
    after: Assessment | None
    """``None``: model or card are not known, and nothing was sized."""
    text: str


def judged_fix(assessor: Assessor, assessment: Assessment, finding: Finding) -> str | None:
    """The text of :func:`offered`."""
    offer = offered(assessor, assessment, finding)
    return None if offer is None else offer.text


def offered(assessor: Assessor, assessment: Assessment, finding: Finding) -> Offer | None:
    """The first fix after which the rule is silent and the verdict no worse; ``None`` when there is none."""
    if not isinstance(finding.verdict, Breach):
        return None
    for fix in finding.verdict.fixes:
        problems = problems_left(assessment.deployment.release, assessment.deployment.problems, fix)
        after = assessor.assess(with_fix(assessment.launch, fix), problems)
        if any(other.rule is finding.rule for other in after.findings):
            continue
        if _BETTER_FIRST.index(after.verdict) > _BETTER_FIRST.index(assessment.verdict):
            continue
        if _ABOUT_MEMORY & fix.set.keys() and after.verdict is LaunchVerdict.DOES_NOT_FIT:
            continue  # the rule is content, and the memory is not: another length that does not fit helps nobody
        return Offer(fix, after, _told(fix, assessment, after))
    return None


def problems_left(release: Release, problems: tuple[Problem, ...], fix: Fix) -> tuple[Problem, ...]:
    """The problems of the words that the fix does not write anew."""
    flags = release.flag_by_name
    touched = {*fix.set, *fix.drop}

    def is_touched(problem: Problem) -> bool:
        flag = flags.get(problem.words[0].partition("=")[0]) if problem.words else None
        return flag is not None and flag.dest in touched

    return tuple(problem for problem in problems if not is_touched(problem))


def _told(fix: Fix, before: Assessment, after: Assessment) -> str:
    changed = after.verdict is not before.verdict
    if after.footprint is None or not (changed or before.footprint is None):
        return fix.text
    tokens = after.footprint.kv_tokens.mid
    spelled = f"{tokens / 1e6:.2f}M" if tokens >= 1e6 else f"{tokens:,.0f}"
    return f"{fix.text} (then: {after.verdict.value}, KV cache: {spelled} tokens)"
