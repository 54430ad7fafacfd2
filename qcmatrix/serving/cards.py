"""Claims: all cards that a server needs or none, and never two servers on one card, whoever starts them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.matrix.entries import CPU, Entry
from qcmatrix.probe.environments.directories import cache_directory
from qcmatrix.serving.hardware import Card, Hardware, can_place, fitting, this_machine
from qcmatrix.serving.problems import CannotPlace

__all__ = ["Claim", "claim"]

_HELD_GIB = 1.0
"""More than this on a card is a process with a model, not a driver's or a desktop's share."""
_FOREIGN_SECONDS = 60.0
"""So long may memory that nobody of ours holds take to be freed: an ended server's takes seconds."""
_SETTLE_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_TELL_SECONDS = 10.0


class Claim:
    """Cards that are ours until :meth:`release`, or until this process and the guard of its server have ended."""

    def __init__(self, cards: tuple[Card, ...], descriptors: tuple[int, ...], look: Callable[[], Hardware]) -> None:
        self.cards = cards
        self.descriptors = descriptors
        """Of the locks. A lock is held as long as one process has its descriptor open: the guard of the server keeps
        it until nothing of the server is left, even if we are gone."""
        self._look = look

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let go of them; more than once does no harm."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = ()

    def settle(self, seconds: float = _SETTLE_SECONDS) -> str:
        """Wait until the cards' memory is free again; what is held after all, in words (empty: nothing)."""
        if not self.cards:
            return ""
        end = time.monotonic() + seconds
        while True:
            held = [text for card in self._now() if (text := _held(card))]
            if not held or time.monotonic() > end:
                return "; ".join(held)
            time.sleep(_LOOK_SECONDS)

    def _now(self) -> list[Card]:
        ours = {card.uuid for card in self.cards}
        return [card for card in self._look().cards if card.uuid in ours]


def claim(
    entry: Entry,
    hardware: Hardware | None = None,
    *,
    limit: float = 3600.0,
    progress: Callable[[str], None] = lambda _: None,
    look: Callable[[], Hardware] | None = None,
) -> Claim:
    """The cards for ``entry``. Who waits is served in turn, so that one who needs all cards is not passed by for ever.

    An entry for the CPU build needs none and waits for nobody.

    Args:
        hardware: what is known of the machine; ``None``: ``look`` is asked.
        limit: seconds to wait for cards that other servers have.
        look: tells of the cards as they are now; ``None``: NVML.

    Raises:
        CannotPlace: they are not there, are not freed in time, or a process that is no server of ours holds them.
    """
    look = look or this_machine
    seen = hardware or (Hardware() if entry.fleet == CPU else look())
    why = can_place(entry, seen)
    if why:
        raise CannotPlace(why)
    if entry.fleet == CPU:
        return Claim((), (), look)
    ours = {card.uuid for card in seen.cards}
    waiting = _Waiting(entry, limit, progress)
    with _turn(waiting):
        while True:
            cards = tuple(card for card in look().cards if card.uuid in ours)
            held = {card.uuid: text for card in cards if (text := _held(card))}
            for fleet in parse_fleet(entry.fleet):
                free = [card for card in fitting(fleet, cards) if card.uuid not in held]
                if (got := _locked(free, fleet.gpus_per_node)) is not None:
                    return Claim(got[0], got[1], look)
            waiting.go_on(tuple(held.values()), foreign=_nobody_of_ours(held, cards))


class _Waiting:
    """How long has been waited, and for whom."""

    def __init__(self, entry: Entry, limit: float, progress: Callable[[str], None]) -> None:
        self._entry, self._limit, self._progress = entry, limit, progress
        self._since = time.monotonic()
        self._foreign_since: float | None = None
        self._told = 0.0

    def go_on(self, held: tuple[str, ...] = (), *, foreign: bool = False) -> None:
        """Wait a little more.

        Raises:
            CannotPlace: that has been enough.
        """
        now = time.monotonic()
        self._foreign_since = (self._foreign_since or now) if foreign else None
        if self._foreign_since is not None and now - self._foreign_since > min(_FOREIGN_SECONDS, self._limit):
            raise CannotPlace(
                f"{self._entry.id} needs {self._entry.fleet}, and processes that are no server of ours hold cards",
                *held,
                "end them, or leave their cards out with CUDA_VISIBLE_DEVICES",
            )
        if now - self._since > self._limit:
            raise CannotPlace(
                f"{self._entry.id} needs {self._entry.fleet}, and its cards were not free within {self._limit:.0f} s",
                *held,
            )
        if now - self._told > _TELL_SECONDS:
            self._progress(f"waiting for {self._entry.fleet}: other servers have its cards ({now - self._since:.0f} s)")
            self._told = now
        time.sleep(_LOOK_SECONDS)


def _held(card: Card) -> str:
    """What holds memory on ``card``, in words; empty: nothing to speak of."""
    if card.used_gib <= _HELD_GIB:
        return ""
    who = (
        ", ".join(f"{holder.name or 'a process'} ({holder.pid})" for holder in card.holders)
        or "processes not seen here"
    )
    return f"{card.used_gib:.1f} GiB of card {card.index} ({card.uuid}) are held by {who}"


def _nobody_of_ours(held: dict[str, str], cards: tuple[Card, ...]) -> bool:
    """Is there a card whose memory is held, but which no server of ours has claimed?"""
    for card in cards:
        if card.uuid in held and (got := _locked([card], 1)) is not None:
            for descriptor in got[1]:
                os.close(descriptor)
            return True
    return False


def _directory() -> Path:
    directory = cache_directory() / "cards"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _try(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _locked(cards: list[Card], count: int) -> tuple[tuple[Card, ...], tuple[int, ...]] | None:
    """``count`` of ``cards`` with their locks, or nothing."""
    got: list[tuple[Card, int]] = []
    for card in cards:
        if len(got) < count and (descriptor := _try(_directory() / f"{card.uuid}.lock")) is not None:
            got.append((card, descriptor))
    if len(got) == count:
        return tuple(card for card, _ in got), tuple(descriptor for _, descriptor in got)
    for _, descriptor in got:
        os.close(descriptor)
    return None


@contextmanager
def _turn(waiting: _Waiting) -> Iterator[None]:
    """One at a time looks for cards."""
    while (descriptor := _try(_directory() / "turn.lock")) is None:
        waiting.go_on()
    try:
        yield
    finally:
        os.close(descriptor)
