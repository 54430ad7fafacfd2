"""The cards of this machine, as NVIDIA's management library (NVML) tells of them, and which entries they can serve."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from qcmatrix.catalogue.fleets import Fleet, parse_fleet
from qcmatrix.catalogue.gpus import Gpu, all_gpus, find_gpus
from qcmatrix.errors import CatalogueError, UserError
from qcmatrix.matrix.entries import CPU, Entry

__all__ = ["Card", "Hardware", "Holder", "can_place", "fitting", "sku_of", "this_machine"]

_GIB = 1 << 30
_RESERVED = 0.05
"""NVML's total holds what the driver and ECC keep for themselves, CUDA's does not: 0.4 to 2 percent on listed cards."""


class Holder(msgspec.Struct, frozen=True):
    """A process that has memory on a card."""

    pid: int
    name: str
    """Empty: not to be seen from here (another container's)."""
    gib: float | None
    """``None``: not told."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One card."""

    index: int
    """NVML's, which is CUDA's under ``CUDA_DEVICE_ORDER=PCI_BUS_ID``."""
    uuid: str
    name: str
    """As the driver prints it."""
    total_gib: float
    """NVML's total; CUDA reports a little less. 0: not told."""
    free_gib: float
    used_gib: float
    """Allocated by processes."""
    sku: str = ""
    """Name in the catalogue; empty: it is not listed."""
    mig: bool = False
    """It is cut into instances (MIG)."""
    holders: tuple[Holder, ...] = ()


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine offers to us."""

    cards: tuple[Card, ...] = ()
    driver: str = ""
    cuda: str = ""
    """The newest CUDA that the driver runs: ``12.4``."""
    why: str = ""
    """Why there are no cards, or not all of them; empty: all are there."""

    def __str__(self) -> str:
        if not self.cards:
            return f"no GPU ({self.why})"
        counts = Counter(card.sku or card.name for card in self.cards)
        return ", ".join(f"{count}x{name}" for name, count in sorted(counts.items()))


def this_machine(environ: Mapping[str, str] | None = None) -> Hardware:
    """The cards that may be used here: of those that the driver shows, what ``CUDA_VISIBLE_DEVICES`` lets us see.

    Never raises: no library, no driver or no card is told by :attr:`Hardware.why`.
    """
    given = os.environ if environ is None else environ
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return Hardware(why="NVML's Python library is not installed: pip install nvidia-ml-py")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Hardware(why=f"no NVIDIA driver answers: {error}")
    try:
        cards, lost = _cards(nvml)
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        version = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
    except nvml.NVMLError as error:
        return Hardware(why=f"the NVIDIA driver does not tell of its cards: {error}")
    finally:
        nvml.nvmlShutdown()
    cuda = f"{version // 1000}.{version % 1000 // 10}"
    if not cards:
        return Hardware(driver=driver, cuda=cuda, why="; ".join(lost) or "the NVIDIA driver shows no card")
    seen, why = _visible(cards, given)
    return Hardware(cards=seen, driver=driver, cuda=cuda, why="; ".join(part for part in (*lost, why) if part))


def _cards(nvml: Any) -> tuple[tuple[Card, ...], list[str]]:
    """Those that can be asked, numbered as CUDA does, which does not count the others; and why one cannot.

    NVML counts cards that another job holds (NO_PERMISSION), and those that fell off the bus.
    """
    cards: list[Card] = []
    lost: list[str] = []
    for place in range(nvml.nvmlDeviceGetCount()):
        try:
            cards.append(_card(nvml, place, len(cards)))
        except nvml.NVMLError as error:
            lost.append(f"card {place} cannot be asked: {error}")
    return tuple(cards), lost


def _card(nvml: Any, place: int, index: int) -> Card:
    handle = nvml.nvmlDeviceGetHandleByIndex(place)
    name = _text(nvml.nvmlDeviceGetName(handle))
    total = free = used = 0.0
    try:
        # The second version keeps apart what the driver reserves and what processes have.
        memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
        total, free, used = memory.total / _GIB, memory.free / _GIB, memory.used / _GIB
    except nvml.NVMLError:
        pass  # a card that shares the host's memory has none of its own to tell of
    try:
        mig = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except nvml.NVMLError:
        mig = False  # it cannot be cut
    return Card(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=name,
        total_gib=round(total, 2),
        free_gib=round(free, 2),
        used_gib=round(used, 2),
        sku=sku_of(name, total) or "",
        mig=mig,
        holders=_holders(nvml, handle),
    )


def _holders(nvml: Any, handle: Any) -> tuple[Holder, ...]:
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except (nvml.NVMLError, getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError)):
        return ()  # an old driver does not tell, either
    found = []
    for process in processes:
        used = process.usedGpuMemory
        found.append(Holder(process.pid, _name_of(process.pid), None if used is None else round(used / _GIB, 2)))
    return tuple(found)


def _name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def sku_of(name: str, total_gib: float) -> str | None:
    """The card of the catalogue that has this device name and, among those, this memory; ``None``: not listed.

    "NVIDIA H20" and "NVIDIA GeForce RTX 4090" are two cards each. ``total_gib`` 0: not known, the name alone decides.
    """
    named = [gpu for gpu in all_gpus() if gpu.device_name == name]
    with contextlib.suppress(CatalogueError):
        named += [gpu for gpu in find_gpus(name) if gpu not in named]
    if not total_gib:
        return named[0].name if len(named) == 1 else None
    near = [gpu for gpu in named if _same_memory(gpu, total_gib)]
    return min(near, key=lambda gpu: abs(gpu.visible_gib - total_gib)).name if near else None


def _same_memory(gpu: Gpu, total_gib: float) -> bool:
    return gpu.visible_gib * (1 - 0.01) <= total_gib <= gpu.visible_gib * (1 + _RESERVED)


def _visible(cards: tuple[Card, ...], environ: Mapping[str, str]) -> tuple[tuple[Card, ...], str]:
    """Those that ``CUDA_VISIBLE_DEVICES`` names, in its order; CUDA stops reading at the first name that is none.

    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#env-vars
    """
    given = environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return cards, ""
    shown = f"CUDA_VISIBLE_DEVICES={given}"
    by_number = any(word.strip().isdigit() for word in given.split(","))
    if by_number and len({card.name for card in cards}) > 1 and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return (), (
            f"{shown} on a machine with different cards, which CUDA numbers by speed: set CUDA_DEVICE_ORDER=PCI_BUS_ID "
            "or name the cards by UUID"
        )
    seen: list[Card] = []
    for word in (part.strip() for part in given.split(",")):
        if word.isdigit():
            found = [card for card in cards if card.index == int(word)]
        else:
            found = [card for card in cards if word and card.uuid.startswith(word)]
        if len(found) != 1 or found[0] in seen:
            break
        seen += found
    return tuple(seen), "" if seen else f"{shown} shows none of the {len(cards)} cards"


def fitting(fleet: Fleet, cards: Iterable[Card]) -> tuple[Card, ...]:
    """Those of ``cards`` that are what ``fleet`` is made of."""
    if fleet.gpu.vendor == "unlisted":
        return tuple(card for card in cards if not card.mig and _same_memory(fleet.gpu, card.total_gib))
    return tuple(card for card in cards if not card.mig and card.sku == fleet.gpu.name)


def can_place(entry: Entry, hardware: Hardware) -> str:
    """Why ``hardware`` can never serve ``entry``, whatever else runs; empty: it can."""
    if entry.fleet == CPU:
        system = platform.system()
        return "" if system == "Linux" else f"vLLM's CPU build runs on Linux, and this is {system}"
    try:
        fleets = parse_fleet(entry.fleet)
    except UserError as error:
        return error.what
    if fleets[0].nodes > 1:
        return f"{entry.fleet} is {fleets[0].nodes} machines: only what runs on one is served here"
    needed = fleets[0].gpus_per_node
    for fleet in fleets:
        if len(fitting(fleet, hardware.cards)) >= needed:
            return ""
    cut = sum(card.mig for card in hardware.cards)
    notes = f"; {cut} of its cards are cut into instances (MIG)" if cut else ""
    notes += f"; {hardware.why}" if hardware.why and hardware.cards else ""
    return f"needs {entry.fleet}, and this machine has {hardware}{notes}"
