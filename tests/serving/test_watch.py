"""When a start is given up: decided from what is seen, with times that are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qcmatrix.serving.guard import Process, descendants
from qcmatrix.serving.watch import Activity, LogTail, Patience, Room, StartWatch

PATIENCE = Patience(boot=1000.0, silence=100.0, dead=20.0, failing=50.0)
DEAD = (
    "(API pid=1) ERROR 11-28 02:51:51 [c.py:1] RuntimeError: Engine core initialization failed. See root cause above."
)
OOM = (
    "(Worker pid=2) ERROR 11-28 02:51:51 [w.py:1] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 5 GiB."
)
LOADING = "(Worker pid=2) INFO 11-28 02:51:51 [x.py:1] Starting to load model x..."
READING = "(APIServer pid=1) INFO 11-28 02:51:51 [x.py:1] Resolved architecture: Qwen3MoeForCausalLM"
PLAIN = "(Worker pid=2) INFO 11-28 02:51:51 [x.py:1] something"


def ending(watch: StartWatch, now: float) -> str | None:
    verdict = watch.verdict(now)
    return None if verdict is None else verdict[0]


def test_one_that_said_that_its_engine_is_dead() -> None:
    watch = StartWatch(PATIENCE, 0.0)
    watch.lines(1.0, [LOADING, DEAD])
    watch.lines(20.0, [PLAIN])
    assert ending(watch, 20.5) is None
    assert ending(watch, 21.5) == "hangs"
    watch.lines(22.0, [READING])  # it went on after all
    assert ending(watch, 60.0) is None


def test_one_that_told_of_an_error_and_does_nothing() -> None:
    watch = StartWatch(PATIENCE, 0.0)
    watch.lines(1.0, [OOM])
    watch.lines(40.0, [PLAIN])
    assert ending(watch, 80.0) is None  # it still speaks
    assert ending(watch, 91.0) == "hangs"


def test_what_a_library_complains_of_is_borne_while_there_is_work() -> None:
    watch = StartWatch(PATIENCE, 0.0)
    watch.lines(1.0, [LOADING, "ERROR 11-28 02:51:51 [x.py:1] ImportError: No module named 'deep_gemm'"])
    for second in range(2, 120):
        watch.worked(float(second))
    assert ending(watch, 121.0) is None
    for second in range(121, 400):
        watch.worked(float(second))
    assert ending(watch, 400.0) == "hangs"  # ranks that wait for each other spin


def test_a_connection_that_is_tried_again_is_no_end() -> None:
    watch = StartWatch(PATIENCE, 0.0)
    watch.lines(1.0, [LOADING, "ConnectionError(ProtocolError('Connection reset by peer')), retrying"])
    watch.worked(60.0)
    assert ending(watch, 61.0) is None


def test_an_error_that_did_not_stop_it() -> None:
    watch = StartWatch(PATIENCE, 0.0)
    watch.lines(1.0, [READING, OOM])
    watch.lines(2.0, [LOADING])
    assert ending(watch, 90.0) is None
    assert watch.stage == "loading the weights"


def test_work_without_a_word_is_no_silence() -> None:
    watch = StartWatch(PATIENCE, 0.0)
    watch.lines(1.0, [LOADING])
    watch.worked(90.0)
    assert ending(watch, 150.0) is None
    assert ending(watch, 191.0) == "silent"


def test_nothing_goes_on_for_ever() -> None:
    watch = StartWatch(PATIENCE, 0.0)
    watch.lines(990.0, [PLAIN])
    assert ending(watch, 999.0) is None
    assert ending(watch, 1001.0) == "late"


def test_work_is_told_by_processor_time() -> None:
    activity = Activity(0.0)
    ticks = os.sysconf("SC_CLK_TCK")
    idle = [Process(1 << 30, 1, "x", "S", 1)]
    busy = [Process(1 << 30, 1, "x", "R", ticks)]
    assert not activity.busy(1.0, lambda: busy)  # too early to tell
    assert not activity.busy(6.0, lambda: idle)
    assert activity.busy(12.0, lambda: busy)
    assert not activity.busy(18.0, lambda: busy)  # no more of it


def test_a_tree_is_found_and_the_dead_are_left_out() -> None:
    table = [
        Process(2, 1, "guard", "S", 0),
        Process(3, 2, "vllm", "S", 0),
        Process(4, 3, "engine", "Z", 0),
        Process(5, 4, "worker", "R", 0),
        Process(6, 1, "other", "R", 0),
    ]
    assert [each.name for each in descendants(2, table)] == ["vllm", "worker"]


def test_lines_come_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = LogTail(path)
    assert tail.read() == []
    with path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert tail.read() == ["one"]
        file.write(b"o\r10%\r20%\n\xff\n")
        assert tail.read() == ["two", "10%", "20%", "\ufffd"]
    assert tail.bytes == path.stat().st_size


def test_where_there_is_room_and_where_not(tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert room.why_not(0.0, 0) == ""
    assert room.why_not(1000.0, 0) == ""  # tried, because the log is silent
    assert list(tmp_path.iterdir()) == []
    gone = Room(tmp_path / "gone")
    assert "cannot be written" in gone.why_not(0.0, 0)


@pytest.mark.parametrize("line", [DEAD, OOM, LOADING, READING, PLAIN, "", "\x00"])
def test_any_line_is_taken(line: str) -> None:
    watch = StartWatch(PATIENCE, 0.0)
    watch.lines(1.0, [line])
    assert ending(watch, 2.0) is None
