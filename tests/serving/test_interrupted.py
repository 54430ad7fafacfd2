"""We are killed or interrupted while a server starts, serves or stops: nothing of it is left, and its log is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("nothing_left")

PARENT = Path(__file__).parent / "parent.py"
PHASES = {
    # fault, what is waited for, seconds of grace, what the parent does when it is ready
    "starting": ("never-ready", "loading the weights", "3", ()),
    "serving": ("grandchild", "ready", "3", ()),
    "stopping": ("ignores-sigterm", "stopping", "5", ("stop",)),
}


@pytest.fixture(autouse=True)
def forks(tmp_path: Path) -> Iterator[Path]:
    """A file of process ids that are killed at the very end, when it has been seen that nothing is left."""
    path = tmp_path / "forks"
    yield path
    for word in path.read_text(encoding="utf-8").split() if path.exists() else ():
        os.kill(int(word), signal.SIGKILL)


def in_phase(phase: str, venv: Path, directory: Path) -> subprocess.Popen[str]:
    fault, waited, grace, more = PHASES[phase]
    parent = subprocess.Popen(
        [sys.executable, str(PARENT), str(venv), str(directory), fault, grace, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # its group is that of a shell's job
    )
    assert parent.stdout is not None
    for line in parent.stdout:
        if line.startswith(waited):
            break
    else:
        raise AssertionError(f"it ended before it was {phase}: {parent.communicate()[1]}")
    time.sleep(0.3)
    return parent


def ended(parent: subprocess.Popen[str]) -> int:
    try:
        parent.communicate(timeout=60.0)
        return parent.returncode
    finally:
        parent.kill()
        parent.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
@pytest.mark.parametrize("phase", PHASES)
def test_we_are_ended(fake_vllm: Path, tmp_path: Path, phase: str, number: signal.Signals) -> None:
    parent = in_phase(phase, fake_vllm, tmp_path)
    os.killpg(parent.pid, number)  # as a terminal does: the guard must not be among those that hear it
    assert ended(parent) in (-number, 1)
    assert "vLLM API server version" in (tmp_path / "server.log").read_text(encoding="utf-8")


def test_an_impatient_user(fake_vllm: Path, tmp_path: Path) -> None:
    parent = in_phase("stopping", fake_vllm, tmp_path)
    for _ in range(3):
        os.killpg(parent.pid, signal.SIGINT)
        time.sleep(0.2)
    ended(parent)


def test_we_forget_to_stop_it(fake_vllm: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PARENT), str(fake_vllm), str(tmp_path), "grandchild", "3", "exit"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_a_fork_of_us_holds_nothing_open(fake_vllm: Path, tmp_path: Path, forks: Path) -> None:
    """The pipe's end is still open in the fork: the guard sees by itself that its parent is gone."""
    code = f"""
import os, sys, time
sys.argv = ['parent', {str(fake_vllm)!r}, {str(tmp_path)!r}, '', '3', 'exit']
try:
    exec(compile(open({str(PARENT)!r}).read().replace('sys.exit(0)', 'raise SystemExit'), 'parent', 'exec'))
except SystemExit:
    pass
if (fork := os.fork()) == 0:
    os.setsid()
    os.closerange(0, 3)
    time.sleep(600)
    os._exit(0)
open({str(forks)!r}, 'w').write(str(fork))
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
