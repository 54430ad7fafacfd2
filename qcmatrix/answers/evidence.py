"""How a verdict is known."""

from __future__ import annotations

from qcmatrix.answers.schema import EvidenceAnswer
from qcmatrix.answers.served import find_served
from qcmatrix.assess import Assessment
from qcmatrix.rules.declare import Level

__all__ = ["evidence_of"]


def evidence_of(assessment: Assessment) -> EvidenceAnswer:
    """The level of what decides the verdict.

    A refusal is known as well as the rule that refuses. A launch that starts is served where a public log shows the
    same launch serving, else known as well as the formulas say: derived. The release is the one whose facts were used,
    the nearest where the asked one is not in the catalogue; the date is the day on which they were taken from its
    source.
    """
    release = assessment.deployment.release
    stopping = [finding for finding in assessment.findings if finding.stops]
    sources: tuple[str, ...] = ()
    if stopping:
        level = stopping[0].rule.level_for(release.surface_of)
        sources = tuple(source.url for source in stopping[0].rule.sources)
    elif assessment.serves and (served := find_served(assessment.deployment)) is not None:
        level, sources = Level.SERVED, (served.url,)
    else:
        level = Level.DERIVED
    return EvidenceAnswer(level=level.value, release=release.surface_of, date=release.file.extracted, sources=sources)
