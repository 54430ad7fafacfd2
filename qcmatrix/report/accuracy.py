"""``reports/accuracy.md``, and the same page for any file of cases."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files

from qcmatrix.assess import Assessment, Assessor
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.launch.launch import Launch
from qcmatrix.memory.accuracy import Case, measure, read_cases
from qcmatrix.memory.accuracy_report import render_accuracy

__all__ = ["accuracy_page", "packaged_cases", "packaged_page"]


def packaged_cases() -> tuple[Case, ...]:
    """The public start-up logs that come with the package, each with its URL."""
    with as_file(files("qcmatrix.memory") / "data" / "public_cases.jsonl") as path:
        return read_cases(path)


def packaged_page() -> str:
    """The page for the packaged cases."""
    return accuracy_page(packaged_cases(), source="the packaged public cases")


def accuracy_page(cases: Sequence[Case], *, source: str) -> str:
    """Predicted against measured for ``cases``, as Markdown; ``source`` names them for the reader."""
    compared, skipped = measure(cases, _assess)
    return render_accuracy(compared, skipped, source=source)


def _assess(launch: Launch, release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> Assessment:
    return Assessor(release, fleet, checkpoint).assess(launch)
