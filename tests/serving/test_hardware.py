"""Cards as NVML tells of them. No machine here has one, so the library is replaced: what is made of it is tested."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from qcmatrix.matrix.entries import Entry
from qcmatrix.serving.hardware import Card, Hardware, can_place, sku_of, this_machine

GIB = 1 << 30


class NvmlError(Exception):
    pass


def nvml(cards: list[tuple[str, float, float]], *, mig: tuple[int, ...] = (), broken: bool = False) -> SimpleNamespace:
    """The library with cards of (name, total GiB, used GiB)."""

    def fail(*_: object) -> None:
        raise NvmlError("Driver Not Loaded")

    def mig_mode(index: int) -> tuple[int, int]:
        if index in mig:
            return 1, 1
        raise NvmlError("Not Supported")

    def memory(index: int, version: int) -> SimpleNamespace:
        assert version == 2  # the first counts the driver's share as used
        _, total, used = cards[index]
        return SimpleNamespace(total=total * GIB, used=used * GIB, free=(total - used) * GIB)

    return SimpleNamespace(
        NVMLError=NvmlError,
        NVML_DEVICE_MIG_ENABLE=1,
        nvmlMemory_v2=2,
        nvmlInit=fail if broken else lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(cards),
        nvmlSystemGetDriverVersion=lambda: "570.86.15",
        nvmlSystemGetCudaDriverVersion_v2=lambda: 12080,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda index: cards[index][0].encode(),
        nvmlDeviceGetUUID=lambda index: f"GPU-{index}aaa-bbb",
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetMigMode=mig_mode,
        nvmlDeviceGetComputeRunningProcesses=lambda index: (
            [SimpleNamespace(pid=1, usedGpuMemory=None)] if cards[index][2] else []
        ),
    )


def machine(
    monkeypatch: pytest.MonkeyPatch, library: SimpleNamespace | None, environ: dict[str, str] | None = None
) -> Hardware:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return this_machine(environ or {})


H200 = ("NVIDIA H200", 140.4, 0.0)


def test_cards_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine(monkeypatch, nvml([H200, ("NVIDIA H200", 140.4, 40.0)]))
    assert str(found) == "2xH200"
    assert (found.driver, found.cuda, found.why) == ("570.86.15", "12.8", "")
    assert found.cards[0].uuid == "GPU-0aaa-bbb"
    assert found.cards[1].free_gib == pytest.approx(100.4)
    assert found.cards[1].holders[0].pid == 1
    assert found.cards[0].holders == ()


def test_a_card_that_cannot_be_asked_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvml([H200, H200, H200])

    def handle(index: int) -> int:
        if index == 1:
            raise NvmlError("GPU is lost")
        return index

    library.nvmlDeviceGetHandleByIndex = handle
    found = machine(monkeypatch, library)
    assert [(card.index, card.uuid) for card in found.cards] == [(0, "GPU-0aaa-bbb"), (1, "GPU-2aaa-bbb")]
    assert found.why == "card 1 cannot be asked: GPU is lost"


def test_without_a_library_a_driver_or_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nvidia-ml-py" in machine(monkeypatch, None).why
    assert "Driver Not Loaded" in machine(monkeypatch, nvml([], broken=True)).why
    assert "shows no card" in machine(monkeypatch, nvml([])).why


@pytest.mark.parametrize(
    ("name", "total", "sku"),
    [
        # Totals as nvidia-smi prints them (MiB): H20 97871, H20-3e 144384, 4090 24564, H100 81559, A100 81920.
        ("NVIDIA H20", 97871 / 1024, "H20-96"),
        ("NVIDIA H20", 144384 / 1024, "H20-141"),
        ("NVIDIA H20-3e", 144384 / 1024, "H20-141"),
        ("NVIDIA GeForce RTX 4090", 24564 / 1024, "RTX4090"),
        ("NVIDIA GeForce RTX 4090", 49140 / 1024, "RTX4090-48"),
        ("NVIDIA H100 80GB HBM3", 81559 / 1024, "H100-80"),
        ("NVIDIA A100-SXM4-80GB", 81920 / 1024, "A100-80"),
        ("NVIDIA H20", 60.0, None),
        ("NVIDIA Unheard-of 9000", 24.0, None),
        ("NVIDIA H200", 0.0, "H200"),
        ("NVIDIA GeForce RTX 4090", 0.0, None),
    ],
)
def test_name_and_memory_tell_the_card(name: str, total: float, sku: str | None) -> None:
    assert sku_of(name, total) == sku


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        ("1,0", [1, 0]),
        ("GPU-2aaa", [2]),
        ("GPU-2aaa-bbb,GPU-0aaa-bbb", [2, 0]),
        ("0,7,1", [0]),
        ("0,0", [0]),
        ("-1", []),
        ("", []),
        ("GPU-", []),
    ],
)
def test_only_the_cards_that_the_caller_may_see_are_ours(
    monkeypatch: pytest.MonkeyPatch, visible: str, indices: list[int]
) -> None:
    found = machine(monkeypatch, nvml([H200] * 3), {"CUDA_VISIBLE_DEVICES": visible})
    assert [card.index for card in found.cards] == indices
    assert bool(found.why) == (not indices)


def test_numbers_of_different_cards_are_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvml([H200, ("NVIDIA GeForce RTX 4090", 23.99, 0.0)])
    assert "CUDA_DEVICE_ORDER" in machine(monkeypatch, library, {"CUDA_VISIBLE_DEVICES": "0"}).why
    ordered = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert str(machine(monkeypatch, library, ordered)) == "1xRTX4090"


def cards(*skus: str, mig: bool = False) -> Hardware:
    return Hardware(
        cards=tuple(
            Card(index=i, uuid=f"GPU-{i}", name=s, total_gib=140.4, free_gib=140.4, used_gib=0.0, sku=s, mig=mig)
            for i, s in enumerate(skus)
        )
    )


@pytest.mark.parametrize(
    ("fleet", "hardware", "why"),
    [
        ("2xH200", cards("H200", "H200", "H200"), ""),
        ("2xH200", cards("H200", "H20-141"), "needs 2xH200, and this machine has 1xH20-141, 1xH200"),
        ("1xH200", Hardware(why="no driver"), "no GPU (no driver)"),
        ("2x8xH200", cards(*["H200"] * 8), "is 2 machines"),
        ("1xH20", cards("H20-141"), ""),
        ("1xH20", cards("H20-96"), ""),
        ("1xH200", cards("H200", mig=True), "MIG"),
        ("1x139.8GiB", cards("H200"), ""),
        ("1x80GiB", cards("H200"), "needs 1x80GiB"),
        ("cpu", Hardware(why="no driver"), ""),
        ("1xH2000", cards("H200"), "no listed GPU"),
    ],
)
def test_what_a_machine_can_serve(make_entry: Callable[..., Entry], fleet: str, hardware: Hardware, why: str) -> None:
    found = can_place(make_entry("vllm serve x", fleet=fleet), hardware)
    assert why in found
    assert bool(found) == bool(why)
