"""``reports/served.md`` from hand-made results: the same files, the same page; and it is fresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcmatrix.matrix.entries import read_matrix
from qcmatrix.memory.accuracy import read_cases
from qcmatrix.report.accuracy import accuracy_page
from qcmatrix.report.pages import run_pages
from qcmatrix.report.served_runs import served_page
from qcmatrix.results.as_case import case_line, case_of
from qcmatrix.results.store import read_results

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUNS = read_results(HERE / "runs")
ENTRIES = [entry for entry in read_matrix(ROOT / "matrix.toml").entry if entry.id.startswith(("tiny-0", "tiny-cpu"))]


def test_the_page_of_hand_made_results() -> None:
    assert served_page(RUNS, ENTRIES) == (HERE / "served.md").read_text(encoding="utf-8")


def test_the_order_of_the_files_does_not_matter() -> None:
    assert served_page(RUNS[::-1], ENTRIES) == served_page(RUNS, ENTRIES)


def test_with_nothing_served_it_says_how_to() -> None:
    page = served_page([], ENTRIES)
    assert "Nothing has been served yet." in page
    assert "`pytest -m cpu`" in page
    assert all(f"| {entry.id} |" in page for entry in ENTRIES)


def test_the_page_is_fresh() -> None:
    for path, text in run_pages(ROOT):
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: python -m qcmatrix.report --write"


def test_served_runs_become_cases_of_the_memory_model(tmp_path: Path) -> None:
    lines = [line for run in RUNS if (line := case_line(run)) is not None]
    (tmp_path / "cases.jsonl").write_text("\n".join(lines))
    served, refused = sorted(read_cases(tmp_path / "cases.jsonl"), key=lambda case: case.outcome == "kv_too_small")
    assert (served.outcome, served.gpu, served.gpu_count, served.vllm_version) == ("served", "H200", 1, "0.33.0")
    assert (served.available_kv_gib, served.kv_cache_tokens) == (96.4, 1_053_040)
    assert (refused.outcome, refused.gpu) == ("kv_too_small", "H100-80")
    page = accuracy_page((served, refused), source="served runs")
    (row,) = [line for line in page.splitlines() if served.id in line and "96.40" in line]
    assert "| no | served | starts |" in row  # 96.40 GiB are more than was predicted
    assert any(refused.id in line and "kv_too_small" in line for line in page.splitlines())


@pytest.mark.parametrize("run", [run for run in RUNS if run.entry.fleet == "cpu"], ids=lambda run: run.run[:8])
def test_the_cpu_build_says_nothing_of_a_card(run: object) -> None:
    assert case_of(run) is None  # type: ignore[arg-type]
