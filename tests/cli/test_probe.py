"""``qcmatrix probe``: what it says and leaves behind when things go wrong. uv and vLLM are stand-ins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from qcmatrix.errors import ExitCode

FAKE_UV = Path(__file__).parents[1] / "probe" / "fake_uv.py"
PROGRAM = """
import os
from pathlib import Path
from qcmatrix.probe.environments import build
from qcmatrix.probe.environments.uv import Uv
build.find_uv = lambda: Uv(Path(os.environ["UV_PROGRAM"]), dict(os.environ))
from qcmatrix.cli import main
main()
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "uv"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_UV} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "orders").write_text("work", encoding="utf-8")
    return {
        **os.environ,
        "COLUMNS": "80",
        "FAKE_UV": str(tmp_path / "orders"),
        "UV_PROGRAM": str(program),
        "QCMATRIX_CACHE_DIR": str(tmp_path / "cache"),
        "QCMATRIX_DATA_DIR": str(tmp_path / "data"),
    }


def start(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "probe", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(env: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    with start(env, *arguments) as process:
        out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, out, err


def left(tmp_path: Path) -> list[str]:
    root = tmp_path / "cache" / "environments"
    return sorted(path.name for path in root.iterdir() if path.suffix != ".lock") if root.exists() else []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), ExitCode.USAGE, "--vllm"),
        (("--vllm", "0.99.0"), ExitCode.UNKNOWN_NAME, "--python"),
        (("--vllm", "0.32.0+cpu"), ExitCode.UNKNOWN_NAME, "not in the catalogue"),
        (("--vllm", "newest"), ExitCode.USAGE, "newest"),
        (("--vllm", "0.40.0..0.50.0"), ExitCode.UNKNOWN_NAME, "0.40.0..0.50.0"),
        (("--vllm", "0.32.0,"), ExitCode.USAGE, "''"),
        (("--vllm", "0.32.0", "--only", "weihgts"), ExitCode.USAGE, "weihgts"),
        (("--vllm", "0.32.0", "--rule", "fp8-block-cut"), ExitCode.UNKNOWN_NAME, "fp8-block-cut-by-tensor-parallel"),
        (
            ("--vllm", "0.32.0", "--rule", "unknown-flag", "--only", "surface"),
            ExitCode.USAGE,
            "leave one of them out",
        ),
        (("--vllm", "0.32.0", "--draws", "0"), ExitCode.USAGE, "--draws"),
        (("--python", "no/such/python"), ExitCode.BAD_FILE, "no such file"),
        (("--python", sys.executable), ExitCode.ENVIRONMENT, "has no vLLM"),
        (("--remove", "0.32.0"), ExitCode.UNKNOWN_NAME, "--environments"),
    ],
)
def test_bad_input(env: dict[str, str], arguments: tuple[str, ...], code: ExitCode, says: str) -> None:
    done, out, err = run(env, *arguments)
    assert (done, out) == (code, "")
    assert says in err


def test_no_environments_yet(env: dict[str, str]) -> None:
    code, out, _ = run(env, "--environments")
    assert code == ExitCode.OK
    assert out.startswith("no environments in ")
    assert run(env, "--environments", "--json")[:2] == (ExitCode.OK, "[]\n")
    assert run(env, "--remove", "all")[0] == ExitCode.OK


def test_a_release_that_cannot_be_had_does_not_stop_the_others(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "orders").write_text("full", encoding="utf-8")
    code, out, err = run(env, "--vllm", "0.31.0..0.32.0", "--json")
    assert code == ExitCode.ENVIRONMENT
    answer = json.loads(out)
    assert answer["releases"] == []
    assert [problem["release"] for problem in answer["problems"]] == ["0.31.0", "0.32.0"]
    assert "no space left on the disk" in answer["problems"][0]["what"]
    assert "no space left on the disk" in err
    assert left(tmp_path) == []


def test_a_release_whose_import_fails(env: dict[str, str], tmp_path: Path) -> None:
    # What the stand-in installs as vLLM is an empty package, and there is no torch at all.
    code, out, err = run(env, "--vllm", "0.32.0")
    assert code == ExitCode.ENVIRONMENT
    assert "vLLM cannot be imported" in err
    assert "1 release could not be asked: 0.32.0" in out
    (name,) = left(tmp_path)
    assert name.startswith("0.32.0-")
    assert not (tmp_path / "data").exists()
    code, out, _ = run(env, "--environments")
    assert "0.32.0" in out
    code, out, _ = run(env, "--remove", "0.30.0..0.33.0")
    assert out.startswith("removed: vLLM 0.32.0")
    assert left(tmp_path) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(env: dict[str, str], tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "orders").write_text("hang", encoding="utf-8")
    process = start(env, "--vllm", "0.32.0")
    installer = tmp_path / "orders.pid"
    for _ in range(600):
        if installer.exists():
            break
        time.sleep(0.05)
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert out == ""
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert left(tmp_path) == []


def test_an_environment_of_ones_own_that_is_broken(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine" / "vllm").mkdir(parents=True)
    (tmp_path / "mine" / "vllm" / "__init__.py").write_text("raise ImportError('half a merge')", encoding="utf-8")
    code, out, err = run({**env, "PYTHONPATH": str(tmp_path / "mine")}, "--python", sys.executable)
    assert (code, out) == (ExitCode.ENVIRONMENT, "")
    assert "vLLM cannot be imported" in err


def test_steps_are_lines_where_there_is_no_terminal() -> None:
    code = textwrap.dedent("""
        from qcmatrix.cli.steps import steps
        with steps("vLLM 0.32.0") as step:
            step("rules: 20 of 400 launches")
            step("rules: 40 of 400 launches")
            step("weights")
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["vLLM 0.32.0: rules: 20 of 400 launches", "vLLM 0.32.0: weights"]
    assert done.stdout == ""
