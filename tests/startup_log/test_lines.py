"""Prefixes come off, whatever wrote them; what is left is the message."""

from __future__ import annotations

import pytest

from qcmatrix.startup_log.lines import clean

MESSAGE = "Available KV cache memory: 58.47 GiB"
LOGGER = f"INFO 04-22 00:59:16 [gpu_worker.py:436] {MESSAGE}"


@pytest.mark.parametrize(
    ("raw", "process"),
    [
        (LOGGER, ""),
        (f"INFO 04-22 00:59:16 gpu_worker.py:436] {MESSAGE}", ""),
        (f"(EngineCore_DP0 pid=94) {LOGGER}", "EngineCore_DP0 pid=94"),
        (f"(VllmWorker rank=0 pid=105) {LOGGER}", "VllmWorker rank=0 pid=105"),
        (f"(Worker pid=7) (Worker_TP0 pid=7) {LOGGER}", "Worker_TP0 pid=7"),
        (f"\x1b[1;36m(EngineCore pid=9)\x1b[0;0m {LOGGER}", "EngineCore pid=9"),
        (f"[1;36m(EngineCore pid=9)[0;0m {LOGGER}", "EngineCore pid=9"),
        (f"vllm-1  | (APIServer pid=1) {LOGGER}", "APIServer pid=1"),
        (f"2025-09-01T10:00:00.123456789Z stderr F {LOGGER}", ""),
        (f"2025-09-01T10:00:00.123456789Z {LOGGER}", ""),
        (f"2025-05-30 18:26:22.906 | {LOGGER}", ""),
        (f"Aug 19 18:34:30 host vllm[8707]: (APIServer pid=8707) {LOGGER}", "APIServer pid=8707"),
        (f"[pod/vllm-0/vllm] {LOGGER}", ""),
        (f"> {LOGGER}", ""),
        (f"(RayWorkerWrapper pid=1234, ip=10.0.0.1) {LOGGER}", "RayWorkerWrapper pid=1234, ip=10.0.0.1"),
        (f"[rank0]: {LOGGER}\r\n", ""),
    ],
)
def test_prefixes(raw: str, process: str) -> None:
    line = clean(7, raw)
    assert (line.number, line.text, line.process, line.level) == (7, MESSAGE, process, "INFO")
    assert (line.file, line.source_line, line.time) == ("gpu_worker.py", 436, "04-22 00:59:16")


def test_json_lines() -> None:
    raw = '{"levelname": "ERROR", "processName": "EngineCore_0", "message": "ValueError: No available memory"}'
    line = clean(1, raw)
    assert (line.text, line.level, line.process) == ("ValueError: No available memory", "ERROR", "EngineCore_0")


def test_what_looks_like_a_colour_stays() -> None:
    assert clean(1, "sizes[m] and x[0m").text == "sizes[m] and x[0m"
    assert clean(1, '  File "x.py", line 3, in f').text.startswith("  File")


@pytest.mark.parametrize("name", ["multiproc_executor.py", "model.py", "metrics.py"])
def test_a_logger_whose_name_begins_with_m_is_no_colour(name: str) -> None:
    line = clean(1, f"ERROR 10-23 08:00:00 [{name}:12] see [matrix] there")
    assert (line.file, line.source_line, line.text) == (name, 12, "see [matrix] there")
    assert clean(1, f"[1;36m(EngineCore pid=1)[0m {LOGGER} [m").text.rstrip() == MESSAGE
