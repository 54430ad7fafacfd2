"""The tiny checkpoint is made once, whole or not at all. (That vLLM serves it: see test_vllm.py.)"""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from qcmatrix.probe.environments import EnvironmentProblem
from qcmatrix.serving.tiny import ensure_tiny


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def maker(directory: Path, line: str, release: str = "0.32.0") -> SimpleNamespace:
    """An interpreter that is given ``-B make.py DIRECTORY ...`` and does something simpler."""
    program = directory / f"python-{release}"
    program.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    program.chmod(0o755)
    return SimpleNamespace(python=program, release=release)


def test_it_is_made_once_for_a_release(cache: Path) -> None:
    line = f'echo once >> {cache}/made; sleep 0.5; touch "$3/config.json"'
    environment, other = maker(cache, line), maker(cache, line, "0.29.0")
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(ensure_tiny(environment))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert (found[0] / "config.json").exists()
    assert ensure_tiny(other) != found[0]
    assert (cache / "made").read_text(encoding="utf-8").split() == ["once", "once"]


def test_a_failure_leaves_nothing_behind(cache: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"for vLLM 0\.32\.0 cannot be made") as caught:
        ensure_tiny(maker(cache, 'touch "$3/half"; echo no torch here; exit 1'))
    assert caught.value.notes == ("no torch here",)
    assert [path for path in (cache / "cache" / "tiny").iterdir() if path.is_dir()] == []
