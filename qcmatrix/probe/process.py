"""One worker process: started in its own process group, read without blocking for ever, always ended."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO

__all__ = ["Silent", "WorkerProcess"]

_TAIL = 40  # lines of stderr that are kept for the error message


class Silent(Exception):
    """Nothing arrived in time."""


class WorkerProcess:
    """A child process that speaks lines. Not thread-safe.

    Its stderr is read all the time, and the last lines kept. It ends with :meth:`end`, when this object is
    garbage-collected and when the interpreter exits; the worker itself ends when its parent is gone.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._popen = subprocess.Popen(  # noqa: S603 - the command is ours: an interpreter and our worker
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            start_new_session=True,  # Ctrl-C reaches us and not it, and what it starts can be ended with it
        )
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._to_send: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._end = weakref.finalize(self, _end, self._popen, self._to_send)
        self._errors: deque[str] = deque(maxlen=_TAIL)
        assert self._popen.stdin is not None  # noqa: S101 - asked for above
        assert self._popen.stdout is not None  # noqa: S101
        assert self._popen.stderr is not None  # noqa: S101
        # A thread for each pipe: none of the three can block the other two, whoever is slow.
        threads = (
            (_write_lines, (self._popen.stdin, self._to_send)),
            (_read_lines, (self._popen.stdout, self._lines)),
            (_keep_tail, (self._popen.stderr, self._errors)),
        )
        self._threads = [threading.Thread(target=target, args=args, daemon=True) for target, args in threads]
        for thread in self._threads:
            thread.start()
        self._over = False

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its process group."""
        return self._popen.pid

    def send(self, line: str) -> None:
        """Queue one line for it; never blocks. A dead process is noticed by :meth:`receive`."""
        self._to_send.put(line.encode("utf-8") + b"\n")

    def receive(self, timeout: float) -> str | None:
        """The next line that it wrote; ``None``: there will be no more.

        Raises:
            Silent: none within ``timeout`` seconds.
        """
        if self._over:
            return None
        try:
            line = self._lines.get(timeout=max(0.0, timeout))
        except queue.Empty:
            raise Silent from None
        if line is None:
            self._over = True
            return None
        return line.decode("utf-8", errors="replace")

    def has_ended(self) -> bool:
        """Whether it closed its output; what it wrote before may still be there to read."""
        return self._over or not self._threads[1].is_alive()

    def end(self) -> str:
        """End it and all that it started, at once; how it ended, in words."""
        self._end()
        for thread in self._threads:
            thread.join(timeout=2.0)
        code = self._popen.returncode
        return f"exit code {code}" if code is None or code >= 0 else f"signal {_signal_name(-code)}"

    def last_words(self) -> tuple[str, ...]:
        """The end of what it wrote to stderr, oldest first."""
        return tuple(self._errors)


def _end(popen: subprocess.Popen[bytes], to_send: queue.SimpleQueue[bytes | None]) -> None:
    to_send.put(None)
    # Not waited for before: so its number still belongs to it, dead or alive, and the group can be ended safely.
    if popen.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def _write_lines(pipe: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    # The end of the process shows at its output; here it is no news.
    with contextlib.suppress(OSError, ValueError):
        while (line := lines.get()) is not None:
            pipe.write(line)
            pipe.flush()
    with contextlib.suppress(OSError):
        pipe.close()


def _read_lines(pipe: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    try:
        for line in pipe:
            lines.put(line)
    except (OSError, ValueError):
        pass
    finally:
        lines.put(None)
        pipe.close()


def _keep_tail(pipe: IO[bytes], tail: deque[str]) -> None:
    with contextlib.suppress(OSError, ValueError):
        for line in pipe:
            text = line.decode("utf-8", errors="replace").rstrip()
            if text:
                tail.append(text)
    pipe.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
