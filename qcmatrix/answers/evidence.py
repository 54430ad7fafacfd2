"""How a verdict is known."""

from __future__ import annotations

from qcmatrix.answers.schema import EvidenceAnswer
from qcmatrix.assess import Assessment
from qcmatrix.rules.declare import Level

__all__ = ["evidence_of"]


def evidence_of(assessment: Assessment) -> EvidenceAnswer:
    """The level of what decides the verdict.

    A refusal is known as well as the rule that refuses. A launch that starts is known as well as the formulas say:
    derived. The release is the one whose facts were used, the nearest where the asked one is not in the catalogue; the
    date is the day on which the release's facts were taken from its source.
    """
    release = assessment.deployment.release
    stopping = [finding for finding in assessment.findings if finding.stops]
    level = stopping[0].rule.level if stopping else Level.DERIVED
    sources = tuple(source.url for source in stopping[0].rule.sources) if stopping else ()
    return EvidenceAnswer(level=level.value, release=release.surface_of, date=release.file.extracted, sources=sources)
