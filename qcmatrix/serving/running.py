"""One server process: watched in every phase, and always ended with all that it started."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from qcmatrix.serving.cards import Claim
from qcmatrix.serving.command import ServerCommand, masked, recorded
from qcmatrix.serving.guarded import Guarded
from qcmatrix.serving.health import Prober, answers, is_ours
from qcmatrix.serving.ports import HeldPort
from qcmatrix.serving.problems import BootFailed, Ending
from qcmatrix.serving.watch import Activity, LogTail, Patience, Room, StartWatch
from qcmatrix.serving.why import Told, ended, measured_in, tail_of, told

__all__ = ["Booted", "Progress", "Server", "quiet"]

_LOOK_SECONDS = 0.1
_PROBE_SECONDS = 0.5
_TELL_SECONDS = 5.0
_MISSED = 3
_STRANGE = 5

Progress = Callable[[str], None]


class Booted(msgspec.Struct, frozen=True):
    """A start that succeeded."""

    seconds: float
    measured: Mapping[str, float]
    """What its log measured, see :func:`qcmatrix.serving.why.measured_in`."""


def quiet(_text: str) -> None:
    """Says nothing."""


_RUNNING: weakref.WeakSet[Server] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for server in list(_RUNNING):
        if server.owner == os.getpid():  # a fork of us has no say in it
            server.stop()


class Server:
    """One server process with everything below it. Made, it is running; leaving its context, it is gone.

    A thread watches it from the first moment on, so that its attributes are true at any time.

    Args:
        command: what is run.
        directory: where its log goes; made if it is not there.
        name: the entry's id, for messages.
        port: held until the server has it.
        cards: freed when it is gone.

    Raises:
        OSError: the log cannot be made, or no process be started.
    """

    def __init__(
        self,
        command: ServerCommand,
        directory: Path,
        *,
        name: str = "server",
        patience: Patience | None = None,
        port: HeldPort | None = None,
        cards: Claim | None = None,
        words_env: Mapping[str, str] | None = None,
    ) -> None:
        self.command = command
        self.name = name
        self.root = command.root
        """``http://127.0.0.1:PORT``, without ``/v1``."""
        self.api_key = command.api_key
        self.argv = command.argv
        self.env = recorded(command.env, words_env or {})
        """Of its environment what decides how it serves; holds keys."""
        self.masked_argv, self.masked_env = masked(self.argv, self.env)
        self.release = command.release
        self.owner = os.getpid()
        """The process that started it."""
        self.cards = () if cards is None else cards.cards
        self.patience = patience or Patience()
        self.boot_seconds: float | None = None
        """From start to ready; ``None``: not ready yet."""
        self.measured: Mapping[str, float] = {}
        self.trouble = ""
        """What has happened to it since it was ready; empty: nothing."""
        self.left = ""
        """What was still there when it was stopped; empty: nothing."""
        self._claim, self._port = cards, port
        self._failure: BootFailed | None = None
        self._decided, self._over = threading.Event(), threading.Event()
        self._stopping, self._stopped = threading.Event(), False
        self._stop_lock = threading.Lock()
        self.log, stream = _new_log(directory)
        with stream:
            self._started = time.monotonic()
            self._watch = StartWatch(self.patience, self._started)
            self._tail = LogTail(self.log)
            self._room = Room(self.log.parent)
            self._guarded = Guarded(
                command.argv,
                command.env,
                stream,
                grace=self.patience.grace,
                keep_open=() if cards is None else cards.descriptors,
                at_end=command.at_end,
            )
        _RUNNING.add(self)
        self._thread = threading.Thread(target=self._run, name=f"qcmatrix-{name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- what it is doing -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Of the server's own process; ``None``: it is not there yet."""
        return self._guarded.pid

    @property
    def stage(self) -> str:
        """What it is doing, as its log tells it."""
        return self._watch.stage

    @property
    def killed(self) -> tuple[str, ...]:
        """What had to be killed at its end, because it did not end when it was told to."""
        return self._guarded.killed

    @property
    def alive(self) -> bool:
        """Is it there, and was it not found hung?"""
        return self._guarded.running and not self._over.is_set()

    def what_happened(self, seconds: float = 5.0) -> str:
        """:attr:`trouble`, waited for: a client that lost its connection may know of it before the watcher does."""
        end = time.monotonic() + seconds
        while not self.trouble and time.monotonic() < end and not self._stopping.is_set():
            if self._guarded.running and answers(self.command.port, timeout=1.0) == 200:
                return ""
            time.sleep(0.05)
        if self.trouble:
            self._thread.join(seconds)  # it is told at once, and its cause when the log has been read
        return self.trouble

    def wait_ready(self, progress: Progress = quiet) -> Booted:
        """Wait until it serves; ``progress`` is told the stage, on each change and every few seconds.

        Raises:
            BootFailed: it does not, and never will.
        """
        said, at = "", 0.0
        while not self._decided.wait(_LOOK_SECONDS):
            now = time.monotonic()
            stage = self.stage or "starting"
            if stage != said or now - at > _TELL_SECONDS:
                progress(f"{stage} ({now - self._started:.0f} s)")
                said, at = stage, now
        if self._failure is not None:
            raise self._failure
        assert self.boot_seconds is not None  # noqa: S101 - decided, and not failed
        return Booted(self.boot_seconds, self.measured)

    def stop(self) -> str:
        """End it with all that it started, and wait until that is gone and the cards' memory is free again.

        What is left all the same, in words (also in :attr:`left`); empty: nothing. May be called at any time, by
        anybody, more than once; interrupted, the end goes on, and the next call waits for it.
        """
        self._stopping.set()
        self._guarded.tell_end()
        with self._stop_lock:
            if self._stopped:
                return self.left
            self._guarded.wait_gone()
            self._thread.join(timeout=60.0)
            left = [f"processes: {', '.join(self._guarded.left)}"] if self._guarded.left else []
            if self._claim is not None:
                still = self._claim.settle()
                left += [still] if still else []
                self._claim.release()
            if self._port is not None:
                self._port.release()
            self.left = "; ".join(left)
            self._stopped = True
            _RUNNING.discard(self)
            return self.left

    # --- the watcher's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._until_ready():
                self._until_over()
        except Exception as error:  # an error of ours must not leave anybody waiting for ever
            self._fail("exited", f"qcmatrix could not watch it: {type(error).__name__}: {error}")
            self._end(f"qcmatrix could not watch it: {type(error).__name__}: {error}")
            raise
        finally:
            if not self._decided.is_set():
                self._fail("exited", "it was stopped while it started")
            self._over.set()

    def _until_ready(self) -> bool:
        """Watch the start; ``False``: there is nothing to watch any more."""
        activity, probed, strange, looked = Activity(self._started), 0.0, 0, 0.0
        while not self._stopping.is_set():
            self._guarded.poll(_LOOK_SECONDS)
            now = time.monotonic()
            self._watch.lines(now, self._tail.read())
            if not self._guarded.running:
                self._ended_while_starting(now)
                return False
            if now - probed > _PROBE_SECONDS:
                probed = now
                if answers(self.command.port, timeout=1.0) == 200:
                    if is_ours(self.command.port, self.api_key):
                        self._ready()
                        return True
                    strange += 1
            if now - looked > 1.0:
                looked = now
                if activity.busy(now, self._guarded.tree):
                    self._watch.worked(now)
                if full := self._room.why_not(now, self._tail.bytes):
                    return self._give_up("disk", full)
            if strange >= _STRANGE:
                return self._give_up("stranger", f"another server answers on its port {self.command.port}")
            if (verdict := self._watch.verdict(now)) is not None:
                return self._give_up(*verdict)
        return False

    def _ended_while_starting(self, now: float) -> None:
        seconds = now - self._started
        if self._guarded.failed:
            self._fail("not-run", f"it cannot be run: {self._guarded.failed}")
            return
        code = self._guarded.exit_code
        how = ended(code) if code is not None else "was lost: its guard was killed"
        where = f" while {self.stage}" if self.stage else ""
        full = self._room.why_not(now, -1)
        self._fail("disk" if full else "exited", full or f"it {how} after {seconds:.0f} s{where}", read=not full)

    def _ready(self) -> None:
        self.boot_seconds = round(time.monotonic() - self._started, 2)
        if self._port is not None:
            self._port.release()
        self.measured = measured_in(self.log, self.release)
        self._decided.set()

    def _give_up(self, ending: Ending, why: str) -> bool:
        self._guarded.tell_end(at_once=True)
        self._fail(ending, why, read=ending == "hangs")
        return False

    def _fail(self, ending: Ending, why: str, *, read: bool = False) -> None:
        if self._decided.is_set():
            return
        found = told(self.log, self.release, self.api_key) if read else Told()
        self._failure = BootFailed(
            self.name,
            f"{found.cause} ({why})" if found.cause and ending == "hangs" else found.cause or why,
            log=self.log,
            seconds=round(time.monotonic() - self._started, 2),
            ending=ending,
            rule=found.rule,
            fingerprint=found.fingerprint,
            words=found.words,
            tail=tail_of(self.log, self.api_key),
            code=self._guarded.exit_code,
        )
        self._decided.set()

    def _until_over(self) -> None:
        """Watch it while it serves."""
        patience = self.patience
        prober = Prober(self.command.port, every=patience.probe, timeout=max(1.0, patience.hung / _MISSED))
        looked = 0.0
        try:
            while not self._stopping.is_set():
                self._guarded.poll(_LOOK_SECONDS)
                now = time.monotonic()
                if not self._guarded.running:
                    code = self._guarded.exit_code
                    how = ended(code) if code is not None else "was lost: its guard was killed"
                    self._end(f"the server {how}", read=True)
                    return
                if prober.missed >= _MISSED and now - prober.last_answer > patience.hung:
                    # Killed, so that whoever waits for an answer gets an error now and not at a time-out.
                    self._guarded.tell_end(at_once=True)
                    said = "with nothing" if prober.status is None else f"with HTTP {prober.status}"
                    self._end(
                        f"the server hung: /health answered {said} for {now - prober.last_answer:.0f} s", read=True
                    )
                    return
                if now - looked > 1.0:
                    looked = now
                    self._tail.read()
                    if full := self._room.why_not(now, self._tail.bytes):
                        self._guarded.tell_end(at_once=True)
                        self._end(f"the server was ended: {full}")
                        return
        finally:
            prober.stop()

    def _end(self, why: str, *, read: bool = False) -> None:
        if self._stopping.is_set():
            return  # as asked
        self.trouble = why  # at once; the reasons take a moment to read
        if read:
            cause = told(self.log, self.release, self.api_key).cause
            tail = tail_of(self.log, self.api_key, lines=3)
            more = cause or (f"its log ends: {' | '.join(tail)}" if tail else "its log is empty")
            self.trouble = f"{why}: {more}"


def _new_log(directory: Path) -> tuple[Path, IO[bytes]]:
    """A log that was not there before: none is written over."""
    directory.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = directory / ("server.log" if number == 1 else f"server-{number}.log")
        with contextlib.suppress(FileExistsError):
            path.touch(mode=0o600, exist_ok=False)
            return path, path.open("ab", buffering=0)
        number += 1
