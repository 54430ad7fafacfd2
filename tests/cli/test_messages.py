"""Bad input: one clear message, the right exit code, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qcmatrix.errors import ExitCode

SERVE = ("--", "vllm", "serve", "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8")


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "qcmatrix", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("suggest", "--gpus", "8xH20", "--ctx", "1Mb"), ExitCode.USAGE, "1Mb"),
        (("suggest", "--gpus", "8xH20", "--ctx", "-5"), ExitCode.USAGE, "-5"),
        (("suggest", "--gpus", "0xH20"), ExitCode.USAGE, "0xH20"),
        (("suggest", "--gpus", "8xH2000"), ExitCode.UNKNOWN_NAME, "H200"),
        (("suggest", "--gpus", "8x44GB"), ExitCode.USAGE, "GiB"),
        (("suggest", "--gpus", "8xH20", "--model", "480b-pf8"), ExitCode.UNKNOWN_NAME, "480b-fp8"),
        (("suggest", "--gpus", "8xH20", "--vllm", "0.9.2"), ExitCode.UNKNOWN_NAME, "0.10.0"),
        (("suggest", "--gpus", "8xH20", "--vllm", "newest"), ExitCode.USAGE, "newest"),
        (("suggest", "--gpus", "8xH20", "--goal", "speed"), ExitCode.USAGE, "latency"),
        (("suggest", "--gpus", "8xH20", "--contex", "1M"), ExitCode.USAGE, "--contex"),
        (("suggest", "--gpus", "8xH20", "--gpu-memory-utilization", "1.5"), ExitCode.USAGE, "1.5"),
        (("suggest", "--gpus", "8xH20", "--kv-cache-dtype", "fp9"), ExitCode.USAGE, "fp8"),
        (("suggest",), ExitCode.USAGE, "--gpus"),
        (("sugest",), ExitCode.USAGE, "suggest"),
        (("rule", "fp8-block-cut"), ExitCode.UNKNOWN_NAME, "fp8-block-cut-by-tensor-parallel"),
        (("rule", "client-port-differs"), ExitCode.UNKNOWN_NAME, "finding about files"),
        (("check", "--gpus", "8xH200", "--", "vllm", "serve", "--help"), ExitCode.USAGE, "--help starts no server"),
        (("check", "--gpus", "8xH200", "--", "docker", "run", "vllm/vllm-openai", "bash"), ExitCode.USAGE, "bash"),
        (("client", "no-such-entry"), ExitCode.UNKNOWN_NAME, "no-such-entry"),
        (("results", "no-such-folder", "--regressions"), ExitCode.BAD_FILE, "no-such-folder"),
        (("check", "--gpus", "8xH200"), ExitCode.USAGE, "COMMAND"),
        (
            ("check", "--gpus", "8xH200", "--", "vllm", "serve", "mistralai/Nothing-7B"),
            ExitCode.UNKNOWN_NAME,
            "Nothing",
        ),
        (("check", "--gpus", "8xH200", "--", "vllm 'serve"), ExitCode.USAGE, "quote"),
        (("accuracy", "no-such-file.jsonl"), ExitCode.BAD_FILE, "no-such-file.jsonl"),
        (("matrix", "--file", "no-such-file.toml"), ExitCode.BAD_FILE, "no-such-file.toml"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], code: ExitCode, says: str) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_config_json_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{nonsense")
    done = run("suggest", "--gpus", "8xH200", "--model", str(tmp_path))
    assert done.returncode == ExitCode.BAD_FILE
    assert "config.json" in done.stderr
    assert "JSON" in done.stderr


def test_config_json_that_lacks_keys_names_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Qwen3MoeForCausalLM"], "hidden_size": "x"}))
    done = run("suggest", "--gpus", "8xH200", "--model", str(tmp_path / "config.json"))
    assert done.returncode == ExitCode.BAD_FILE
    for name in ("hidden_size", "num_hidden_layers", "vocab_size", "num_experts"):
        assert name in done.stderr


def test_impossible_wish_says_why_and_what_would_help() -> None:
    done = run("suggest", "--gpus", "1xRTX4090", "--ctx", "1M", "--model", "480b-fp8")
    assert done.returncode == ExitCode.FINDINGS
    assert "no plan" in done.stdout
    assert "hint:" in done.stdout


def test_refused_launch_exits_one() -> None:
    done = run("check", "--gpus", "1xRTX4090-48", *SERVE, "--no-such-flag")
    assert done.returncode == ExitCode.FINDINGS
    assert "--no-such-flag" in done.stdout


def test_secrets_never_reach_the_output() -> None:
    secret = "sk-verysecret123"  # noqa: S105 it is the point of the test
    for extra in ((), ("--json",)):
        done = run("check", "--gpus", "1xRTX4090-48", *extra, *SERVE, "--api-key", secret, "--hf-token", secret)
        assert secret not in done.stdout + done.stderr
        assert "api-key-on-command-line" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--ap", "SECRET1"),
        ("--apikey", "SECRET1"),
        ("--api-key-foo", "SECRET1"),
        ("--otlp-headers", "Authorization=SECRET1"),
        ("--ssl-keyfile-password", "SECRET1"),
    ],
)
def test_secrets_in_misspelt_options_never_reach_the_output(words: tuple[str, str]) -> None:
    for extra in ((), ("--json",)):
        environment = ("GITHUB_PAT=SECRET1", "HTTPS_PROXY=http://me:SECRET1@proxy:1")
        done = run("check", "--gpus", "1xH100-80", *extra, "--", *environment, *SERVE[1:], *words)
        assert done.stdout
        assert "SECRET1" not in done.stdout + done.stderr


def test_piped_output_has_no_colour_and_fits_80_columns() -> None:
    done = run("suggest", "--gpus", "8xH20", "--ctx", "1M")
    assert "\x1b" not in done.stdout
    prose = [line for line in done.stdout.splitlines() if not line.lstrip().startswith("--") and "{" not in line]
    assert max(len(line) for line in prose) <= 80


def test_a_gone_reader_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "qcmatrix", "rules"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert complaint == b""


def test_one_quoted_command_is_the_same_as_words() -> None:
    words = run("check", "--json", "--gpus", "1xRTX4090-48", *SERVE, "--max-model-len", "200K")
    text = run("check", "--json", "--gpus", "1xRTX4090-48", "--", " ".join((*SERVE[1:], "--max-model-len", "200K")))
    assert words.stdout == text.stdout
