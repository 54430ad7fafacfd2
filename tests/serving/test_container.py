"""Entries with an image. No docker is here: a stand-in really starts a process, and kills it by its name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from qcmatrix.matrix.entries import Entry
from qcmatrix.serving import cards as cards_module
from qcmatrix.serving import server as server_module
from qcmatrix.serving.hardware import Card, Hardware
from qcmatrix.serving.installation import installation_for
from qcmatrix.serving.server import CannotPlace, Patience, start_server

FAKE = Path(__file__).parent / "fake_server.py"
ONE = Hardware(
    cards=(Card(index=0, uuid="GPU-0", name="NVIDIA H200", total_gib=140.4, free_gib=140.0, used_gib=0.4, sku="H200"),)
)
CLIENT = f"""#!{sys.executable}
import json, os, signal, sys, time
from pathlib import Path
words, where = sys.argv[1:], Path(__file__).resolve().parent
if words[0] == "kill":
    (where / f"{{words[1]}}.kill").touch()
    sys.exit(0)
name = words[words.index("--name") + 1]
given = [pair for word, pair in zip(words, words[1:]) if word == "-e"]
pairs = [pair if "=" in pair else f"{{pair}}={{os.environ[pair]}}" for pair in given]
env = dict(pair.split("=", 1) for pair in pairs)
request = where / f"{{name}}.tmp"
request.write_text(json.dumps([words[words.index("serve"):], env]))
request.rename(where / f"{{name}}.run")
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # handed on to the container, which is deaf
seen = 0
while True:
    over = (where / f"{{name}}.exit").exists()
    text = (where / f"{{name}}.log").read_text() if (where / f"{{name}}.log").exists() else ""
    sys.stdout.write(text[seen:])
    sys.stdout.flush()
    seen = len(text)
    if over:
        sys.exit(int((where / f"{{name}}.exit").read_text()))
    time.sleep(0.05)
"""


class Engine:
    """Starts and kills what the client asks for: containers are no children of the client's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._over = threading.Event()
        self.containers: dict[str, subprocess.Popen[bytes]] = {}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            for request in self._directory.glob("*.run"):
                words, env = json.loads(request.read_text(encoding="utf-8"))
                request.unlink()
                with (self._directory / f"{request.stem}.log").open("wb") as log:
                    self.containers[request.stem] = subprocess.Popen(
                        [sys.executable, str(FAKE), *words], env=env, stdout=log, stderr=log
                    )
            for name, process in self.containers.items():
                if (self._directory / f"{name}.kill").exists():
                    process.kill()
                ended = self._directory / f"{name}.exit"
                if (code := process.poll()) is not None and not ended.exists():
                    unfinished = self._directory / f"{name}.part"
                    unfinished.write_text(str(code if code >= 0 else 128 - code), encoding="utf-8")
                    unfinished.rename(ended)

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        for process in self.containers.values():
            process.kill()
            process.wait()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    directory = tmp_path / "docker"
    directory.mkdir()
    program = directory / "docker"
    program.write_text(CLIENT, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cards_module, "this_machine", lambda: ONE)
    monkeypatch.setattr(server_module, "this_machine", lambda: ONE)
    engine = Engine(directory)
    yield engine
    engine.end()


def test_a_container_is_killed_by_its_name(
    docker: Engine, tmp_path: Path, quick: Patience, make_entry: Callable[..., Entry]
) -> None:
    entry = make_entry("FAKE=ignores-sigterm vllm serve org/m", fleet="1xH200", image="vllm/vllm-openai:v0.32.0")
    server = start_server(entry, directory=tmp_path / "logs", patience=quick)
    ((name, container),) = docker.containers.items()
    assert name.startswith("qcmatrix-fake-")
    inside = psutil.Process(container.pid).environ()
    assert inside["VLLM_API_KEY"] == server.api_key
    assert inside["FAKE"] == "ignores-sigterm"
    assert server.cards == ONE.cards
    assert server.measured["kv_cache_tokens"] == 2_097_152
    assert server.stop() == ""
    assert container.wait(timeout=20.0) == -signal.SIGKILL


def test_a_container_that_dies(
    docker: Engine, tmp_path: Path, quick: Patience, make_entry: Callable[..., Entry]
) -> None:
    entry = make_entry("vllm serve org/m", fleet="1xH200", image="vllm/vllm-openai:v0.32.0")
    with start_server(entry, directory=tmp_path / "logs", patience=quick) as server:
        (container,) = docker.containers.values()
        container.kill()
        end = time.monotonic() + 20.0
        while not server.trouble and time.monotonic() < end:
            time.sleep(0.05)
        assert "exit code 137" in server.trouble


def test_without_docker(make_entry: Callable[..., Entry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotPlace, match="there is no docker here"):
        installation_for(make_entry("vllm serve org/m", fleet="1xH200", image="x:y"))
