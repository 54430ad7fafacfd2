"""The plugin as a user meets it: what is collected, what is skipped and why, what is wrong with the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = 'schema = "qcmatrix.matrix/1"\n'
ENTRY = """
[[entry]]
id = "30b-{fleet_id}"
fleet = "{fleet}"
vllm = "0.33.0"
command = "vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8 --enable-auto-tool-choice --tool-call-parser qwen3_coder"
expect = {{ verdict = "starts" }}
source = "https://docs.vllm.ai"
read = 2026-11-28
profiles = ["chat-api"]
"""
MATRIX = HEAD + "".join(ENTRY.format(fleet=fleet, fleet_id=fleet.lower()) for fleet in ("1xH200", "1xH20-96"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "matrix.toml").write_text(MATRIX, encoding="utf-8")
    return tmp_path


def run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(place)]
    if "--collect-only" not in words:
        command.append("-rs")
    command += ["--pyargs", "qcmatrix.suites", "--matrix", str(place / "matrix.toml"), *words]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)


def test_the_card_is_a_marker(place: Path) -> None:
    chosen = run(place, "-m", "h200", "--collect-only", "-q").stdout
    assert "30b-1xh200-API-01" in chosen
    assert "30b-1xh20-96" not in chosen
    assert "30b-1xh20-96-API-01" in run(place, "-m", "h20_96 and suite", "--collect-only", "-q").stdout


def test_an_entry_and_a_check_can_be_named(place: Path) -> None:
    chosen = run(place, "--entry", "30b-1xh200", "--profile", "API-01", "--collect-only", "-q").stdout
    assert [line for line in chosen.splitlines() if "API-" in line and "API-01" not in line] == []
    assert "30b-1xh200-API-01" in chosen
    assert "h20-96" not in chosen


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has a GPU")
def test_without_the_card_it_is_skipped_with_the_reason_or_fails_when_that_is_wanted(place: Path) -> None:
    skipped = run(place)
    assert skipped.returncode == 0, skipped.stdout
    assert "H200" in skipped.stdout
    assert "passed" not in skipped.stdout
    wanted = run(place, "--require-hardware", "-m", "h200")
    assert wanted.returncode == 1
    assert "Traceback" not in wanted.stdout
    assert not (place / "reports").exists(), "nothing was served, and there is no result"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--entry", "30b-1xh300"), "no entry is called '30b-1xh300'"),
        (("--profile", "tolls"), "no check, suite or profile is called 'tolls'"),
        (("--base-url", "localhost:8000"), "no address"),
        (("--base-url", "http://127.0.0.1:9/v1", "--api-key-env", "QCMATRIX_NO_SUCH_KEY"), "is not set"),
        (("--matrix", "nowhere.toml"), "nowhere.toml: no such file"),
    ],
)
def test_a_wrong_word_is_one_clear_message(place: Path, words: tuple[str, ...], said: str) -> None:
    done = run(place, *words)
    assert done.returncode == 4, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_all_problems_of_a_matrix_at_once(place: Path) -> None:
    (place / "matrix.toml").write_text(
        HEAD + ENTRY.format(fleet="1xH200", fleet_id="1xh200") * 2 + 'twin = "nobody"\n', encoding="utf-8"
    )
    done = run(place)
    assert done.returncode == 4
    assert "more than once" in done.stderr
    assert "nobody" in done.stderr


def test_a_server_that_is_not_there_blocks_its_checks(place: Path) -> None:
    done = run(place, "--base-url", "http://127.0.0.1:9/v1", "--profile", "chat-api", "--results", str(place / "runs"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no server answers" in done.stdout
    assert "1 failed" in done.stdout
    assert list((place / "runs").glob("*/*.json")), "what was blocked is told in a result"
