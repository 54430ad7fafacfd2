"""Our side of the guard: a server process that ends with us, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from qcmatrix.serving import guard
from qcmatrix.serving.guard import Process, descendants, processes

__all__ = ["MARK", "Guarded"]

MARK = "QCMATRIX_SERVER"
"""A variable in the environment of a server and all that it starts: by its value they are found, whoever their parent
is."""
_PATIENCE = 90.0
"""The guard itself has so long, behind the grace: it kills for 20 s, and ends a container."""


class Guarded:
    """A command behind its guard. The methods may be called from several threads.

    Args:
        command: the server; its output goes to ``log`` as it is.
        env: its whole environment.
        log: an open file.
        grace: seconds from being told to end to SIGKILL.
        keep_open: file descriptors of locks, which are held until the guard is through.
        at_end: a command that ends what runs elsewhere (a container).

    Raises:
        OSError: no process can be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        log: IO[bytes],
        *,
        grace: float = 10.0,
        keep_open: Sequence[int] = (),
        at_end: Sequence[str] = (),
    ) -> None:
        self.mark = uuid.uuid4().hex
        self.pid: int | None = None
        """Of the server; ``None``: not started (yet)."""
        self.failed = ""
        """Why the command could not be run."""
        self.exit_code: int | None = None
        """Of the server, when it ended; negative: the signal."""
        self.killed: tuple[str, ...] = ()
        """What had to be killed, ``name (pid)`` each."""
        self.left: tuple[str, ...] = ()
        """What could not even be killed."""
        self._grace = grace
        self._lock = threading.Lock()
        self._pending = b""
        self._closed = False
        control_read, control_write = os.pipe()
        self._report, report_write = os.pipe()
        self._control = os.fdopen(control_write, "wb", buffering=0)  # closed when this object is gone
        os.set_blocking(self._report, False)
        words = [sys.executable, "-I", "-S", guard.__file__, "--parent", str(os.getpid())]
        words += ["--control", str(control_read), "--report", str(report_write), "--grace", str(grace)]
        words += ["--at-end", json.dumps(list(at_end))] if at_end else []
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - our own guard
                [*words, "--", *command],
                env={**env, MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(control_read, report_write, *keep_open),
            )
        except BaseException:
            self._control.close()
            os.close(self._report)
            raise
        finally:
            os.close(control_read)
            os.close(report_write)

    def poll(self, timeout: float = 0.0) -> bool:
        """Take what the guard reports, waiting up to ``timeout`` seconds for it: is the guard still there?"""
        with self._lock:
            if self._closed:
                return False
            ready, _, _ = select.select([self._report], [], [], timeout)
            if not ready:
                return True
            try:
                data = os.read(self._report, 65_536)
            except BlockingIOError:
                return True
            for line in self._lines(data):
                self._take(json.loads(line))
            if not data:
                self._gone()
            return bool(data)

    def _lines(self, data: bytes) -> Iterator[bytes]:
        *whole, self._pending = (self._pending + data).split(b"\n")
        yield from whole

    def _take(self, said: dict[str, object]) -> None:
        self.pid = int(str(said["pid"])) if "pid" in said else self.pid
        self.failed = str(said.get("failed", self.failed))
        self.exit_code = int(str(said["exit"])) if "exit" in said else self.exit_code
        for name in ("killed", "left"):
            if isinstance(found := said.get(name), list):
                setattr(self, name, tuple(map(str, found)))

    def _gone(self) -> None:
        """The guard has closed its pipe: it is through, or was killed itself."""
        self._closed = True
        os.close(self._report)
        with contextlib.suppress(OSError):
            self._control.close()
        try:
            code = self._popen.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            code = self._popen.wait()
        if code not in (0, 1):
            self._sweep()
            if self.exit_code is None and self.pid is not None:
                self.exit_code = -signal.SIGKILL

    def _sweep(self) -> None:
        """Without a guard: everything with our mark is killed."""
        killed: dict[int, str] = {}
        end = time.monotonic() + 10.0
        while (found := self.marked()) and time.monotonic() < end:
            for each in found:
                killed[each.pid] = f"{each.name} ({each.pid})"
                with contextlib.suppress(OSError):
                    os.kill(each.pid, signal.SIGKILL)
            time.sleep(0.05)
        self.killed = tuple(killed.values())
        self.left = tuple(f"{each.name} ({each.pid})" for each in self.marked())

    def marked(self) -> list[Process]:
        """Living processes that carry the mark of this server, whoever their parent is."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for each in processes():
            with contextlib.suppress(OSError):
                if each.state not in "ZX" and wanted in Path(f"/proc/{each.pid}/environ").read_bytes():
                    found.append(each)
        return found

    def tree(self) -> list[Process]:
        """The server and all below it."""
        return descendants(self._popen.pid)

    @property
    def running(self) -> bool:
        """Is the server's own process there, as far as has been reported?"""
        return self.exit_code is None and not self.failed and not self._closed

    def tell_end(self, *, at_once: bool = False) -> None:
        """Have it ended: with the grace, or by SIGKILL. Does not wait."""
        with contextlib.suppress(OSError, ValueError):  # the guard is gone already
            self._control.write(b"k" if at_once else b"t")

    def wait_gone(self) -> None:
        """Wait until nothing of it is left; :meth:`tell_end` comes before."""
        end = time.monotonic() + self._grace + _PATIENCE
        while self.poll(0.2):
            if time.monotonic() > end:
                self._popen.kill()
