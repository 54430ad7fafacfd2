"""What the user has: nodes of equal GPUs, written ``8xH20-141`` or ``2x8xH200``."""

from __future__ import annotations

import math
import re
from functools import lru_cache

import msgspec

from qcmatrix.catalogue.gpus import Gpu, all_gpus, find_gpus
from qcmatrix.errors import CatalogueError, RequestError

__all__ = ["Fleet", "parse_fleet"]

_FORMS = "write `8xH200`, `2x8xH200` (nodes x cards x name), `H200` (one card) or `8x44.4GiB` (a card not listed)"
_TIMES = r"\s*[x*\N{MULTIPLICATION SIGN}]\s*"
_COUNT = rf"([+-]?[\d.,]+){_TIMES}"
_FLEET = re.compile(rf"(?:{_COUNT})?(?:{_COUNT})?(\S.*)", re.IGNORECASE | re.DOTALL)
_NO_NAME = re.compile(r"[\d\s.,+*x\N{MULTIPLICATION SIGN}-]*", re.IGNORECASE)
_COUNT_LAST = re.compile(rf"(?P<name>.+?){_TIMES}(?P<count>\d+)", re.IGNORECASE)
_COUNT_APART = re.compile(r"(?P<count>\d+)\s+(?P<name>\D.*)")
_SIZE = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(gi?b?|mi?b|ti?b)", re.IGNORECASE)
_MOST_PER_NODE = 1024
_MOST_NODES = 4096
_MOST_GIB = 4096.0


class Fleet(msgspec.Struct, frozen=True):
    """``nodes`` machines with ``gpus_per_node`` GPUs each, all the same card."""

    nodes: int
    gpus_per_node: int
    gpu: Gpu

    @property
    def count(self) -> int:
        """All GPUs."""
        return self.nodes * self.gpus_per_node

    def __str__(self) -> str:
        per_node = f"{self.gpus_per_node}x{self.gpu.name}"
        return per_node if self.nodes == 1 else f"{self.nodes}x{per_node}"


@lru_cache(maxsize=256)
def parse_fleet(text: str) -> tuple[Fleet, ...]:
    """The fleets that ``text`` may mean: two for ``8xH20`` (H20-96 and H20-141), one for ``8xH20-141``.

    A size in GiB stands for a card that is not listed: what CUDA reports as its total memory
    (``torch.cuda.get_device_properties(0).total_memory / 2**30``); its compute capability is unknown.

    Raises:
        RequestError: nothing that can be read, a count that is not a positive whole number, GB instead of GiB.
        CatalogueError: a card that is not listed; the notes give the closest ones.
    """
    match = _FLEET.fullmatch(text.strip())
    if match is None:
        raise RequestError(f"{text!r} names no GPUs", _FORMS)
    first, second, card = match[1], match[2], match[3].strip()
    if second is None:
        nodes, per_node = 1, 1 if first is None else _count(first, "GPUs", _MOST_PER_NODE, text)
    else:
        nodes = _count(first, "nodes", _MOST_NODES, text)
        per_node = _count(second, "GPUs per node", _MOST_PER_NODE, text)
    return tuple(Fleet(nodes, per_node, gpu) for gpu in _cards(card, text))


def _count(digits: str, what: str, most: int, text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", digits):
        raise RequestError(f"{text!r}: {digits!r} is not a whole number of {what}", _FORMS)
    count = int(digits) if len(digits) < 10 else most + 1
    if digits.startswith("-") or count == 0:
        raise RequestError(f"{text!r}: the number of {what} must be at least 1, not {digits}", _FORMS)
    if count > most:
        raise RequestError(f"{text!r}: {digits} {what} is more than the {most} that are looked at", _FORMS)
    return count


def _cards(card: str, text: str) -> tuple[Gpu, ...]:
    if size := _SIZE.fullmatch(card):
        return (_unlisted(float(size[1]), size[2], text),)
    if _NO_NAME.fullmatch(card) and not re.search(r"\d{4}", card):  # `8x`, `8x96`, but not `4090`
        raise RequestError(f"{text!r} names no card", _FORMS)
    try:
        return find_gpus(card)
    except CatalogueError as error:
        for form in (_COUNT_LAST, _COUNT_APART):  # `H200x8` and `8 H200` are what people try next
            if (swapped := form.fullmatch(card)) and _is_listed(swapped["name"]):
                fleet = f"{swapped['count']}x{swapped['name'].strip()}"
                raise RequestError(f"{text!r} cannot be read", f"did you mean `{fleet}`?", _FORMS) from None
        raise CatalogueError(error.what, *error.notes) from None


def _is_listed(name: str) -> bool:
    try:
        find_gpus(name)
    except CatalogueError:
        return False
    return True


def _unlisted(size: float, unit: str, text: str) -> Gpu:
    if unit.casefold() != "gib":
        same = sorted({gpu.name for gpu in all_gpus() if gpu.label_gb == size})
        raise RequestError(
            f"{text!r}: give the memory in GiB, not {unit}",
            "the label is not what CUDA reports (48 on an L40S is 44.42 GiB), and the difference decides what fits",
            "ask the card: python -c 'import torch; print(torch.cuda.get_device_properties(0).total_memory / 2**30)'",
            *([f"or name the card; listed with {size:g} on the box: {', '.join(same)}"] if same else []),
        )
    if not 0 < size <= _MOST_GIB or not math.isfinite(size):
        raise RequestError(f"{text!r}: a GPU with {size:g} GiB does not exist", _FORMS)
    name = f"{int(size) if size == int(size) else size}GiB"
    return Gpu(
        name=name,
        device_name="",
        vendor="unlisted",
        label_gb=size,
        visible_gib=size,
        sources={},
        notes=("Not a listed card: only its memory is known.",),
    )
