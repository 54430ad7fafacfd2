"""Running what a model wrote: right, wrong, endless, greedy, and leaving too early."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from qcmatrix.errors import FileProblem
from qcmatrix.suites.fim.infilling import Task, program_of, read_tasks
from qcmatrix.suites.fim.sandbox import run_program

OWN = Path(__file__).parent / "data" / "infilling.jsonl"


@pytest.mark.parametrize("task", read_tasks(OWN), ids=lambda task: task.task_id)
def test_a_solution_passes_and_nothing_does_not(task: Task) -> None:
    assert run_program(program_of(task, task.canonical_solution)).ok
    wrong = run_program(program_of(task, "None"))
    assert not wrong.ok
    assert wrong.why


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("assert 1 == 2, 'not the same'", "not the same"),
        ("import sys; sys.exit(0)", "left by itself"),
        ("import os; os._exit(0)", "exit status 0"),
        ("def f(:", "SyntaxError"),
        ("x = bytearray(1 << 31)", "MemoryError"),
        ("f = open('big', 'wb')\nfor _ in range(64): f.write(bytes(1 << 20)); f.flush()", ""),
    ],
)
def test_what_does_not_come_to_its_end(program: str, why: str) -> None:
    ran = run_program(program)
    assert not ran.ok
    assert why in ran.why


def test_an_endless_program_is_ended_with_all_that_it_started() -> None:
    started = time.monotonic()
    ran = run_program("import os\nos.fork()\nwhile True: pass", seconds=1.0)
    assert not ran.ok
    assert "1 s" in ran.why or "exit status" in ran.why
    assert time.monotonic() - started < 20


def test_a_program_sees_neither_our_files_nor_our_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    assert run_program("import os\nassert 'API_KEY' not in os.environ\nassert os.listdir('.') == ['stderr']").ok


def test_a_program_has_no_network_where_the_kernel_can_cut_it_off() -> None:
    apart = run_program("import socket\nassert [name for _, name in socket.if_nameindex()] == ['lo']").ok
    if not apart:
        pytest.skip("no network namespaces for us here")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not run_program(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=1)").ok


def test_a_file_that_is_no_data(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"task_id": 1}\n')
    with pytest.raises(FileProblem, match=r"x\.jsonl:1"):
        read_tasks(path)
    path.write_text("\n")
    with pytest.raises(FileProblem, match="no tasks"):
        read_tasks(path)


def test_a_large_file_is_asked_in_part(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(OWN.read_text() * 100)
    assert len(read_tasks(path)) == 164
