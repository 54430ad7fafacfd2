"""How fast `check` goes through a tree of 1,000 files of all kinds. Nothing here asserts a time."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from qcmatrix.cli.check import check_command

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = 1_000
ROUNDS = 3
COMMANDS = re.compile(r"^(\d+) commands in (\d+) files", re.MULTILINE)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus over and over, each copy with other ports, lengths and counts: no two of its commands are the same."""
    root = tmp_path_factory.mktemp("tree")
    files = sorted(path for path in CORPUS.rglob("*") if path.is_file() and path.name != "labels.toml")
    for number in range(FILES):
        copy, source = number // len(files), files[number % len(files)]
        text = source.read_text(encoding="utf-8")
        path = root / f"{number // 50:02}" / source.parent.name / str(number) / source.name
        path.parent.mkdir(parents=True)
        path.write_text(_varied(text, copy), encoding="utf-8")
    return root


def _varied(text: str, copy: int) -> str:
    """Every whole number of four digits and more a little larger."""
    return re.sub(r"(?<![\w.])\d{4,6}(?![\w.])", lambda found: str(int(found[0]) + 16 * copy), text)


@pytest.mark.parametrize("gpus", ["8xH200", ""], ids=["8xH200", "no card named"])
def test_cold_check_process_of_a_tree(benchmark: Any, tree: Path, gpus: str) -> None:
    command = [sys.executable, "-m", "qcmatrix", "check", str(tree), *_given(gpus)]
    before = _processor_time(resource.RUSAGE_CHILDREN)
    run = benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "text": True}, rounds=ROUNDS)
    _noted(benchmark, run.stdout, _processor_time(resource.RUSAGE_CHILDREN) - before)


@pytest.mark.parametrize("gpus", ["8xH200", ""], ids=["8xH200", "no card named"])
def test_check_of_a_tree_in_process(benchmark: Any, tree: Path, gpus: str) -> None:
    arguments = [str(tree), *_given(gpus)]
    before = _processor_time(resource.RUSAGE_SELF)
    result = benchmark.pedantic(
        CliRunner().invoke, (check_command, arguments), {"standalone_mode": False}, rounds=ROUNDS
    )
    assert result.exception is None
    _noted(benchmark, result.stdout, _processor_time(resource.RUSAGE_SELF) - before)


def _given(gpus: str) -> list[str]:
    return ["--vllm", "0.33.0", *(["--gpus", gpus] if gpus else [])]


def _processor_time(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _noted(benchmark: Any, printed: str, seconds: float) -> None:
    """The counts, and the processor time of a round: what else the machine does changes that little."""
    found = COMMANDS.search(printed)
    assert found is not None
    benchmark.extra_info.update(files=FILES, commands=int(found[1]), processor_seconds=round(seconds / ROUNDS, 2))
