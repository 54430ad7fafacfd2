"""GPUs as CUDA or ROCm reports them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import msgspec

from qcmatrix.catalogue.sources import Source
from qcmatrix.catalogue.spelling import closest, normalise_gpu
from qcmatrix.errors import CatalogueError

__all__ = ["Gpu", "GpuFile", "all_gpus", "find_gpus", "gpu_names", "gpu_sources"]


_SIZE_BEHIND = re.compile(r"(.*\S)[\s-]*?[\s-](\d+)\s*Gi?B?", re.IGNORECASE)


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One card SKU. Every number field has an entry in ``sources``."""

    name: str
    """``H20-141``."""
    aliases: tuple[str, ...] = ()
    device_name: str
    """As ``torch.cuda.get_device_name()`` prints it: vLLM chooses defaults by it."""
    vendor: Literal["nvidia", "amd", "unlisted"] = "nvidia"
    compute_capability: tuple[int, int] | None = None
    """CUDA compute capability; for AMD the gfx major and minor (9, 4); ``None``: not known."""
    label_gb: float
    """What the box says (GB)."""
    visible_gib: float
    """What CUDA reports as total memory, GiB."""
    visible_gib_spread: float = 0.0
    """Half-width (GiB) of what was seen for this SKU on different machines and drivers."""
    bandwidth_gbs: float | None = None
    """Memory bandwidth, GB/s (10^9)."""
    bf16_tflops: float | None = None
    """Dense BF16 peak (FP32 accumulation), TFLOP/s; ``None``: no BF16 tensor cores, or no public figure."""
    fp8_tflops: float | None = None
    """Dense FP8 peak, TFLOP/s; ``None``: no FP8 tensor cores, or no public figure. Whether the card has them is what
    ``compute_capability`` says."""
    interconnect: Literal["nvlink", "pcie", "xgmi", "unified", "unknown"] = "unknown"
    interconnect_gbs: float | None = None
    """Per GPU, both directions together, GB/s."""
    unified_memory: bool = False
    """CPU and GPU share the memory (GB10)."""
    sources: dict[str, str]
    """field -> id in the file's ``sources``."""
    notes: tuple[str, ...] = ()


class GpuFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``data/gpus.toml``."""

    ambiguous: dict[str, tuple[str, ...]]
    """A name that several cards share -> the names of the cards that it may mean."""
    sources: dict[str, Source]
    gpus: tuple[Gpu, ...]


def all_gpus() -> tuple[Gpu, ...]:
    """Every listed card, in catalogue order."""
    return _file().gpus


def gpu_names() -> tuple[str, ...]:
    """The names of the listed cards, in catalogue order."""
    return tuple(gpu.name for gpu in _file().gpus)


def gpu_sources(gpu: Gpu) -> dict[str, Source]:
    """field -> where its value comes from; empty for an unlisted card."""
    return {field: _file().sources[identifier] for field, identifier in gpu.sources.items()}


@lru_cache(maxsize=256)
def find_gpus(text: str) -> tuple[Gpu, ...]:
    """The cards that ``text`` may mean; more than one for a name that cards share (``H20``, ``A100``).

    Upper and lower case, blanks, ``-``, the vendor's name and a ``GB`` make no difference; aliases and the name that
    ``torch.cuda.get_device_name()`` prints are known too.

    Raises:
        CatalogueError: no listed card has that name; the notes give the closest ones.
    """
    key = normalise_gpu(text)
    if found := _index().get(key) or _with_its_size(text):
        return found
    shown = {spelling: " or ".join(gpu.name for gpu in gpus) for spelling, gpus in _index().items()}
    hints = closest(key, shown)
    raise CatalogueError(
        f"no listed GPU is called {text.strip()!r}",
        *([f"close: {', '.join(hints)}"] if hints else []),
        "`qcmatrix gpus` lists them; for another card give its CUDA-visible memory: `8x44.4GiB`",
    )


def _with_its_size(text: str) -> tuple[Gpu, ...]:
    """The card whose label size stands behind its name (``A10 24GB``); none where the size is another card's."""
    sized = _SIZE_BEHIND.fullmatch(text.strip())
    if sized is None:
        return ()
    cards = _index().get(normalise_gpu(sized[1]), ())
    return tuple(gpu for gpu in cards if gpu.label_gb == float(sized[2]))


def _file() -> GpuFile:
    from qcmatrix.catalogue.packed import load  # the packed file is typed by this module

    return load().gpus


@lru_cache(maxsize=1)
def _index() -> dict[str, tuple[Gpu, ...]]:
    file = _file()
    by_name = {gpu.name: gpu for gpu in file.gpus}
    index = {normalise_gpu(name): tuple(by_name[card] for card in cards) for name, cards in file.ambiguous.items()}
    for gpu in file.gpus:
        for spelling in (gpu.name, *gpu.aliases):
            index.setdefault(normalise_gpu(spelling), (gpu,))
    for gpu in file.gpus:  # last: `NVIDIA GeForce RTX 4090` is also what the 48 GB card prints
        index.setdefault(normalise_gpu(gpu.device_name), (gpu,))
    return index
