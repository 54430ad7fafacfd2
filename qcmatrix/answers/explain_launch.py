"""Of a log: which release, model, fleet and arguments were started, and where each of it is told."""

from __future__ import annotations

import msgspec

from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.gpus import Gpu, all_gpus, find_gpus
from qcmatrix.catalogue.models import ResolvedCheckpoint, resolve_model
from qcmatrix.catalogue.names import find_checkpoint
from qcmatrix.catalogue.releases import Release, load_release, newest_release
from qcmatrix.errors import UserError
from qcmatrix.launch.launch import Launch
from qcmatrix.memory.case_text import release_of
from qcmatrix.startup_log.arguments import Arguments, arguments_of
from qcmatrix.startup_log.facts import Readings
from qcmatrix.startup_log.reader import Attempt

__all__ = ["Known", "known_of", "least", "value_of"]

_NEAR = 0.012
"""Share by which a card's total memory differs between machines and drivers."""


class Known(msgspec.Struct, frozen=True):
    """What is known of the launch; ``None``: unknown."""

    release: Release | None
    release_from: str
    reading: Release
    """The release whose option names the arguments were read with."""
    arguments: Arguments
    launch: Launch
    checkpoint: ResolvedCheckpoint | None
    fleet: Fleet | None
    fleet_from: str
    total_gib: float | None


def value_of(readings: Readings, name: str) -> str | None:
    """What was read first under ``name``."""
    found = readings.get(name)
    return found[0].value if found else None


def least(readings: Readings, name: str) -> float | None:
    """The least of the numbers of all ranks."""
    numbers = [float(reading.value.replace(",", "")) for reading in readings.get(name, ())]
    return min(numbers, default=None)


def known_of(attempt: Attempt, *, release: Release | None, fleet: Fleet | None, checkpoint: str | None) -> Known:
    """What ``attempt`` and the options of the user say; an option wins.

    Raises:
        UserError: ``checkpoint`` names no model.
    """
    found, release_from = _release(attempt, release)
    reading = found or load_release(newest_release())
    arguments = arguments_of(attempt, reading)
    if found is None and arguments.release_hint is not None:
        found = _loaded(arguments.release_hint)
        if found is not None:
            release_from, reading = "the command in the log", found
            arguments = arguments_of(attempt, found)
    launch = arguments.launch
    if not launch.model and (named := value_of(attempt.readings, "model")):
        launch = msgspec.structs.replace(launch, model=named)
    facts = resolve_model(checkpoint) if checkpoint is not None else _checkpoint(launch.model)
    total = least(attempt.readings, "total_gib")
    cards, fleet_from = (fleet, "--gpus") if fleet is not None else _fleet(attempt, launch, total)
    if cards is not None and total is not None and abs(cards.gpu.visible_gib - total) <= 0.05 * cards.gpu.visible_gib:
        # What CUDA reported on that very machine is better than the catalogue's figure for the card.
        cards = msgspec.structs.replace(
            cards, gpu=msgspec.structs.replace(cards.gpu, visible_gib=total, visible_gib_spread=0.006)
        )
    return Known(found, release_from, reading, arguments, launch, facts, cards, fleet_from, total)


def _release(attempt: Attempt, given: Release | None) -> tuple[Release | None, str]:
    if given is not None:
        return given, "--vllm"
    for name, basis in (("release", "the log"), ("image_release", "an image or package named in the log")):
        for reading in attempt.readings.get(name, ()):
            loaded = _loaded(reading.value.strip("'\",;()"))
            if loaded is not None:
                return loaded, f"{basis}, line {reading.line}"
    stated = release_of(None, "\n".join(attempt.quoted), "")
    if stated.known:
        loaded = _loaded(stated.candidates[0])
        if loaded is not None:
            return loaded, "the places in the sources that its lines name"
    return None, ""


def _loaded(text: str) -> Release | None:
    if text.startswith("0.1.dev"):
        return None  # a build without tags, which says nothing
    try:
        return load_release(text)
    except UserError:
        return None


def _checkpoint(model: str) -> ResolvedCheckpoint | None:
    if not model:
        return None
    # A path of another machine is not looked up on this one: its last parts may name a repository.
    parts = [part for part in model.replace("\\", "/").split("/") if part]
    names = ["/".join(parts[-2:]), *reversed(parts)]
    names += [part.removeprefix("models--").replace("--", "/") for part in parts if part.startswith("models--")]
    for name in names:
        try:
            return find_checkpoint(name)
        except UserError:
            continue
    return None


def _ranks(attempt: Attempt, launch: Launch) -> int:
    options = launch.options
    asked = 1
    for dest in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
        size = options.get(dest, 1)
        asked *= size if isinstance(size, int) and 0 < size <= 4096 else 1
    told = [int(reading.value) for reading in attempt.readings.get("world_size", ()) if len(reading.value) < 5]
    return max([asked, *told])


def _fleet(attempt: Attempt, launch: Launch, total: float | None) -> tuple[Fleet | None, str]:
    ranks = _ranks(attempt, launch)
    for reading in attempt.readings.get("device", ()):
        try:
            cards = find_gpus(reading.value.replace("_", " "))
        except UserError:
            continue
        card = _nearest(cards, total)
        if card is not None:
            return _of(ranks, card), f"the card named on line {reading.line}"
    if total is not None:
        near = [gpu for gpu in all_gpus() if abs(gpu.visible_gib - total) <= _NEAR * total]
        if len(near) == 1:
            return _of(ranks, near[0]), f"its memory of {total:g} GiB, which only that card has"
    return None, ""


def _nearest(cards: tuple[Gpu, ...], total: float | None) -> Gpu | None:
    if len(cards) == 1:
        return cards[0]
    if total is None:
        return None
    return min(cards, key=lambda card: abs(card.visible_gib - total))


def _of(ranks: int, card: Gpu) -> Fleet:
    return Fleet(1, ranks, card) if ranks <= 8 or ranks % 8 else Fleet(ranks // 8, 8, card)
