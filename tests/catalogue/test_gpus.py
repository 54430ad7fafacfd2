"""Cards: their names, and what CUDA reports of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.catalogue.gpus import Gpu, all_gpus, find_gpus, gpu_names, gpu_sources
from qcmatrix.errors import CatalogueError


def names(text: str) -> list[str]:
    return [gpu.name for gpu in find_gpus(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("H20", ["H20-96", "H20-141"]),
        ("nvidia h20", ["H20-96", "H20-141"]),
        ("H20-3e", ["H20-141"]),
        ("h20-141gb", ["H20-141"]),
        ("A100", ["A100-40", "A100-80"]),
        ("A100-SXM4-80GB", ["A100-80"]),
        ("NVIDIA A100-SXM4-40GB", ["A100-40"]),
        ("H100", ["H100-80"]),
        ("H100 NVL", ["H100-94"]),
        ("H100 PCIe", ["H100-80-PCIe"]),
        ("NVIDIA H100 80GB HBM3", ["H100-80"]),
        ("h200", ["H200"]),
        ("4090", ["RTX4090"]),
        ("RTX 4090", ["RTX4090"]),
        ("4090 48G", ["RTX4090-48"]),
        ("GeForce RTX 4090 48 GB", ["RTX4090-48"]),
        ("NVIDIA GeForce RTX 4090", ["RTX4090"]),
        ("rtx-5090", ["RTX5090"]),
        ("RTX 5090 D", ["RTX5090D"]),
        ("RTX PRO 6000", ["RTXPRO6000"]),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", ["RTXPRO6000-SE"]),
        ("RTX 6000 Ada Generation", ["RTX6000Ada"]),
        ("A6000", ["RTXA6000"]),
        ("DGX Spark", ["GB10"]),
        ("AMD Instinct MI300X", ["MI300X"]),
        ("mi355x", ["MI355X"]),
        ("Tesla T4", ["T4"]),
    ],
)
def test_spellings(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "hint"), [("H2000", "H200"), ("RTX 4091", "RTX4090"), ("L4S", "L40S"), ("B20", "B200")]
)
def test_close_names_are_offered(text: str, hint: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        find_gpus(text)
    assert hint in caught.value.notes[0]


def test_two_digits_do_not_run_together() -> None:
    with pytest.raises(CatalogueError):
        find_gpus("H20-0")


def test_what_cuda_reports() -> None:
    visible = {gpu.name: gpu.visible_gib for gpu in all_gpus()}
    assert visible["H200"] == pytest.approx(143156 / 1024, abs=0.01)
    assert visible["H20-96"] == pytest.approx(97285 / 1024, abs=0.01)
    assert visible["L40S"] == 44.42
    assert visible["H20-141"] - visible["H20-96"] > 44


def test_peaks_are_those_without_sparsity() -> None:
    dense = {gpu.name: (gpu.bf16_tflops, gpu.fp8_tflops) for gpu in all_gpus()}
    assert dense["H100-80"] == dense["H200"] == (989, 1979)
    assert dense["A100-80"] == (312, None)
    assert dense["L40S"] == (362, 733)
    assert dense["B200"] == (2250, 4500)
    assert dense["H20-96"] == dense["H20-141"] == (148, 296)


def test_capabilities_decide_what_runs() -> None:
    capability = {gpu.name: gpu.compute_capability for gpu in all_gpus()}
    assert capability["A100-80"] == (8, 0)
    assert capability["L40S"] == (8, 9)
    assert capability["H20-96"] == capability["H200"] == (9, 0)
    assert capability["B200"] == (10, 0)
    assert capability["RTXPRO6000"] == (12, 0)
    assert capability["GB10"] == (12, 1)


@pytest.mark.parametrize("gpu", all_gpus(), ids=lambda gpu: gpu.name)
def test_every_spelling_finds_its_card(gpu) -> None:  # type: ignore[no-untyped-def]
    for spelling in (gpu.name, *gpu.aliases, f"NVIDIA {gpu.name}"):
        for written in (spelling, spelling.lower(), spelling.replace("-", " "), spelling.replace("-", "_")):
            assert find_gpus(written) == (gpu,), written
    assert gpu in find_gpus(gpu.device_name) or gpu.name in {"H20-96", "RTX4090-48"}


def test_names_and_sources() -> None:
    assert len(gpu_names()) == len(set(gpu_names())) >= 35
    sources = gpu_sources(find_gpus("H200")[0])
    assert sources["visible_gib"].url.startswith("https://")


@given(st.text(max_size=40))
def test_any_text_is_found_or_refused_politely(text: str) -> None:
    notes: tuple[str, ...] = ()
    found: tuple[Gpu, ...] = ()
    try:
        found = find_gpus(text)
    except CatalogueError as error:
        notes = error.notes
    assert found or notes


@pytest.mark.parametrize(
    ("text", "names"),
    [("A10 24GB", ("A10",)), ("RTX PRO 6000 Blackwell 96GB", ("RTXPRO6000",)), ("H200 141GB", ("H200",))],
)
def test_a_card_with_its_label_size(text: str, names: tuple[str, ...]) -> None:
    assert tuple(gpu.name for gpu in find_gpus(text)) == names


def test_a_size_that_is_another_cards_is_refused() -> None:
    with pytest.raises(CatalogueError):
        find_gpus("A10 48GB")
