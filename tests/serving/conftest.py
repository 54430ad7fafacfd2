"""A fake vLLM to inject faults, entries for it, and the proof that nothing is left of a server."""

from __future__ import annotations

import datetime
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from qcmatrix.matrix.entries import Entry, Expectation
from qcmatrix.serving.guarded import MARK
from qcmatrix.serving.server import Patience

OURS = "QCMATRIX_TEST"
FAKE = Path(__file__).parent / "fake_server.py"


def entry_of(command: str, **more: object) -> Entry:
    given = {
        "id": "fake",
        "fleet": "cpu",
        "vllm": "0.32.0",
        "expect": Expectation(verdict="starts"),
        "source": "https://example.org",
        "read": datetime.date(2026, 11, 22),
        **more,
    }
    return Entry(command=command, **given)  # type: ignore[arg-type]


def started_under(mark: str) -> list[psutil.Process]:
    """Living processes that this test started, or that those started, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            environ = process.environ()
            if environ.get(OURS) == mark and MARK in environ and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def make_entry() -> Callable[..., Entry]:
    return entry_of


@pytest.fixture(scope="module")
def real_entry() -> Callable[..., Entry]:
    return entry_of


@pytest.fixture
def fake_vllm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment, as far as is looked at: an interpreter that has vLLM 0.32.0+cpu, and its program."""
    root = tmp_path_factory.mktemp("venv")
    (root / "bin").mkdir()
    for name, words in {
        "python": f'if [ "$1" = -c ]; then echo "vllm 0.32.0+cpu"; else exec {sys.executable} "$@"; fi',
        "vllm": f'exec {sys.executable} {FAKE} "$@"',
    }.items():
        program = root / "bin" / name
        program.write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
        program.chmod(0o755)
    return root


@pytest.fixture
def quick() -> Patience:
    """Short enough for a test, long enough for a busy machine."""
    return Patience(boot=120.0, silence=60.0, dead=2.0, failing=30.0, hung=3.0, probe=0.5, grace=3.0)


@pytest.fixture
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After the test there is no process of a server that it started."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(OURS, mark)
    yield
    end = time.monotonic() + 30.0
    while (left := started_under(mark)) and time.monotonic() < end:
        time.sleep(0.2)
    assert [each.cmdline() for each in left] == []
