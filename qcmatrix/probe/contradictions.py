"""Rules that a release contradicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qcmatrix.catalogue.releases import Release
from qcmatrix.evidence.records import Record
from qcmatrix.probe.proof import PART
from qcmatrix.probe.status import Standing, cells

__all__ = ["contradicted_rules"]


def contradicted_rules(release: Release, records: Iterable[Record]) -> Mapping[str, str] | None:
    """Rule -> how ``release`` contradicts it, by ``records``; ``None``: it was not asked the rules' cases."""
    asked = [record for record in records if record.part == PART and record.release == release.name]
    if not asked:
        return None
    found = cells(asked, release)
    return {rule_id: cell.why for rule_id, cell in found.items() if cell.standing is Standing.DISAGREES}
