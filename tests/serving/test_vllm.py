"""The real vLLM, its CPU build, with the tiny checkpoint. Three boots in all: each takes a minute on two cores."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from qcmatrix.matrix.entries import Entry, Expectation
from qcmatrix.serving.command import served_name
from qcmatrix.serving.refusal import expect_refusal
from qcmatrix.serving.server import Patience, Server, start_server

pytestmark = [pytest.mark.probe, pytest.mark.usefixtures("nothing_left")]

LAUNCH = (
    "VLLM_CPU_KVCACHE_SPACE=1 vllm serve tiny --served-model-name qwen3-coder-tiny --enforce-eager "
    "--gpu-memory-utilization 0.1 --max-num-seqs 8 --host 0.0.0.0 --port 8000 --api-key sk-of-the-document"
)
BOOT = Patience(boot=1500.0, silence=600.0, hung=60.0)
"""Other work on the machine makes a boot ten times as long."""


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, real_entry: Callable[..., Entry], told: list[str]
) -> Iterator[Server]:
    entry = real_entry(f"{LAUNCH} --max-model-len 4096", id="tiny-0.32")
    made = start_server(entry, directory=tmp_path_factory.mktemp("logs"), progress=told.append, patience=BOOT)
    yield made
    made.stop()


def ask(
    server: Server, path: str, body: dict[str, object] | None = None, key: str = ""
) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.command.port, timeout=300)
    try:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read() or b"{}")
    finally:
        connection.close()


def test_it_serves_what_the_entry_asks_for(server: Server, told: list[str]) -> None:
    status, models = ask(server, "/v1/models", key=server.api_key)
    assert status == 200
    (model,) = models["data"]  # type: ignore[misc]
    assert (model["id"], model["max_model_len"]) == ("qwen3-coder-tiny", 4096)
    assert ask(server, "/v1/models")[0] == 401
    assert ask(server, "/v1/models", key="sk-of-the-document")[0] == 401
    assert ask(server, "/version")[1]["version"].startswith("0.32.0")  # type: ignore[attr-defined]
    body = {"model": "qwen3-coder-tiny", "prompt": "def f(", "max_tokens": 4}
    assert ask(server, "/v1/completions", body, server.api_key)[0] == 200
    assert any(text.startswith("reading the configuration") for text in told)


def test_the_checkpoint_says_what_every_release_reads(server: Server) -> None:
    config = json.loads((Path(server.argv[2]) / "config.json").read_text(encoding="utf-8"))
    assert config["num_experts"] == config["num_local_experts"] == 8
    assert config["rope_theta"] == 10_000_000.0


def test_what_its_log_measured(server: Server) -> None:
    # 2 layers x (K and V) x 2 heads x 32 x 2 bytes are 512 bytes a token: 1 GiB holds 2,097,152 of them.
    assert server.measured["kv_cache_tokens"] == 2_097_152
    assert server.measured["available_kv_gib"] == 1.0
    assert server.measured["max_concurrency"] == 512.0
    assert server.boot_seconds is not None
    assert server.release == "0.32.0"


def test_no_key_is_told(server: Server) -> None:
    text = server.log.read_text(encoding="utf-8", errors="replace")
    shown = " ".join((*server.argv, *server.masked_argv, *server.masked_env.values(), text))
    assert server.api_key not in shown
    assert "sk-of-the-document" not in shown
    assert server.masked_env["VLLM_API_KEY"] == "***"


def test_its_engine_is_killed(server: Server) -> None:
    """The last one of this server: vLLM sees that its engine is gone, ends, and that is told."""
    assert server.pid is not None
    tree = psutil.Process(server.pid).children(recursive=True)
    (engine,) = [process for process in tree if "EngineCore" in process.name() or "EngineCor" in process.name()]
    engine.kill()
    end = time.monotonic() + 120.0
    while not server.trouble and time.monotonic() < end:
        time.sleep(0.1)
    assert server.trouble
    assert server.stop() == ""
    assert not [process for process in tree if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_context_beyond_the_native_one_is_refused(tmp_path: Path, real_entry: Callable[..., Entry]) -> None:
    words = "User-specified max_model_len (100000) is greater than the derived max_model_len"
    entry = real_entry(
        f"{LAUNCH} --max-model-len 100000", id="tiny-too-long", expect=Expectation(verdict="refused", error=words)
    )
    refused = expect_refusal(entry, directory=tmp_path, patience=BOOT)
    assert words in refused.words
    assert refused.rule == "context-over-native-without-yarn"
    assert served_name(entry) == "qwen3-coder-tiny"


def test_we_are_killed_while_the_real_one_starts(tmp_path: Path) -> None:
    code = (
        "import sys, datetime; from pathlib import Path\n"
        "from qcmatrix.matrix.entries import Entry, Expectation\n"
        "from qcmatrix.serving.server import start_server\n"
        f"entry = Entry(id='t', fleet='cpu', vllm='0.32.0', command={LAUNCH!r}, source='https://example.org',\n"
        "    read=datetime.date(2026, 11, 22), expect=Expectation(verdict='starts'))\n"
        f"start_server(entry, directory=Path({str(tmp_path)!r}), progress=lambda text: print(text, flush=True))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        for line in parent.stdout:
            if line.startswith(("starting the ranks", "loading the weights")):  # the engine's processes are there
                break
        else:
            raise AssertionError("it did not get so far")
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert (tmp_path / "server.log").stat().st_size > 0
