"""What is seen of a server from outside while it starts, and when that is enough to give it up."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from qcmatrix.serving.guard import Process
from qcmatrix.serving.problems import Ending
from qcmatrix.startup_log.facts import stage_in
from qcmatrix.startup_log.fingerprints import match_all
from qcmatrix.startup_log.lines import clean

__all__ = ["Activity", "LogTail", "Patience", "Room", "StartWatch"]

_MOST_READ = 1 << 20
_BUSY_SHARE = 0.02
"""Of one processor: polling loops of an idle server need less."""
_BUSY_BYTES = 1 << 16
_BUSY_SECONDS = 5.0
_LITTLE_ROOM = 1 << 20


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is waited for. Seconds."""

    boot: float = 3600.0
    """From start to ready."""
    silence: float = 300.0
    """Without a line in the log, processor time or data read."""
    dead: float = 20.0
    """A server that said that its engine is dead, and goes on."""
    failing: float = 120.0
    """One that told of a failure, and is silent since."""
    hung: float = 20.0
    """Without an answer from ``/health``, once it was ready."""
    probe: float = 5.0
    """Between two probes of a server that is ready."""
    grace: float = 10.0
    """From being told to end to SIGKILL."""


class LogTail:
    """The lines that are added to a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._rest = path, 0, b""

    @property
    def bytes(self) -> int:
        """How much has been read."""
        return self._offset

    def read(self) -> list[str]:
        """The whole lines that have come since the last call."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read(_MOST_READ)
        except OSError:
            return []
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > _MOST_READ:
            self._rest = b""  # no line of a log
        return [line.decode("utf-8", "replace") for line in whole]


class Activity:
    """Do processes work? Told by processor time and by data that they read (weights from a slow disk need little
    of the former)."""

    def __init__(self, now: float) -> None:
        self._since, self._ticks, self._read = now, 0, 0
        self._per_second = os.sysconf("SC_CLK_TCK")

    def busy(self, now: float, tree: Callable[[], list[Process]]) -> bool:
        """Have they worked since the last look? Looks that come too early say no, and do not ask for the ``tree``."""
        if now - self._since < _BUSY_SECONDS:
            return False
        alive = tree()
        ticks, read = sum(each.ticks for each in alive), sum(_read_by(each.pid) for each in alive)
        worked = abs(ticks - self._ticks) / self._per_second > _BUSY_SHARE * (now - self._since)
        worked = worked or abs(read - self._read) > _BUSY_BYTES
        self._since, self._ticks, self._read = now, ticks, read
        return worked


def _read_by(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/io", "rb") as file:  # noqa: PTH123 - once a look for every process
            return int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


class Room:
    """Can the log grow? A server does not tell that its lines are lost."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._size, self._since = -1, time.monotonic()

    def why_not(self, now: float, size: int) -> str:
        """Why nothing can be written where the log is; empty: it can. ``size`` is that of the log."""
        if size != self._size:
            self._size, self._since = size, now
        try:
            state = os.statvfs(self._directory)
        except OSError as error:
            return self._lost(error)
        little = state.f_bavail * state.f_frsize < _LITTLE_ROOM
        if not little and now - self._since < _BUSY_SECONDS * 2:
            return ""
        self._since = now  # a quota shows only to who writes: a log that is silent is tried now and then
        probe = self._directory / f".room-{os.getpid()}"
        try:
            with probe.open("wb") as file:
                file.write(b"\0" * 4096)
        except OSError as error:
            return self._lost(error)
        finally:
            probe.unlink(missing_ok=True)
        return ""

    def _lost(self, error: OSError) -> str:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no space left where its log is written ({self._directory}): what it says is lost"
        return f"its log cannot be written to {self._directory}: {error.strerror or error}"


_SPINNING = 5
"""Times the patience with a failure that was told of, while processes work and say nothing: ranks that wait spin."""


class StartWatch:
    """Told what is seen, it says when a start has failed although the process is there. Knows no clock of its own."""

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._started = self._heard = self._worked = now
        self._dead: tuple[float, str] | None = None
        self._failing: tuple[float, str] | None = None
        self.stage = ""
        """The last stage that the log tells of."""

    def lines(self, now: float, lines: Iterable[str]) -> None:
        """These lines have been added to the log."""
        for raw in lines:
            self._heard = self._worked = now
            line = clean(0, raw)
            stage = stage_in(line.text) if line.level in ("INFO", "", "WARNING") else None
            if stage is not None and stage != self.stage:
                self.stage = stage
                self._dead = self._failing = None  # it went on after what looked like the end
            if line.level in ("ERROR", "CRITICAL") or "Error" in line.text:
                self._complaint(now, line.text)

    def _complaint(self, now: float, text: str) -> None:
        kinds = {match.fingerprint.kind for match in match_all(text) if match.fingerprint.tier > 1}
        if "symptom" in kinds:
            self._dead = self._dead or (now, text)
        elif "cause" in kinds:
            self._failing = self._failing or (now, text)

    def worked(self, now: float) -> None:
        """Its processes have worked."""
        self._worked = now

    def verdict(self, now: float) -> tuple[Ending, str] | None:
        """How the start has failed, and why it is given up; ``None``: it may yet succeed."""
        patience, where = self._patience, f" while {self.stage}" if self.stage else ""
        if self._dead is not None and now - self._dead[0] > patience.dead:
            return "hangs", f"it said that it failed, and went on for {patience.dead:.0f} s: {self._dead[1][:300]}"
        if self._failing is not None:
            # Libraries complain of what they then do without, and a load may be silent for long: as long as there is
            # work, more patience. Not for ever: ranks that wait for each other spin.
            still = now - max(self._failing[0], self._heard, self._worked)
            silent = now - max(self._failing[0], self._heard)
            if still > patience.failing or silent > _SPINNING * patience.failing:
                return (
                    "hangs",
                    f"it told of a failure, and nothing came for {silent:.0f} s: {self._failing[1][:300]}",
                )
        if now - max(self._heard, self._worked) > patience.silence:
            return "silent", f"it did nothing for {patience.silence:.0f} s{where}: no line in its log, no work"
        if now - self._started > patience.boot:
            return "late", f"it was not ready after {patience.boot:.0f} s{where}"
        return None
