"""`qcmatrix accuracy`: reading the public format, predicting, comparing, and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qcmatrix.assess import Assessment, Assessor
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.names import ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.errors import FileProblem
from qcmatrix.launch.launch import Launch
from qcmatrix.memory.accuracy import Compared, Skipped, measure, read_cases, summarise
from qcmatrix.memory.accuracy_report import render_accuracy
from qcmatrix.memory.case_text import gpu_of, release_of

SWEEP = "https://github.com/llm-d-incubation/llm-d-planner"
# Facts of public logs (read 2026-11-22); the full set is data/cases.jsonl.
LOGGED: dict[str, Any] = {
    "id": "qwen3-30b-h100",
    "url": SWEEP,
    "model": "Qwen/Qwen3-30B-A3B",
    "gpu": "H100 80GB HBM3",
    "gpu_count": 1,
    "gpu_memory_gib": 79.19,
    "gpu_memory_source": "torch (CUDA-visible)",
    "vllm_version": "0.19.0",
    "tp": 1,
    "pp": 1,
    "dp": 1,
    "ep": False,
    "max_model_len": 8192,
    "gpu_memory_utilization": 0.95,
    "model_load_gib": 56.88,
    "available_kv_gib": 15.41,
    "kv_cache_tokens": 168288,
    "outcome": "served",
    "confidence": "high",
    "a_key_of_tomorrow": {"ignored": True},
}
TOO_LONG: dict[str, Any] = {
    "id": "480b-dp8-h20",
    "url": "https://github.com/vllm-project/recipes/pull/12",
    "model": "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8",
    "gpu": "H20 141GB",
    "gpu_count": 8,
    "vllm_version": "0.10.1",
    "command": "vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 -dp=8 --enable-expert-parallel",
    "dp": 8,
    "ep": True,
    "available_kv_gib": 48.66,
    "needed_kv_gib": 62.0,
    "estimated_max_model_len": 205728,
    "outcome": "kv_too_small",
    "confidence": "high",
}


def assess(launch: Launch, release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> Assessment:
    return Assessor(release, fleet, checkpoint).assess(launch)


def written(tmp_path: Path, *rows: dict[str, Any] | str) -> Path:
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def measured(tmp_path: Path, *rows: dict[str, Any]) -> tuple[tuple[Compared, ...], tuple[Skipped, ...]]:
    return measure(read_cases(written(tmp_path, *rows)), assess)


class TestReading:
    def test_unknown_keys_and_empty_lines(self, tmp_path: Path) -> None:
        assert [case.id for case in read_cases(written(tmp_path, LOGGED, "", TOO_LONG, ""))] == [
            "qwen3-30b-h100",
            "480b-dp8-h20",
        ]

    def test_every_bad_line_with_its_number(self, tmp_path: Path) -> None:
        bad = {**LOGGED, "outcome": "perhaps"}
        path = written(tmp_path, LOGGED, "{not json", json.dumps({"id": "x"}), bad)
        with pytest.raises(FileProblem) as caught:
            read_cases(path)
        assert [note.partition(":")[0] for note in caught.value.notes] == ["line 2", "line 3", "line 4"]

    def test_an_empty_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileProblem, match="holds no case"):
            read_cases(written(tmp_path, ""))

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileProblem, match="no such file"):
            read_cases(tmp_path / "none.jsonl")


class TestFreeText:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("H100 80GB HBM3", "H100-80"),
            ("H20 96GB", "H20-96"),
            ("H200 or H20 141GB", "H200"),
            ("RTX 5090", "RTX5090"),
            ("GB10 (DGX Spark, 128GB unified)", "GB10"),
            ("RTX PRO 6000 Blackwell 96GB", "RTXPRO6000"),
            ("RTX 4090 48GB (modded)", "RTX4090-48"),
            ("6 GPUs, RTX 3090 class (thread title: rtx3090)", "RTX3090"),
            ("A100-SXM4-40GB", "A100-40"),
            ("RTX 5070 Ti 16GB + RTX 5090 D 32GB", None),
            ("MI300X / MI325X / MI355X", "MI300X"),
            ("a toaster", None),
        ],
    )
    def test_cards(self, text: str, name: str | None) -> None:
        found = gpu_of(text)
        assert (None if found is None else found.name) == name

    @pytest.mark.parametrize(
        ("version", "quote", "dated", "first", "known"),
        [
            ("0.19.0", "", "", "0.19.0", True),
            ("v0.11.0", "", "", "0.11.0", True),
            ("v0.19 (works); later nightlies fail", "", "", "0.19", True),
            ("0.13.0+faa43dbf.nv26.01", "", "", "0.13.0+faa43dbf.nv26.1", True),
            ("0.15.2rc1.dev93+g11a4c9d30", "", "", "0.15.2rc1.dev93+g11a4c9d30", False),
            (None, "INFO [gpu_worker.py:375] Available KV cache memory: 4.04 GiB", "", "0.13.0", True),
            (
                None,
                "[gpu_model_runner.py:2653] Model loading took\n[gpu_worker.py:298] Available KV cache memory: 4 GiB",
                "",
                "0.11.0",
                True,
            ),
            (None, "", "experiments/2026-03-03_00-02-21_417ad7f8/x.txt", "0.16.0", False),
            (None, "", "July 2025; some notes", "0.10.0", False),
        ],
    )
    def test_releases(self, version: str | None, quote: str, dated: str, first: str, known: bool) -> None:
        stated = release_of(version, quote, dated)
        assert (stated.candidates[0], stated.known) == (first, known)

    @pytest.mark.parametrize("version", [None, "0.1.dev19754+g3a0914114", "nightly"])
    def test_an_unknown_release_is_several(self, version: str | None) -> None:
        stated = release_of(version, "", "")
        assert len(stated.candidates) > 1
        assert not stated.known


class TestComparing:
    def test_a_log(self, tmp_path: Path) -> None:
        (row,), skipped = measured(tmp_path, LOGGED)
        assert not skipped
        assert row.apart == ()
        assert row.verdict == "starts"
        assert row.kv_error == pytest.approx(0, abs=0.01)
        assert row.weights_error == pytest.approx(0, abs=0.003)
        assert row.tokens_error == pytest.approx(0, abs=0.01)
        assert row.kv_inside

    def test_a_refusal_for_memory(self, tmp_path: Path) -> None:
        (row,), _ = measured(tmp_path, TOO_LONG)
        assert row.verdict == "does-not-fit"
        assert row.kv_error == pytest.approx(0, abs=0.02)
        assert not row.false_start

    def test_an_unknown_release_is_kept_apart(self, tmp_path: Path) -> None:
        (row,), _ = measured(tmp_path, {**LOGGED, "vllm_version": None})
        assert row.apart == ("release not stated",)
        assert summarise([row]).cases == 0
        assert summarise([row], headline=False).cases == 1

    @pytest.mark.parametrize("old", [{"vllm_version": "v0.8.5"}, {"vllm_version": None, "notes": "2025-04-30"}])
    def test_an_older_release_says_only_whether_the_weights_fit(self, tmp_path: Path, old: dict[str, Any]) -> None:
        too_large = {**LOGGED, **old, "id": "large", "model": "Qwen/Qwen3-235B-A22B", "outcome": "oom"}
        (fits, large), _ = measured(tmp_path, {**LOGGED, **old}, too_large)
        assert fits.apart == large.apart == ("release before those covered",)
        assert (fits.verdict, large.verdict) == ("unknown", "does-not-fit")
        assert "0.10.0, the oldest covered" in fits.release_basis
        assert fits.weights_error == pytest.approx(0, abs=0.003)
        assert "predicted with 0.10.0" in render_accuracy((fits, large), (), source="two cases")

    def test_one_of_several_cards(self, tmp_path: Path) -> None:
        (row,), _ = measured(tmp_path, {**LOGGED, "gpu": "H100 / H200", "gpu_memory_gib": None})
        assert row.apart == ("several cards named",)

    def test_a_name_as_written(self, tmp_path: Path) -> None:
        (row,), _ = measured(tmp_path, {**LOGGED, "model": "Qwen3-Next-80B-Instruct-FP8 (as written)"})
        assert row.verdict == "does-not-fit"

    def test_low_confidence_is_kept_apart(self, tmp_path: Path) -> None:
        (row,), _ = measured(tmp_path, {**LOGGED, "confidence": "low"})
        assert row.apart == ("low confidence",)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"model": "acme/rocket-1t"}, "no model is called"),
            ({"gpu": "abacus"}, "no single listed GPU"),
            ({"gpu": None}, "the GPU is not stated"),
            ({"gpu_count": None, "tp": None, "dp": None}, "number of GPUs"),
        ],
    )
    def test_what_is_not_covered_is_skipped_with_the_reason(
        self, tmp_path: Path, change: dict[str, Any], reason: str
    ) -> None:
        compared, (skip,) = measured(tmp_path, {**LOGGED, **change})
        assert compared == ()
        assert reason in skip.reason

    def test_false_verdicts_are_counted(self, tmp_path: Path) -> None:
        start = {**LOGGED, "id": "pretended", "outcome": "oom"}
        refusal = {**TOO_LONG, "id": "pretended-too", "outcome": "served"}
        compared, _ = measured(tmp_path, start, refusal)
        summary = summarise(compared)
        assert summary.false_starts == ("pretended",)
        assert summary.false_refusals == ("pretended-too",)

    def test_an_excerpt_of_a_command_leaves_the_columns(self, tmp_path: Path) -> None:
        (row,), _ = measured(tmp_path, {**LOGGED, "command": "--no-such 'quote"})
        assert row.kv_error == pytest.approx(0, abs=0.01)


def test_the_page_is_the_same_every_time(tmp_path: Path) -> None:
    compared, skipped = measured(tmp_path, LOGGED, TOO_LONG, {**LOGGED, "id": "other", "model": "acme/rocket-1t"})
    pages = {render_accuracy(compared, skipped, source="three cases") for _ in range(3)}
    assert len(pages) == 1
    page = pages.pop()
    assert "qwen3-30b-h100" in page
    assert "no model is called 'acme/rocket-1t'" in page
    assert "| median KV error | 0." in page
