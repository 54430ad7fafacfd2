"""What the project's seed documents and public logs say, asked of the tool as a user would ask it."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from click.testing import CliRunner

from qcmatrix.catalogue.releases import release_names
from qcmatrix.cli.check import check_command
from qcmatrix.cli.suggest import suggest_command

FP8 = "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"
BF16 = "Qwen/Qwen3-Coder-480B-A35B-Instruct"
SMALL = "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"
BLOCK_ERROR = "The output_size of gate's and up's weight = 320 is not divisible by weight quantization block_n = 128."


def checked(command: str, *, gpus: str, vllm: str) -> Any:
    words = ["--gpus", gpus, "--vllm", vllm, "--json", "--", *shlex.split(command)]
    result = CliRunner().invoke(check_command, words, standalone_mode=False)
    assert result.exception is None
    (launch,) = json.loads(result.stdout)["launches"]
    return launch


def test_tp8_with_expert_parallelism_leaves_61_31_gib() -> None:
    """2025-07-31, eight H200, vLLM 0.10: 61.31 GiB per GPU, 2,073,680 tokens (seed 001)."""
    memory = checked(f"vllm serve {FP8} -tp 8 --enable-expert-parallel", gpus="8xH200", vllm="0.10.0")["memory"]
    assert memory["kv_gib"]["low"] <= 61.31 <= memory["kv_gib"]["high"]
    assert memory["kv_gib"]["mid"] == pytest.approx(61.31, rel=0.02)
    assert memory["kv_tokens"]["low"] <= 2_073_680 <= memory["kv_tokens"]["high"]
    assert memory["kv_tokens"]["mid"] == pytest.approx(2_073_680, rel=0.02)


def test_native_context_starts_with_expert_parallelism() -> None:
    launch = checked(f"vllm serve {FP8} -tp 8 --enable-expert-parallel", gpus="8xH20-141", vllm="0.10.0")
    assert launch["verdict"] == "starts"


@pytest.mark.parametrize("gpus", ["8xH200", "8xH20-141"])
def test_data_parallel_8_holds_131072_and_not_262144(gpus: str) -> None:
    command = f"vllm serve {FP8} --data-parallel-size 8 --enable-expert-parallel --max-model-len"
    assert checked(f"{command} 131072", gpus=gpus, vllm="0.10.0")["verdict"] == "starts"
    assert checked(f"{command} 262144", gpus=gpus, vllm="0.10.0")["verdict"] == "does-not-fit"


@pytest.mark.parametrize(("utilization", "tokens"), [("0.90", 205_728), ("0.95", 235_296)])
def test_data_parallel_8_on_h20_holds_what_the_log_says(utilization: str, tokens: int) -> None:
    command = f"vllm serve {FP8} -dp 8 --enable-expert-parallel --gpu-memory-utilization {utilization}"
    memory = checked(command, gpus="8xH20-141", vllm="0.10.0")["memory"]
    assert memory["max_context"]["low"] <= tokens <= memory["max_context"]["high"]


@pytest.mark.parametrize("gpus", ["8xH200", "8xH20-141"])
def test_bf16_holds_32000_and_not_262144(gpus: str) -> None:
    command = f"vllm serve {BF16} --tensor-parallel-size 8"
    assert checked(f"{command} --max-model-len 32000", gpus=gpus, vllm="0.10.0")["verdict"] == "starts"
    assert checked(command, gpus=gpus, vllm="0.10.0")["verdict"] == "does-not-fit"


@pytest.mark.parametrize("vllm", release_names())
def test_tp8_without_expert_parallelism(vllm: str) -> None:
    """Refused with vLLM's own words up to 0.28.0, and not from 0.29.0."""
    launch = checked(f"vllm serve {FP8} --tensor-parallel-size 8", gpus="8xH200", vllm=vllm)
    errors = [finding["error"] for finding in launch["findings"] if finding["severity"] == "error"]
    if tuple(int(part) for part in vllm.split(".")[:2]) < (0, 29):
        assert launch["verdict"] == "refused"
        assert any(BLOCK_ERROR in error for error in errors)
    else:
        assert launch["verdict"] == "starts"


@pytest.mark.parametrize("vllm", release_names())
def test_a_million_tokens_in_every_release(vllm: str) -> None:
    words = ["--gpus", "8xH200", "--ctx", "1M", "--model", "480b-fp8", "--vllm", vllm, "--json"]
    result = CliRunner().invoke(suggest_command, words, standalone_mode=False)
    assert result.exception is None
    plan = json.loads(result.stdout)["plans"][0]
    assert plan["verdict"] == "starts"
    again = checked(shlex.join(plan["argv"]), gpus="8xH200", vllm=vllm)
    assert again["verdict"] == "starts"
    assert again["memory"] == plan["memory"]
    assert plan["latency"]["prompt_tokens"] == 1 << 20


def test_30b_with_fp8_kv_cache_serves_200k_on_a_48_gb_card() -> None:
    """2025-08-05, RTX 4090 with 48 GB, utilisation 0.85 (seed 003)."""
    command = f"""vllm serve {SMALL} --max-model-len 200K --max-num-batched-tokens 16K --max-num-seqs 64
        --gpu-memory-utilization 0.85 --kv-cache-dtype fp8_e4m3"""
    launch = checked(command, gpus="1xRTX4090-48", vllm="0.10.0")
    assert launch["verdict"] == "starts"
    assert launch["memory"]["max_context"]["low"] >= 204_800
