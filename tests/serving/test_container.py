"""Entries with an image. No docker engine is here: a program of that name really starts a process, and kills it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from qcmatrix.matrix.entries import Entry
from qcmatrix.serving import cards as cards_module
from qcmatrix.serving.hardware import Card, Hardware
from qcmatrix.serving.installation import installation_for
from qcmatrix.serving.server import CannotPlace, Patience, start_server

FAKE = Path(__file__).parent / "fake_server.py"
ONE = Hardware(
    cards=(Card(index=0, uuid="GPU-0", name="NVIDIA H200", total_gib=140.4, free_gib=140.0, used_gib=0.4, sku="H200"),)
)
DOCKER = f"""#!{sys.executable}
import os, signal, subprocess, sys
words, where = sys.argv[1:], os.path.dirname(os.path.abspath(__file__))
if words[0] == "kill":
    path = os.path.join(where, words[1])
    if not os.path.exists(path):
        sys.exit("Error response from daemon: No such container")
    with open(path) as file:
        os.kill(int(file.read()), signal.SIGKILL)
    sys.exit(0)
name = words[words.index("--name") + 1]
given = dict(pair.partition("=")[::2] for word, pair in zip(words, words[1:]) if word == "-e" and "=" in pair)
named = [pair for word, pair in zip(words, words[1:]) if word == "-e" and "=" not in pair]
env = {{**{{key: os.environ[key] for key in named}}, **given}}
# What the engine starts is not the client's child: a double fork, with nothing of the guard's about it.
command = [sys.executable, {str(FAKE)!r}, *words[words.index("serve"):]]
if os.fork() == 0:
    os.setsid()
    process = subprocess.Popen(command, env=env)
    with open(os.path.join(where, name), "w") as file:
        file.write(str(process.pid))
    code = process.wait()
    os._exit(code if code >= 0 else 137)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "docker"
    directory.mkdir()
    program = directory / "docker"
    program.write_text(DOCKER, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cards_module, "this_machine", lambda: ONE)
    return directory


def test_a_container_is_killed_by_its_name(
    docker: Path, tmp_path: Path, quick: Patience, make_entry: Callable[..., Entry]
) -> None:
    entry = make_entry("FAKE=ignores-sigterm vllm serve org/m", fleet="1xH200", image="vllm/vllm-openai:v0.32.0")
    server = start_server(entry, directory=tmp_path / "logs", patience=quick)
    (container,) = [path for path in docker.iterdir() if path.name.startswith("qcmatrix-")]
    inside = psutil.Process(int(container.read_text(encoding="utf-8")))
    assert "VLLM_API_KEY" in inside.environ()
    assert "QCMATRIX_SERVER" not in inside.environ()
    assert server.cards == ONE.cards
    server.stop()
    end = time.monotonic() + 20.0
    while inside.is_running() and inside.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.1)
    assert not inside.is_running() or inside.status() == psutil.STATUS_ZOMBIE


def test_a_container_that_dies(docker: Path, tmp_path: Path, quick: Patience, make_entry: Callable[..., Entry]) -> None:
    entry = make_entry("vllm serve org/m", fleet="1xH200", image="vllm/vllm-openai:v0.32.0")
    with start_server(entry, directory=tmp_path / "logs", patience=quick) as server:
        (container,) = [path for path in docker.iterdir() if path.name.startswith("qcmatrix-")]
        os.kill(int(container.read_text(encoding="utf-8")), signal.SIGKILL)
        end = time.monotonic() + 20.0
        while not server.trouble and time.monotonic() < end:
            time.sleep(0.05)
        assert "exit code 137" in server.trouble


def test_without_docker(make_entry: Callable[..., Entry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotPlace, match="there is no docker here"):
        installation_for(make_entry("vllm serve org/m", fleet="1xH200", image="x:y"))
