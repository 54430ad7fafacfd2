"""The cause of an end and the figures of a start, from a log."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from qcmatrix.serving.why import ended, explained, measured_in, tail_of, told

FP8 = (
    "(Worker_TP0 pid=9) ERROR 08-01 10:00:00 [core.py:632] ValueError: The output_size of gate's and up's weight = 320 "
    "is not divisible by weight quantization block_n = 128.\n"
)
GPU = (
    "INFO 08-01 10:00:00 [api_server.py:1395] vLLM API server version 0.10.0\n"
    "(Worker_TP0 pid=9) INFO 08-01 10:00:00 [gpu_model_runner.py:1] Model loading took 56.26 GiB and 93.1 seconds\n"
    "(Worker_TP0 pid=9) INFO 08-01 10:01:00 [gpu_worker.py:1] Available KV cache memory: 61.31 GiB\n"
    "INFO 08-01 10:01:01 [kv_cache_utils.py:1] GPU KV cache size: 2,073,680 tokens\n"
    "INFO 08-01 10:01:01 [kv_cache_utils.py:1] Maximum concurrency for 262,144 tokens per request: 7.91x\n"
    "(Worker_TP0 pid=9) INFO 08-01 10:02:00 [x.py:1] Graph capturing finished in 21 secs, took 0.85 GiB\n"
)


def log_of(directory: Path, text: str) -> Path:
    path = directory / "server.log"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_known_failure_names_its_rule(tmp_path: Path) -> None:
    cause, rule = explained(log_of(tmp_path, GPU + FP8), "0.10.0")
    assert rule == "fp8-block-cut-by-tensor-parallel"
    assert "320" in cause


def test_an_unknown_failure_is_quoted(tmp_path: Path) -> None:
    key = "abc-key-abc"
    text = f"{GPU}Traceback (most recent call last):\nFooError: never seen, key={key}\n"
    found = told(log_of(tmp_path, text), secret=key)
    assert "FooError: never seen" in found.cause
    assert key not in found.cause + found.words
    assert found.fingerprint is None


def test_no_failure_no_cause(tmp_path: Path) -> None:
    assert explained(log_of(tmp_path, GPU)) == ("", None)
    assert explained(tmp_path / "no-such-log") == ("", None)


def test_what_was_measured(tmp_path: Path) -> None:
    found = measured_in(log_of(tmp_path, GPU), "0.10.0")
    assert found == {
        "model_load_gib": 56.26,
        "available_kv_gib": 61.31,
        "kv_cache_tokens": 2_073_680,
        "max_concurrency": 7.91,
        "concurrency_tokens": 262_144,
        "cudagraph_gib": 0.85,
        "load_seconds": 93.1,
    }


def test_a_release_that_is_not_listed_is_no_obstacle(tmp_path: Path) -> None:
    assert measured_in(log_of(tmp_path, GPU), "9.9.9")["kv_cache_tokens"] == 2_073_680


def test_the_last_lines_without_keys(tmp_path: Path) -> None:
    path = log_of(tmp_path, "a\n" * 9000 + "10%\r20%\n\nx our-key y --api-key sk-abcdefghijklmnop\n")
    assert tail_of(path, "our-key", lines=2) == ("20%", "x *** y --api-key ***")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with exit code 0"),
        (-signal.SIGTERM, "was killed by SIGTERM"),
        (-signal.SIGKILL, "dmesg"),
        (-250, "was killed by signal 250"),
    ],
)
def test_how_a_process_ended(code: int, words: str) -> None:
    assert words in ended(code)
