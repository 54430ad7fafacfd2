"""Running a program that a model wrote: in a process of its own, with little of everything.

This limits accidents: endless loops, memory, files that grow, the network where the kernel lets us cut it off. It is no
wall against a program that means harm; whoever sets the environment variable of FIM-19 agrees to run one.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

__all__ = ["Ran", "run_program"]

_LAUNCHER = """
import ctypes, os, resource, sys
done, seconds, memory = (int(word) for word in sys.argv[1:4])
for name, limit in (("CPU", seconds), ("AS", memory), ("FSIZE", 1 << 20), ("CORE", 0), ("NOFILE", 64)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
try:
    ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)  # CLONE_NEWUSER | CLONE_NEWNET: no network but its own
except (AttributeError, OSError):
    pass
program = sys.stdin.read()
sys.argv = ["program"]
try:
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})
except SystemExit as left:
    sys.exit("it left by itself: SystemExit(%r)" % (left.code,))
sys.stdout.flush()
os._exit(done)
"""
_TAIL = 300


class Ran(msgspec.Struct, frozen=True):
    """How it went."""

    ok: bool
    """It came to its end."""
    why: str = ""
    """The last line of what it said against it."""


def run_program(program: str, *, seconds: float = 10.0, memory: int = 1 << 30) -> Ran:
    """Run ``program`` (Python); ``seconds`` of wall clock, ``memory`` bytes of address space."""
    # The exit status of success is drawn anew: a program that just leaves with 0 has not come to its end.
    done = random.randrange(10, 120)  # noqa: S311 - no secret, only not a habit
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "stderr").open("w+b") as errors:
        words = [sys.executable, "-I", "-c", _LAUNCHER, str(done), str(max(1, round(seconds))), str(memory)]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder},
            start_new_session=True,
        )
        late = False
        try:
            process.communicate(program.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what it may have started, too
            process.wait()
        if late:
            return Ran(False, f"not at its end after {seconds:g} s")
        if process.returncode == done:
            return Ran(True)
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip().splitlines()
        return Ran(False, said[-1][-_TAIL:] if said else f"exit status {process.returncode}")
