"""The program between us and a server: whatever becomes of us, it ends the server and all that the server started.

``python guard.py --parent PID --control FD --report FD --grace SECONDS [--at-end JSON] -- COMMAND...``

It runs in a session of its own, so that the terminal's Ctrl-C does not reach it, and is the subreaper of its
descendants: a process that loses its parent, even one that made a session for itself, becomes the guard's child and is
found. Its standard output and error, a file, are the server's. On the control pipe one letter is an order
(``t``: end it; ``k``: end it at once), and the pipe's end, like a change of the parent, means that we are gone. On the
report pipe it writes one JSON object a line. Only the standard library, so that it starts at once and in any directory.

https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html,
https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Process", "descendants", "main", "processes"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 0.5
"""How often the parent and, at the end, the tree are looked at when nothing tells of a change."""
_AFTER_EXIT_SECONDS = 5.0
"""What a server left behind when it ended by itself has so long to end too."""
_KILL_SECONDS = 20.0
"""SIGKILL is repeated so long; what is still there then waits in the kernel, and is reported."""
_AT_END_SECONDS = 30.0


class Process(NamedTuple):
    """One line of the process table."""

    pid: int
    parent: int
    name: str
    state: str
    ticks: int
    """Processor time, user and system, in clock ticks."""


def processes() -> list[Process]:
    """All processes, zombies included. See https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - no pathlib: this runs twice a second
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123
                text = file.read().decode("utf-8", "replace")
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        fields = text[text.rindex(")") + 2 :].split()
        found.append(Process(int(entry), int(fields[1]), name, fields[0], int(fields[11]) + int(fields[12])))
    return found


def descendants(root: int, table: Iterable[Process] | None = None) -> list[Process]:
    """What lives below ``root``; the dead that nobody has waited for are not among them."""
    children: dict[int, list[Process]] = {}
    for process in processes() if table is None else table:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    waiting = [root]
    while waiting:
        below = children.pop(waiting.pop(), [])
        found += below
        waiting += [process.pid for process in below]
    return [process for process in found if process.state not in "ZX"]


def main(words: list[str] | None = None) -> int:
    """Run the server and end it; 0 when nothing of it is left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--report", type=int, required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--at-end", type=json.loads, default=[])
    parser.add_argument("command", nargs="+")
    return _Guard(parser.parse_args(words)).run()


class _Guard:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.root = 0
        self.exited = False
        self.deadline: float | None = None
        """The end is asked for, and what is left then is killed."""
        self.asked_at = 0.0
        self.wake, tell = os.pipe()
        os.set_blocking(tell, False)
        os.set_blocking(self.wake, False)
        signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._told)
        self.stop_signal = False
        self.control_open = True

    def _told(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self.stop_signal = True

    def run(self) -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            process = subprocess.Popen(  # noqa: S603 - the server that we were given
                self.options.command,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                # Should the guard itself be killed, the server is told to end.
                preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._report(failed=f"{self.options.command[0]}: {getattr(error, 'strerror', None) or error}")
            return 1
        self.root = process.pid
        self._report(pid=process.pid)
        while self.deadline is None or time.monotonic() < self.deadline:
            self._reap(process)
            if self.deadline is not None and not self._tree():
                break
            self._listen()
            self._press()
        killed = self._kill(process)
        left = self._tree()
        self._report(killed=[_shown(each) for each in killed], left=[_shown(each) for each in left])
        return 0 if not left else 1

    def _listen(self) -> None:
        """Wait for news, and decide whether it is time to end."""
        # While ending the tree is looked at often: nobody tells of a grandchild's end.
        patience = _LOOK_SECONDS if self.deadline is None else 0.05
        watched = [self.wake, self.options.control] if self.control_open else [self.wake]
        ready, _, _ = select.select(watched, [], [], patience)
        if self.wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)
        orders = b""
        if self.options.control in ready:
            orders = os.read(self.options.control, 64)
            self.control_open = bool(orders)
        if b"k" in orders:
            self._end_within(0.0)
        elif orders or not self.control_open or self.stop_signal or os.getppid() != self.options.parent:
            self._end_within(self.options.grace)

    def _end_within(self, seconds: float) -> None:
        now = time.monotonic()
        if self.deadline is None:
            self.asked_at = now
            if seconds > 0:
                _signal_group(self.root, signal.SIGTERM)
                _signal_group(self.root, signal.SIGCONT)  # one that is stopped would not hear of it
            self.deadline = now + seconds
        else:
            self.deadline = min(self.deadline, now + seconds)

    def _press(self) -> None:
        """Half of the time is over: each process is told by itself, those in other sessions too."""
        if self.deadline is None or self.stop_pressed:
            return
        if time.monotonic() > (self.asked_at + self.deadline) / 2:
            self.stop_pressed = True
            for each in self._tree():
                _signal(each.pid, signal.SIGTERM)
                _signal(each.pid, signal.SIGCONT)

    stop_pressed = False

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for every child that has ended, adopted ones too; the server's end is reported at once."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.root:
                process.returncode = os.waitstatus_to_exitcode(status)
                self.exited = True
                self._report(exit=process.returncode)
                self._end_within(_AFTER_EXIT_SECONDS)

    def _tree(self) -> list[Process]:
        return descendants(os.getpid())

    def _kill(self, process: subprocess.Popen[bytes]) -> list[Process]:
        """End by force what is left; what that was."""
        if self.options.at_end:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(  # noqa: S603 - what we were given
                    self.options.at_end,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=_AT_END_SECONDS,
                    check=False,
                )
        killed: dict[int, Process] = {}
        end = time.monotonic() + _KILL_SECONDS
        while time.monotonic() < end:
            left = self._tree()
            if not left:
                break
            for each in left:  # again and again: it may have forked meanwhile
                killed[each.pid] = each
                _signal(each.pid, signal.SIGKILL)
            time.sleep(0.02)
            self._reap(process)
        self._reap(process)
        return list(killed.values())

    def _report(self, **said: Any) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            os.write(self.options.report, json.dumps(said).encode() + b"\n")


def _shown(process: Process) -> str:
    return f"{process.name} ({process.pid})"


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
