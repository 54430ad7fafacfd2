"""Which vLLM serves an entry, and what is said where none does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qcmatrix.matrix.entries import Entry
from qcmatrix.serving.installation import installation_for, vllm_version
from qcmatrix.serving.problems import CannotPlace


def python_with(directory: Path, line: str) -> Path:
    program = directory / "python"
    program.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def test_the_release_must_be_the_entrys(make_entry: Callable[..., Entry], tmp_path: Path) -> None:
    python = python_with(tmp_path, "echo vllm 0.25.1+cu128")
    entry = make_entry("vllm serve org/m", fleet="8xH200", vllm="0.33.0")
    with pytest.raises(CannotPlace, match=r"wants vLLM 0\.33\.0, and the one of .* is 0\.25\.1") as caught:
        installation_for(entry, vllm_python=python)
    assert "--any-release" in caught.value.notes[0]
    found = installation_for(entry, vllm_python=python, any_release=True)
    assert (found.release, found.python) == ("0.25.1", python)
    same = make_entry("vllm serve org/m", fleet="8xH200", vllm="0.25.1")
    assert installation_for(same, vllm_python=python).release == "0.25.1"


def test_without_vllm(make_entry: Callable[..., Entry], tmp_path: Path) -> None:
    entry = make_entry("vllm serve org/m", fleet="8xH200", vllm="0.33.0")
    assert vllm_version(Path(sys.executable)) is None  # the tests' own environment has none
    with pytest.raises(CannotPlace, match="none is installed"):
        installation_for(entry)
    with pytest.raises(CannotPlace, match="cannot be run"):
        installation_for(entry, vllm_python=tmp_path / "no-such-python")


def test_a_cpu_build_serves_no_gpu_entry(make_entry: Callable[..., Entry], fake_vllm: Path) -> None:
    with pytest.raises(CannotPlace, match="is a CPU build"):
        installation_for(make_entry("vllm serve org/m", fleet="8xH200"), vllm_python=fake_vllm)


def test_a_cpu_entry_takes_a_cpu_build_that_is_named(make_entry: Callable[..., Entry], fake_vllm: Path) -> None:
    found = installation_for(make_entry("vllm serve tiny"), vllm_python=fake_vllm)
    assert found.python == fake_vllm / "bin" / "python"
    assert found.release == "0.32.0"
