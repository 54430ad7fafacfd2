"""A worker process and what can happen to it. The worker is the real one; vLLM and torch are stand-ins."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qcmatrix.probe.session import WORKER, Session, SessionError

NAUGHTY = Path(__file__).parent / "naughty.py"
FAKE = {"torch": '__version__ = "2.13.0+cpu"\n', "vllm": '__version__ = "0.32.0"\nprint("vLLM was here")\n'}


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """The real worker with one handler more."""
    copy = tmp_path / "worker"
    shutil.copytree(WORKER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(NAUGHTY, copy)
    return copy


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """What the worker finds as vLLM and torch."""
    root = tmp_path / "packages"
    for name, text in FAKE.items():
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path / "cache"))


Make = Callable[..., Session]


@pytest.fixture
def make(worker: Path, packages: Path, cache: None) -> Make:
    def made(**more: object) -> Session:
        env = {"PYTHONPATH": str(packages)}
        return Session(Path(sys.executable), env=env, worker=worker, **more)  # type: ignore[arg-type]

    return made


@pytest.fixture
def session(make: Make) -> Iterator[Session]:
    with make() as session:
        yield session


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return true()


def test_says_who_answers(session: Session) -> None:
    assert session.hello.vllm == "0.32.0"
    assert session.hello.torch == "2.13.0+cpu"
    assert session.hello.python.count(".") == 2


def test_answers(session: Session) -> None:
    reply = session.ask("naughty", do="answer", said="Grüße")
    assert reply.answer is not None
    assert reply.answer["you"] == "Grüße"
    assert (reply.error, reply.not_askable) == (None, None)


def test_what_is_printed_stays_out_of_the_answers(session: Session) -> None:
    assert session.ask("naughty", do="print").answer == {}
    assert session.ask("naughty", do="answer").answer is not None


def test_nobody_else_reads_the_questions(session: Session) -> None:
    assert session.ask("naughty", do="read").answer == {"read": "", "child": 0}
    assert session.ask("naughty", do="answer").answer is not None


@pytest.mark.parametrize(
    ("do", "kind", "text"),
    [
        ("raise", "LookupError", "the words of the error"),
        ("leave", "SystemExit", "usage: ..."),
        ("not-a-number", "ValueError", "JSON"),
        ("no-json", "TypeError", "JSON"),
    ],
)
def test_an_exception_is_a_reply_and_not_the_end(session: Session, do: str, kind: str, text: str) -> None:
    before = session.pid
    reply = session.ask("naughty", do=do)
    assert reply.answer is None
    assert reply.error is not None
    assert reply.error.type == kind
    assert text in reply.error.text
    assert session.ask("naughty", do="answer").answer is not None
    assert session.pid == before


def test_not_askable(session: Session) -> None:
    reply = session.ask("naughty", do="not-askable")
    assert (reply.answer, reply.error, reply.not_askable) == (None, None, "needs a GPU")


@pytest.mark.parametrize("kind", ["nonsense", "loop", "../naughty", "os", "__main__", ""])
def test_a_kind_that_there_is_not(session: Session, kind: str) -> None:
    reply = session.ask(kind)
    assert reply.error is not None
    assert kind in reply.error.text


@pytest.mark.parametrize(
    ("do", "ended"), [("kill", "signal SIGKILL"), ("exit", "exit code 3"), ("segfault", "signal SIGSEGV")]
)
def test_a_crash_costs_one_question(session: Session, do: str, ended: str) -> None:
    session.configs({"NAME": {"num_hidden_layers": 1}})
    reply = session.ask("naughty", do=do)
    assert reply.error is not None
    assert reply.error.type == "WorkerCrashed"
    assert ended in reply.error.text
    if do == "segfault":
        assert any("Segmentation fault" in line for line in reply.error.last_words)
    assert session.ask("naughty", do="answer").answer is not None


def test_a_new_worker_gets_the_configs_again(session: Session, worker: Path) -> None:
    (worker / "known.py").write_text(
        "from qcmatrix_worker.configs import config\nHANDLERS = {'known': lambda q: config(q['name'])}\n",
        encoding="utf-8",
    )
    session.configs({"A": {"a": 1}})
    session.ask("naughty", do="kill")
    session.configs({"B": {"b": 2}})
    session.ask("naughty", do="kill")
    assert session.ask("known", name="A").answer == {"a": 1}
    assert session.ask("known", name="B").answer == {"b": 2}


def test_a_time_limit(session: Session) -> None:
    started = time.monotonic()
    reply = session.ask("naughty", do="hang", timeout=0.5)
    assert time.monotonic() - started < 5
    assert reply.error is not None
    assert (reply.error.type, reply.error.text) == ("TimedOut", "no answer within 0.5 s")
    assert session.ask("naughty", do="answer").answer is not None


def test_what_a_worker_started_ends_with_it(session: Session, tmp_path: Path) -> None:
    session.ask("naughty", do="hang", child=str(tmp_path / "child"), timeout=2.0)
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    assert wait_until(lambda: not is_alive(child))


def test_killed_from_outside_in_the_middle_of_a_question(session: Session) -> None:
    pid = session.pid
    assert pid is not None
    timer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    timer.start()
    reply = session.ask("naughty", do="hang")
    timer.join()
    assert reply.error is not None
    assert reply.error.type == "WorkerCrashed"
    assert session.ask("naughty", do="answer").answer is not None


def test_killed_between_two_questions_is_not_the_next_ones_fault(session: Session) -> None:
    assert session.pid is not None
    os.kill(session.pid, signal.SIGKILL)
    time.sleep(0.3)
    assert session.ask("naughty", do="answer").answer is not None


def test_many_questions_come_back_in_order(session: Session) -> None:
    questions = ({"ask": "naughty", "do": "answer", "said": number} for number in range(200))
    assert [reply.answer and reply.answer["you"] for reply in session.ask_many(questions)] == list(range(200))


def test_many_questions_lose_only_the_bad_ones(session: Session) -> None:
    bad = {7: "kill", 8: "hang", 30: "raise", 31: "segfault"}
    questions = ({"ask": "naughty", "do": bad.get(number, "answer"), "said": number} for number in range(60))
    replies = list(session.ask_many(questions, timeout=1.0))
    for number, reply in enumerate(replies):
        if number in bad:
            assert reply.error is not None
        else:
            assert reply.answer is not None
            assert reply.answer["you"] == number
    assert [replies[number].error.type for number in bad] == [  # type: ignore[union-attr]
        "WorkerCrashed",
        "TimedOut",
        "LookupError",
        "WorkerCrashed",
    ]


def test_a_question_between_many(session: Session) -> None:
    seen = []
    for number, reply in enumerate(
        session.ask_many({"ask": "naughty", "do": "answer", "said": number} for number in range(40))
    ):
        assert reply.answer is not None
        seen.append(reply.answer["you"])
        if number in (3, 30):
            between = session.ask("naughty", do="kill" if number == 30 else "answer", said="between")
            assert (between.answer is not None) is (number == 3)
    assert seen == list(range(40))


def test_many_that_are_not_read_to_the_end(session: Session) -> None:
    replies = session.ask_many({"ask": "naughty", "do": "answer", "said": number} for number in range(40))
    next(replies)
    replies.close()  # type: ignore[attr-defined]
    reply = session.ask("naughty", do="answer", said="after")
    assert reply.answer is not None
    assert reply.answer["you"] == "after"


def test_large_questions_and_answers_block_nothing(session: Session) -> None:
    size = 3_000_000
    questions = ({"ask": "naughty", "do": "big", "size": size, "padding": "y" * size} for _ in range(6))
    for reply in session.ask_many(questions):
        assert reply.answer is not None
        assert len(reply.answer["text"]) == size


def test_our_environment_stays_ours(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VLLM_USE_V1", "PYTHONSTARTUP", "HF_TOKEN"):
        monkeypatch.setenv(name, "1")
    with make() as session:
        answer = session.ask("naughty", do="environment").answer
    assert answer is not None
    assert not {"VLLM_USE_V1", "PYTHONSTARTUP", "HF_TOKEN", "QCMATRIX_WORKER_PARENT"} & set(answer["environment"])
    assert answer["environment"]["HF_HUB_OFFLINE"] == "1"
    assert str(WORKER) not in answer["path"]


def test_leaving_ends_the_worker(make: Make) -> None:
    with make() as session:
        pid = session.pid
    assert pid is not None
    assert wait_until(lambda: not is_alive(pid))


@pytest.mark.parametrize("thread", [False, True], ids=["main thread", "another thread"])
def test_the_worker_does_not_outlive_who_asks(
    thread: bool, worker: Path, packages: Path, tmp_path: Path, cache: None
) -> None:
    program = textwrap.dedent(f"""
        import sys, threading
        from pathlib import Path
        from qcmatrix.probe.session import Session
        session = Session(Path(sys.executable), env={{"PYTHONPATH": {str(packages)!r}}}, worker=Path({str(worker)!r}))
        def work():
            print(session.hello.vllm, session.pid, flush=True)
            session.ask("naughty", do="hang", child={str(tmp_path / "child")!r})
        if {thread}:
            threading.Thread(target=work).start()
        else:
            work()
    """)
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline().split()[1])
        assert wait_until((tmp_path / "child").exists)
        assert is_alive(pid)
        parent.kill()
        parent.wait()
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    assert wait_until(lambda: not is_alive(pid) and not is_alive(child))


@pytest.mark.parametrize(
    ("vllm", "says"),
    [
        ("raise ImportError('cannot import name X from transformers')", "cannot import name X from transformers"),
        ("import sys; sys.exit(4)", "SystemExit"),
        ("import os; os._exit(5)", "exit code 5"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import time; time.sleep(600)", "not imported within 3 s"),
        ("__version__ = 'x'\nthis is no Python", "SyntaxError"),
    ],
)
def test_a_release_whose_import_fails(make: Make, packages: Path, vllm: str, says: str) -> None:
    (packages / "vllm" / "__init__.py").write_text(f"print('so far')\n{vllm}\n", encoding="utf-8")
    session = make(start_timeout=3.0)
    with pytest.raises(SessionError) as caught:
        session.ask("naughty", do="answer")
    assert says in caught.value.what
    if "raise" in vllm:
        assert any(note.endswith(f"line 2: {vllm}") for note in caught.value.notes)
    assert session.pid is None
    # Mended, the same session goes on.
    (packages / "vllm" / "__init__.py").write_text(FAKE["vllm"], encoding="utf-8")
    with session:
        assert session.ask("naughty", do="answer").answer is not None


def test_a_release_that_breaks_while_it_is_asked(session: Session, packages: Path) -> None:
    (packages / "vllm" / "__init__.py").write_text("raise ImportError('gone')", encoding="utf-8")
    questions = ({"ask": "naughty", "do": "kill"} for _ in range(3))
    with pytest.raises(SessionError, match="gone"):
        list(session.ask_many(questions))
    with pytest.raises(SessionError, match="gone"):
        session.ask("naughty", do="answer")


@pytest.mark.parametrize(("name", "says"), [("missing", "no such Python"), ("text", "cannot be run")])
def test_no_python(tmp_path: Path, name: str, says: str, cache: None) -> None:
    (tmp_path / "text").write_text("no program", encoding="utf-8")
    with pytest.raises(SessionError, match=says):
        Session(tmp_path / name).ask("surface")


def test_a_program_that_is_no_python(tmp_path: Path, cache: None) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho hello there\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(SessionError, match="hello there"):
        Session(program).ask("surface")
