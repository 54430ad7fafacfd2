"""`qcmatrix explain`: what, where, why with numbers, what to do; bad input gets one clear message."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from qcmatrix.answers.explain import explain
from qcmatrix.answers.explain_case import case_line
from qcmatrix.answers.schema import json_schema
from qcmatrix.errors import ExitCode
from qcmatrix.memory.accuracy import read_cases
from qcmatrix.startup_log.reader import read_log

LOG = """\
(APIServer pid=1) INFO 11-02 10:00:01 [api_server.py:1839] vLLM API server version 0.11.0
(APIServer pid=1) INFO 11-02 10:00:01 [utils.py:233] non-default args: {'model_tag': \
'Qwen/Qwen3-Coder-30B-A3B-Instruct', 'api_key': ['sk-verysecretkey123'], 'max_model_len': 262144, \
'tensor_parallel_size': 2}
(Worker_TP0 pid=100) INFO 11-02 10:00:30 [fused_moe.py:1] Using default MoE config. Config file not found at \
[/x/E=128,N=384,device_name=NVIDIA_L40S.json]
(Worker_TP1 pid=101) INFO 11-02 10:02:30 [gpu_model_runner.py:2653] Model loading took 28.4600 GiB and 93.1 seconds
(Worker_TP0 pid=100) INFO 11-02 10:02:41 [gpu_worker.py:298] Available KV cache memory: 9.10 GiB
(Worker_TP1 pid=101) INFO 11-02 10:02:41 [gpu_worker.py:298] Available KV cache memory: 9.00 GiB
(EngineCore_DP0 pid=94) ERROR 11-02 10:02:42 [core.py:708] EngineCore failed to start.
(EngineCore_DP0 pid=94) ERROR 11-02 10:02:42 [core.py:708] Traceback (most recent call last):
(EngineCore_DP0 pid=94) ERROR 11-02 10:02:42 [core.py:708]   File "/x/vllm/v1/core/kv_cache_utils.py", line 7, in check
(EngineCore_DP0 pid=94) ERROR 11-02 10:02:42 [core.py:708]     raise ValueError(
(EngineCore_DP0 pid=94) ERROR 11-02 10:02:42 [core.py:708] ValueError: To serve at least one request with the models's \
max seq len (262144), (12.00 GiB KV cache is needed, which is larger than the available KV cache memory (9.00 GiB). \
Based on the available memory,  the estimated maximum model length is 196608.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def run(*arguments: str, stdin: bytes = b"", columns: str = "80") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "qcmatrix", "explain", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "COLUMNS": columns},
        timeout=120,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def answer(text: str) -> dict[str, object]:
    import msgspec

    told: dict[str, object] = msgspec.to_builtins(explain(read_log(io.BytesIO(text.encode()))).answer)
    return told


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_told_in_a_terminal(columns: str) -> None:
    done = run("-", stdin=LOG.encode(), columns=columns)
    assert done.returncode == ExitCode.FINDINGS
    assert done.stderr == ""
    plain = " ".join(done.stdout.split())
    for said in (
        "on 2xL40S, vLLM 0.11.0: failed",
        "error[kv-cache-too-small-for-context]",
        "--> log:11 (EngineCore_DP0 pid=94)",
        "12.00 GiB of KV cache per GPU and 9.00 GiB are left",
        "fix: --max-model-len 196608",
        "qcmatrix rule kv-cache-too-small-for-context",
        "line 12: the engine did not start",
        "measured 9.00: inside",
    ):
        assert said in plain, plain
    assert "verysecret" not in done.stdout
    assert "\x1b" not in done.stdout
    widest = max(len(line) for line in done.stdout.splitlines() if "http" not in line and "'{" not in line)
    assert widest <= max(60, min(100, int(columns)))


def test_json_keeps_its_contract() -> None:
    done = run("--json", "-", stdin=LOG.encode())
    told = json.loads(done.stdout)
    Draft202012Validator(json_schema("explain")).validate(told)
    assert told["state"] == "failed"
    assert told["failure"]["numbers"] == {"context": 262144, "needed": 12, "available": 9, "estimated": 196608}
    assert told["launch"]["argv"][:3] == ["vllm", "serve", "Qwen/Qwen3-Coder-30B-A3B-Instruct"]
    assert {"context", "kv-cache-dtype"} <= {change["kind"] for change in told["changes"]}
    assert all(change["verdict"] in ("measured", "starts", "tight") for change in told["changes"])
    assert [each["name"] for each in told["predicted"] if not each["inside"]] == []


def test_a_case_can_be_read_back(tmp_path: Path) -> None:
    done = run("--case", "-", stdin=LOG.encode())
    path = tmp_path / "cases.jsonl"
    path.write_text(done.stdout)
    (case,) = read_cases(path)
    assert (case.outcome, case.tp, case.gpu, case.gpu_count) == ("kv_too_small", 2, "L40S", 2)
    assert (case.needed_kv_gib, case.available_kv_gib, case.estimated_max_model_len) == (12.0, 9.0, 196608)
    assert case.vllm_version == "0.11.0"
    assert "verysecret" not in done.stdout


def test_a_start_that_served() -> None:
    served = (
        LOG.partition("(EngineCore_DP0 pid=94) ERROR")[0]
        + "(APIServer pid=1) INFO:     Application startup complete.\n"
    )
    done = run("-", stdin=served.encode())
    assert done.returncode == ExitCode.OK
    assert ": served" in done.stdout


def test_options_win_over_the_log() -> None:
    told = json.loads(
        run("--json", "--gpus", "2xH200", "--vllm", "0.12.0", "--model", "30b-fp8", "-", stdin=LOG.encode()).stdout
    )
    launch = told["launch"]
    assert (launch["fleet"], launch["fleet_from"]) == ("2xH200", "--gpus")
    assert (launch["release"], launch["release_from"]) == ("0.12.0", "--vllm")
    assert launch["facts_of"] == "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"


def test_unknown_is_said_to_be_unknown() -> None:
    told = answer("RuntimeError: Engine core initialization failed. See root cause above.\n")
    assert told["failure"]["cause"] is None
    assert len(told["unknown"]) >= 3
    assert answer("a letter to a friend\n")["state"] == "not-a-vllm-log"
    assert answer("INFO 11-02 10:00:01 [x.py:1] Starting to load model Qwen/X...\n")["state"] == "unfinished"
    assert answer("GPU KV cache size: 90,048 tokens\n")["state"] == "unfinished"  # cut out of a log, its heads gone


def test_state_blocks_are_what_the_log_counts() -> None:
    told = answer("ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (939). Please lower it\n")
    (change,) = told["changes"]
    assert (change["text"].split(" (")[0], change["verdict"]) == ("--max-num-seqs 939", "measured")


@pytest.mark.parametrize(
    ("block", "tensor", "kind"),
    [("output_size of gate's and up's", 8, "expert-parallel"), ("input_size of down's", 8, "shape")],
)
def test_a_block_that_is_cut(block: str, tensor: int, kind: str) -> None:
    told = answer(
        LOG.partition("(Worker_TP0")[0]
        .replace("Qwen3-Coder-30B-A3B-Instruct", "Qwen3-Coder-480B-A35B-Instruct-FP8")
        .replace("'tensor_parallel_size': 2", f"'tensor_parallel_size': {tensor}")
        + "INFO 11-02 10:00:30 [x.py:1] device_name=NVIDIA_H200,dtype=fp8_w8a8.json\n"
        + f"ValueError: The {block} weight = 320 is not divisible by weight quantization block_n = 128.\n"
    )
    assert told["failure"]["cause"] == "fp8-block-cut-by-tensor-parallel"
    assert kind in {change["kind"] for change in told["changes"]}
    assert told["expected"] == "refused"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("no-such.log",), ExitCode.BAD_FILE, "no-such.log"),
        ((".",), ExitCode.BAD_FILE, "cannot be read"),
        (("-", "--gpus", "8xH2000"), ExitCode.UNKNOWN_NAME, "H200"),
        (("-", "--vllm", "newest"), ExitCode.USAGE, "newest"),
        (("-", "--model", "480b-pf8"), ExitCode.UNKNOWN_NAME, "480b-fp8"),
        ((), ExitCode.USAGE, "LOG"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], code: ExitCode, says: str) -> None:
    done = run(*arguments, stdin=LOG.encode())
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_binary_and_secrets() -> None:
    done = run("-", stdin=b"\x00\x01\x02" * 2000)
    assert done.returncode == ExitCode.BAD_FILE
    text = "ValueError: odd thing with --api-key sk-abcdefghijklmnop and HF_TOKEN=hf_abcdefghijklmnop in it\n"
    out = run("-", stdin=text.encode()).stdout + run("--json", "-", stdin=text.encode()).stdout
    assert "abcdefghijklmnop" not in out
    assert "odd thing" in out


def test_cases_are_json() -> None:
    assert json.loads(case_line(explain(read_log(io.BytesIO(LOG.encode()))), "x/start.log"))["id"] == "start"
