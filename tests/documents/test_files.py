"""Files and folders: what kind each is, and those that cannot be read."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from qcmatrix.documents.files import LARGEST_FILE, kind_of, read_text, walk
from qcmatrix.errors import FileProblem

_SPEC = importlib.util.spec_from_file_location("documents_reading", Path(__file__).parent / "reading.py")
assert _SPEC is not None
assert _SPEC.loader is not None
reading = importlib.util.module_from_spec(_SPEC)
sys.modules["documents_reading"] = reading
_SPEC.loader.exec_module(reading)
words = reading.words
written = reading.written


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("a/serve.sh", "", "shell"),
        ("job.sbatch", "", "shell"),
        ("README.md", "", "markdown"),
        ("docs/a.rst", "", "restructuredtext"),
        ("docker-compose.yml", "", "yaml"),
        ("Dockerfile", "", "dockerfile"),
        ("Dockerfile.gpu", "", "dockerfile"),
        ("gpu.Dockerfile", "", "dockerfile"),
        ("vllm@.service", "", "systemd"),
        ("matrix.toml", "", "matrix"),
        ("start", "#!/usr/bin/env bash\n", "shell"),
        ("start", "#!/bin/sh\r\n", "shell"),
        ("unit", "[Unit]\n", "systemd"),
        ("pod", "apiVersion: v1\n", "yaml"),
        ("build", "FROM a\n", "dockerfile"),
        ("notes.txt", "hello\n```\n", "markdown"),
        ("pyproject.toml", "[project]\n", None),
        ("a.py", "print(1)\n", None),
        ("", "", None),
    ],
)
def test_kinds(path: str, text: str, kind: str | None) -> None:
    assert kind_of(path, text) == kind


def test_a_byte_order_mark_hides_nothing() -> None:
    assert words("start", "\ufeff#!/bin/sh\nvllm serve m") == "vllm serve m"
    assert words("a.sh", "\ufeffvllm serve m") == "vllm serve m"
    assert written("a.sh", "\ufeffvllm serve m") == ["vllm", "serve", "m"]
    assert words("Dockerfile", '\ufeffFROM vllm/vllm-openai:v0.33.0\nCMD ["--model", "m"]') == (
        "docker run vllm/vllm-openai:v0.33.0 --model m"
    )


def test_folders_are_searched_and_rubbish_left_out(tmp_path: Path) -> None:
    for name in ("a.sh", "b/c.yaml", "b/d.py", ".git/e.sh", "node_modules/f.sh", "g", "b/config.json"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
    found = [Path(path).relative_to(tmp_path).as_posix() for path, _ in walk([str(tmp_path)])]
    assert found == ["a.sh", "g", "b/c.yaml"]
    also = [Path(path).name for path, _ in walk([str(tmp_path)], also=("config.json",))]
    assert "config.json" in also


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("x")
    path = str(tmp_path / "a.sh")
    assert list(walk([path, path])) == [(path, True)]


def test_all_missing_paths_are_named() -> None:
    with pytest.raises(FileProblem) as problem:
        list(walk(["no-such-a", "no-such-b"]))
    assert "no-such-a" in problem.value.what
    assert "no-such-b" in " ".join(problem.value.notes)


def test_folders_that_lead_back_to_themselves_end(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert sorted(Path(path).name for path, _ in walk([str(tmp_path)])) in (["a.sh"], ["a.sh", "self"])


def problem_of(path: Path) -> str:
    with pytest.raises(FileProblem) as problem:
        read_text(str(path))
    assert "\n" not in problem.value.what
    return problem.value.what


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.sh"
    binary.write_bytes(b"vllm\0serve")
    assert "no text file" in problem_of(binary)
    large = tmp_path / "large.sh"
    with large.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    assert "larger than 10 MB" in problem_of(large)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "loop" in problem_of(loop)
    assert "no regular file" in problem_of(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "no regular file" in problem_of(pipe)
    assert "cannot be read" in problem_of(tmp_path / "gone") or "no regular file" in problem_of(tmp_path / "gone")


def test_bad_utf8_is_told_with_its_line_only_where_it_matters(tmp_path: Path) -> None:
    file = tmp_path / "a.sh"
    file.write_bytes(b"x\nvllm serve caf\xe9\n")
    assert f"{file}:2: not UTF-8" in problem_of(file)
    file.write_bytes(b"x\ncaf\xe9\n")
    assert "caf" in read_text(str(file))


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"")
    assert read_text(str(file)) == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    file = tmp_path / "a.sh"
    file.write_text("x")
    file.chmod(0)
    assert "cannot be read" in problem_of(file)
