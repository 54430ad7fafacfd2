"""Derived pages are fresh, and the public cases are met."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcmatrix.assess import Assessor
from qcmatrix.memory.accuracy import measure, summarise
from qcmatrix.report.accuracy import packaged_cases
from qcmatrix.report.pages import MARKS, PAGES, filled_readme

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("pages", PAGES, ids=lambda pages: pages.__name__.strip("_"))
def test_pages_are_fresh(pages: object) -> None:
    for path, text in pages():  # type: ignore[operator]
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: python -m qcmatrix.report --write"


def test_readme_has_every_mark() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in MARKS:
        assert f"<!-- {name} -->" in text


def test_a_missing_mark_is_noticed() -> None:
    with pytest.raises(ValueError, match="marks"):
        filled_readme("no marks here")


def test_public_cases_are_met() -> None:
    """The issue's thresholds: weights within 0.3%, KV median error 2%, 90th percentile 6%, no false verdict."""
    compared, _ = measure(
        packaged_cases(), lambda launch, release, fleet, c: Assessor(release, fleet, c).assess(launch)
    )
    told = summarise(compared)
    assert told.weights_worst_error is not None
    assert told.weights_worst_error <= 0.003
    assert told.kv_median_error is not None
    assert told.kv_median_error <= 0.02
    assert told.kv_p90_error is not None
    assert told.kv_p90_error <= 0.06
    assert not told.false_starts
    assert not told.false_refusals
