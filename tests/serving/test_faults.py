"""Servers that fail in every phase: seen at once, told clearly, and nothing is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import psutil
import pytest

from qcmatrix.matrix.entries import Entry, Expectation
from qcmatrix.serving import server as server_module
from qcmatrix.serving.health import answers
from qcmatrix.serving.refusal import NotRefused, expect_refusal
from qcmatrix.serving.server import BootFailed, Patience, Server, start_server

pytestmark = pytest.mark.usefixtures("nothing_left")

Start = Callable[..., Server]
LONG = 50.0
"""Far below every time-out that would end the test otherwise, far above what a busy machine needs."""


@pytest.fixture
def start(fake_vllm: Path, tmp_path: Path, quick: Patience, make_entry: Callable[..., Entry]) -> Start:
    def started(fault: str = "", *, progress: Callable[[str], None] = lambda _: None, **limits: float) -> Server:
        entry = make_entry(f"FAKE={fault} vllm serve some/model --port 8000 --api-key sk-of-the-document")
        return start_server(
            entry,
            vllm_python=fake_vllm,
            directory=tmp_path / "logs",
            patience=msgspec.structs.replace(quick, **limits),
            progress=progress,
        )

    return started


def get(server: Server, path: str, key: str | None = None) -> int | None:
    return answers(server.command.port, path, key=key, timeout=60.0)


def soon(holds: Callable[[], object], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


# --- a start that succeeds --------------------------------------------------------------------------------------------


def test_a_server_starts_and_ends(start: Start) -> None:
    told: list[str] = []
    with start(progress=told.append) as server:
        assert server.pid is not None
        assert psutil.pid_exists(server.pid)
        assert server.trouble == ""
        assert server.alive
        assert server.measured["kv_cache_tokens"] == 2_097_152
        assert server.measured["max_concurrency"] == 256.0
        assert server.boot_seconds is not None
        assert get(server, "/v1/models", server.api_key) == 200
        assert get(server, "/v1/models") == 401
        assert any("CPU build" in text or "vLLM 0.32.0" in text for text in told)
    assert not psutil.pid_exists(server.pid)
    assert server.left == ""
    assert server.killed == ()
    assert server.trouble == ""
    assert "Application startup complete" in server.log.read_text(encoding="utf-8")
    assert server.stop() == ""


def test_the_key_is_on_no_command_line(start: Start) -> None:
    with start() as server:
        shown = " ".join(server.argv) + " ".join(server.masked_argv) + str(server.masked_env)
        processes = [psutil.Process(server.pid), psutil.Process(server.pid).parent()]
        shown += " ".join(word for process in processes if process for word in process.cmdline())
        assert server.api_key not in shown
        assert "sk-of-the-document" not in shown
        assert server.env["VLLM_API_KEY"] == server.api_key
        assert server.masked_env["VLLM_API_KEY"] == "***"
        assert server.api_key not in server.log.read_text(encoding="utf-8")


def test_several_at_once_have_their_own_ports(start: Start) -> None:
    with start() as one, start() as other:
        assert one.root != other.root
        assert one.log != other.log
        assert get(one, "/v1/models", other.api_key) == 401


# --- starts that fail -------------------------------------------------------------------------------------------------


def test_it_dies_while_starting(start: Start) -> None:
    began = time.monotonic()
    with pytest.raises(BootFailed) as caught:
        start("dies")
    failed = caught.value
    assert time.monotonic() - began < LONG
    assert failed.ending == "exited"
    assert failed.code == 1
    assert "out of memory" in failed.words
    assert "memory" in failed.cause
    assert failed.fingerprint is not None
    assert str(failed.log) in failed.notes[-1]
    assert failed.log.exists()


def test_it_dies_without_a_word(start: Start) -> None:
    with pytest.raises(BootFailed) as caught:
        start("unknown-end")
    assert "exit code 3" in caught.value.cause
    assert caught.value.rule is None


def test_it_says_that_it_failed_and_goes_on(start: Start) -> None:
    with pytest.raises(BootFailed) as caught:
        start("hangs-on")
    assert caught.value.ending == "hangs"
    assert caught.value.code is None
    assert caught.value.seconds < LONG


def test_it_does_nothing(start: Start) -> None:
    with pytest.raises(BootFailed) as caught:
        start("silent", silence=7.0)
    assert caught.value.ending == "silent"
    assert "did nothing for 7 s" in caught.value.cause


def test_it_is_never_ready(start: Start) -> None:
    with pytest.raises(BootFailed) as caught:
        start("never-ready", boot=4.0, silence=3.0)
    assert caught.value.ending == "late"
    assert "loading the weights" in caught.value.cause


def test_health_is_not_enough_where_it_says_503(start: Start) -> None:
    with pytest.raises(BootFailed) as caught:
        start("unhealthy", boot=4.0)
    assert caught.value.ending == "late"


def test_the_program_is_not_there(
    tmp_path: Path, quick: Patience, make_entry: Callable[..., Entry], fake_vllm: Path
) -> None:
    (fake_vllm / "bin" / "vllm").write_text("#!/no/such/interpreter\n", encoding="utf-8")
    with pytest.raises(BootFailed) as caught:
        start_server(make_entry("vllm serve x"), vllm_python=fake_vllm, directory=tmp_path, patience=quick)
    assert caught.value.ending == "not-run"
    assert "No such file" in caught.value.cause


# --- the port ---------------------------------------------------------------------------------------------------------


def test_a_port_that_was_taken_meanwhile_is_given_up(
    tmp_path: Path, quick: Patience, make_entry: Callable[..., Entry], fake_vllm: Path
) -> None:
    told: list[str] = []
    entry = make_entry(f"FAKE=port-taken-once FAKE_MARKER={tmp_path / 'marker'} vllm serve x")
    with start_server(entry, vllm_python=fake_vllm, directory=tmp_path, patience=quick, progress=told.append) as server:
        assert server.log.name == "server-2.log"
        assert (tmp_path / "server.log").exists()
        assert [text for text in told if "taken meanwhile" in text]


def test_three_ports_are_tried(start: Start, tmp_path: Path) -> None:
    with pytest.raises(BootFailed) as caught:
        start("port-always-taken")
    assert caught.value.fingerprint == "port-in-use"
    assert len(list((tmp_path / "logs").glob("*.log"))) == 3


def test_another_server_on_the_port_is_not_taken_for_ours(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    stranger = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=stranger.serve_forever)
    thread.start()

    class Taken:
        number = stranger.server_address[1]

        def release(self) -> None:
            pass

    monkeypatch.setattr(server_module, "HeldPort", Taken)
    try:
        with pytest.raises(BootFailed) as caught:
            start("never-ready")
        assert caught.value.ending == "stranger"
        assert str(Taken.number) in caught.value.cause
    finally:
        stranger.shutdown()
        stranger.server_close()
        thread.join()


# --- once it is ready -------------------------------------------------------------------------------------------------


def test_it_dies_while_serving(start: Start) -> None:
    with start() as server:
        began = time.monotonic()
        assert get(server, "/die") is None
        assert server.what_happened()
        assert time.monotonic() - began < LONG
        assert soon(lambda: "out of memory" in server.trouble or "memory" in server.trouble)
        assert "exit code 1" in server.trouble
        assert not server.alive


def test_it_is_killed_while_serving(start: Start) -> None:
    with start() as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert soon(lambda: server.trouble)
        assert "SIGKILL" in server.trouble


def test_one_that_hangs_is_ended_and_its_clients_hear_of_it(start: Start) -> None:
    with start() as server:
        heard: list[int | None] = []

        def ask() -> None:
            heard.append(answers(server.command.port, "/wait", timeout=300.0))

        client = threading.Thread(target=ask)
        client.start()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        began = time.monotonic()
        client.join(timeout=LONG)
        assert not client.is_alive()
        assert time.monotonic() - began < LONG
        assert heard == [None]
        assert soon(lambda: "hung" in server.trouble)
        assert not server.alive


def test_a_busy_server_is_not_taken_for_a_hung_one(start: Start) -> None:
    with start() as server:
        assert server.what_happened(seconds=4.0) == ""
        assert server.trouble == ""


# --- the end ----------------------------------------------------------------------------------------------------------


def test_one_that_ignores_sigterm_is_killed(start: Start) -> None:
    server = start("ignores-sigterm")
    assert server.stop() == ""
    assert server.killed
    assert server.trouble == ""


def test_a_stopped_process_is_ended(start: Start) -> None:
    server = start(hung=60.0)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    assert server.stop() == ""


def test_a_grandchild_in_its_own_session_is_ended(start: Start) -> None:
    server = start("grandchild")
    assert server.pid is not None
    children = psutil.Process(server.pid).children(recursive=True)
    assert len(children) == 1
    assert os.getsid(children[0].pid) != os.getsid(server.pid)
    assert server.stop() == ""
    assert len(server.killed) == 1
    assert not psutil.pid_exists(children[0].pid)


def test_what_a_dead_server_leaves_behind_is_ended(start: Start) -> None:
    server = start("grandchild")
    assert server.pid is not None
    (child,) = psutil.Process(server.pid).children(recursive=True)
    os.kill(server.pid, signal.SIGKILL)
    assert soon(lambda: server.trouble)
    assert server.stop() == ""
    assert not psutil.pid_exists(child.pid)


def test_the_guard_is_killed(start: Start) -> None:
    server = start("grandchild")
    assert server.pid is not None
    guard = psutil.Process(server.pid).parent()
    assert guard is not None
    guard.kill()
    assert soon(lambda: server.trouble)
    assert server.stop() == ""


# --- the disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_no_space_for_the_log(
    tmp_path: Path, quick: Patience, make_entry: Callable[..., Entry], fake_vllm: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.decode()}")
    try:
        with pytest.raises(BootFailed) as caught:
            start_server(
                make_entry("FAKE=fills-disk vllm serve x"), vllm_python=fake_vllm, directory=disk, patience=quick
            )
        assert caught.value.ending == "disk"
        assert "no space left" in caught.value.cause
        assert caught.value.seconds < LONG
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# --- entries that must fail -------------------------------------------------------------------------------------------


def refusing(make_entry: Callable[..., Entry], fault: str, error: str) -> Entry:
    return make_entry(f"FAKE={fault} vllm serve x", expect=Expectation(verdict="refused", error=error))


@pytest.mark.parametrize("error", ["weight = 320 is not divisible by weight quantization block_n = 128.", ""])
def test_a_refusal_is_a_success(
    tmp_path: Path, quick: Patience, make_entry: Callable[..., Entry], fake_vllm: Path, error: str
) -> None:
    entry = refusing(make_entry, "refuses", error)
    refused = expect_refusal(entry, vllm_python=fake_vllm, directory=tmp_path, patience=quick)
    assert error in refused.words
    assert refused.log.exists()


@pytest.mark.parametrize(
    ("fault", "error", "observed"),
    [
        ("", "is not divisible by", "it started in"),
        ("dies", "is not divisible by", "other words"),
        ("silent", "is not divisible by", "did not"),
        ("dies", "", "another reason"),  # out of memory is no refusal of the configuration
        ("unknown-end", "", "another reason"),
    ],
)
def test_what_is_no_refusal(
    tmp_path: Path,
    quick: Patience,
    make_entry: Callable[..., Entry],
    fake_vllm: Path,
    fault: str,
    error: str,
    observed: str,
) -> None:
    entry = refusing(make_entry, fault, error)
    with pytest.raises(NotRefused, match=observed):
        expect_refusal(
            entry,
            vllm_python=fake_vllm,
            directory=tmp_path,
            patience=msgspec.structs.replace(quick, silence=6.0),
        )
