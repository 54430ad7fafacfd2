"""A run whose server or whose own process fails: no orphan, no lost result, a clear line.

The server is the fake one of ``tests/serving``: it has faults that a real one cannot be made to have.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from qcmatrix.boundary import read_json
from qcmatrix.results.schema import Result, State
from qcmatrix.results.store import recover

FAKE = Path(__file__).parents[1] / "serving" / "fake_server.py"
OURS = "QCMATRIX_TEST"
HEAD = 'schema = "qcmatrix.matrix/1"\n'
ENTRY = """
[[entry]]
id = "{name}"
fleet = "cpu"
vllm = "0.32.0"
command = "FAKE={fault} vllm serve fake-model --served-model-name fake --enable-auto-tool-choice"
expect = {{ verdict = "starts" }}
source = "https://example.org"
read = 2026-11-28
weights = "random"
profiles = ["API-01", "TC-01", "TC-05"]
"""


class Started:
    """pytest on the fake entry, in a process of its own."""

    def __init__(self, place: Path, fault: str, *words: str, names: tuple[str, ...] = ("fake",)) -> None:
        self.place = place
        self.mark = uuid.uuid4().hex
        matrix = HEAD + "".join(ENTRY.format(name=name, fault=fault) for name in names)
        (place / "matrix.toml").write_text(matrix, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rfs", "--rootdir", str(place)]
        command += ["--pyargs", "qcmatrix.suites", "--matrix", "matrix.toml", "--results", "runs"]
        command += ["--vllm-python", str(place / "venv"), *words]
        self.process = subprocess.Popen(
            command,
            cwd=place,
            env=os.environ | {OURS: self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait(self) -> str:
        out, _ = self.process.communicate(timeout=180)
        return out

    def until(self, happened: Callable[[], object]) -> None:
        end = time.monotonic() + 120
        while not happened():
            assert time.monotonic() < end, "it never happened"
            assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()
            time.sleep(0.1)

    def logs(self) -> str:
        return "".join(path.read_text("utf-8", "replace") for path in self.place.glob("runs/fake/*/*.log"))

    def result(self) -> Result:
        (path,) = self.place.glob("runs/fake/*.json")
        return read_json(path, Result)

    def left(self) -> list[str]:
        """What is still there of all that was started, after a while."""
        end = time.monotonic() + 30
        while (found := self._processes()) and time.monotonic() < end:
            time.sleep(0.2)
        return found

    def _processes(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(OURS) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    for name, words in {
        "python": f'if [ "$1" = -c ]; then echo "vllm 0.32.0+cpu"; else exec {sys.executable} "$@"; fi',
        "vllm": f'exec {sys.executable} {FAKE} "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    running: list[Started] = []

    def started(fault: str, *words: str, **more: tuple[str, ...]) -> Started:
        running.append(Started(tmp_path, fault, *words, **more))
        return running[-1]

    yield started
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()
        assert each.left() == []


def test_a_server_that_does_not_start_blocks_its_checks_with_the_cause(start: Callable[..., Started]) -> None:
    run = start("dies")
    out = run.wait()
    assert run.process.returncode == 1
    assert "blocked: the server did not start" in out
    assert "1 failed" in out
    assert "Traceback" not in out
    result = run.result()
    assert result.boot is not None
    assert not result.boot.ok
    assert "out of memory" in result.boot.cause.lower()
    assert {case.state for case in result.cases} == {State.BLOCKED}


def test_a_server_that_dies_at_work_ends_its_checks_with_the_cause(start: Callable[..., Started]) -> None:
    run = start("dies-when-asked", "--checks-at-once", "1")
    out = run.wait()
    assert run.process.returncode == 1
    result = run.result()
    states = {case.id: case.state for case in result.cases}
    assert State.PASS in states.values(), "what came before is kept"
    assert set(states.values()) & {State.ERROR, State.BLOCKED}
    assert State.NOT_RUN not in states.values()
    told = " ".join(case.reason for case in result.cases)
    assert "the server has ended" in told
    assert "memory" in told
    assert "Traceback" not in out


def test_a_server_that_hangs_is_ended_and_its_checks_do_not_wait_for_their_time_out(
    start: Callable[..., Started],
) -> None:
    run = start("hangs-when-asked", "--hung-after", "4")
    started = time.monotonic()
    run.wait()
    assert time.monotonic() - started < 100, "a check waits 120 s for an answer"
    assert "the server hung" in " ".join(case.reason for case in run.result().cases)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("fault", "phase"),
    [("never-ready", "Loading safetensors"), ("waits", "Application startup complete")],
    ids=["starting", "asking"],
)
def test_a_run_that_is_ended_by_hand_leaves_a_result_and_nothing_else(
    start: Callable[..., Started], fault: str, phase: str, number: signal.Signals
) -> None:
    run = start(fault)
    run.until(lambda: phase in run.logs())
    if fault == "waits":
        time.sleep(1.0)  # into the asking
    run.process.send_signal(number)
    run.wait()
    assert run.process.returncode == 2, "pytest's code for an interruption"
    assert run.left() == []
    result = run.result()
    assert result.ended
    assert any(case.state is State.NOT_RUN for case in result.cases)


def test_a_run_that_is_killed_leaves_what_it_had_and_nothing_else(start: Callable[..., Started]) -> None:
    run = start("waits", "--checks-at-once", "1")
    run.until(lambda: '"API-01.' in "".join(path.read_text() for path in run.place.glob("runs/fake/*.part.jsonl")))
    run.until(lambda: "Application startup complete" in run.logs())
    run.process.kill()
    run.wait()
    assert run.left() == []
    recover(run.place / "runs")
    result = run.result()
    assert result.ended == ""
    assert {case.state for case in result.cases if case.id == "TC-01.single"} == {State.NOT_RUN}


def test_workers_of_xdist_have_an_entry_each(start: Callable[..., Started]) -> None:
    run = start("dies-when-asked", "-n", "2", "--dist", "loadgroup", "-v", "--profile", "API-01", names=("one", "two"))
    out = run.wait()
    by_entry = {
        name: {line[:5] for line in out.splitlines() if f"test_check[{name}-" in line and line.startswith("[gw")}
        for name in ("one", "two")
    }
    assert sorted(len(workers) for workers in by_entry.values()) == [1, 1], out
    assert by_entry["one"] != by_entry["two"]
    assert len(list(run.place.glob("runs/one/*.json"))) == 1, "one start per entry"
