"""What a server's log will measure, against public logs."""

from __future__ import annotations

import datetime
from pathlib import Path

import qcmatrix
from qcmatrix.assess import Assessor
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.matrix.entries import Entry, Expectation
from qcmatrix.memory.accuracy import Compared, measure, read_cases
from qcmatrix.suites.boot.prediction import of_footprint, outside, predicted

CASES = Path(qcmatrix.__file__).parent / "memory" / "data" / "public_cases.jsonl"


def an_entry(command: str, fleet: str, vllm: str = "0.19.0") -> Entry:
    return Entry(
        id="made-up",
        fleet=fleet,
        vllm=vllm,
        command=command,
        expect=Expectation(verdict="starts"),
        source="https://docs.vllm.ai/",
        read=datetime.date(2026, 11, 22),
    )


def public() -> list[Compared]:
    compared, _ = measure(
        read_cases(CASES),
        lambda launch, release, fleet, facts: Assessor(release, fleet, facts).assess(launch),
    )
    return [row for row in compared if row.footprint is not None and not row.apart]


def figures(row: Compared) -> dict[str, float]:
    told = {
        "model_load_gib": row.case.model_load_gib,
        "available_kv_gib": row.case.available_kv_gib,
        "kv_cache_tokens": row.case.kv_cache_tokens,
    }
    return {name: float(value) for name, value in told.items() if value is not None}


def test_public_logs_lie_inside_as_often_as_the_accuracy_page_says() -> None:
    rows = [row for row in public() if row.case.available_kv_gib is not None]
    inside = [row for row in rows if row.footprint and not outside(figures(row), of_footprint(row.footprint))]
    pages = [row for row in rows if row.kv_inside]
    assert len(rows) >= 20
    assert abs(len(inside) - len(pages)) <= 3
    assert len(inside) / len(rows) >= 0.75


def test_a_figure_outside_is_told_with_both() -> None:
    foretold = predicted(
        an_entry("vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --max-model-len 32768", "1xH100-80")
    )
    assert {"model_load_gib", "available_kv_gib", "kv_cache_tokens", "cudagraph_gib", "max_concurrency"} <= set(
        foretold
    )
    measured = {name: mid for name, (_, mid, _) in foretold.items()}
    assert outside(measured, foretold) == []
    (line,) = outside({**measured, "model_load_gib": 56.87}, foretold)
    low, mid, high = foretold["model_load_gib"]
    assert line == f"model_load_gib 56.87, predicted {mid:.2f} ({low:.2f} to {high:.2f})"


def test_an_entry_of_the_cpu_build_has_no_ledger() -> None:
    assert predicted(an_entry("vllm serve tiny", "cpu", "0.32.0")) == {}


def test_a_fleet_that_names_two_cards_is_not_guessed() -> None:
    assert len(parse_fleet("8xH20")) == 2
    assert predicted(an_entry("vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8", "8xH20", "0.32.0")) == {}
