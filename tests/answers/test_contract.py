"""The contract of ``--json``: the published schema describes what is printed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from qcmatrix.answers.schema import json_schema
from qcmatrix.cli.check import check_command
from qcmatrix.cli.suggest import suggest_command

WISHES = (
    ("--gpus", "8xH20", "--ctx", "1M"),
    ("--gpus", "8xH200", "--ctx", "256K", "--model", "480b-fp8", "--vllm", "0.10.0"),
    ("--gpus", "1xRTX4090-48", "--model", "30b-fp8"),
    ("--gpus", "4xH100", "--ctx", "1M", "--goal", "latency"),
    ("--gpus", "1xRTX4090", "--ctx", "1M", "--model", "480b-fp8"),
    ("--gpus", "8x44.4GiB", "--ctx", "64K", "--model", "30b-fp8"),
    ("--gpus", "2x8xH100-80", "--ctx", "256K", "--model", "480b-fp8", "--vllm", "0.10.2"),
)


def printed(command: Any, *arguments: str) -> Any:
    result = CliRunner().invoke(command, [*arguments, "--json"], standalone_mode=False)
    assert result.exception is None
    return json.loads(result.stdout)


@pytest.mark.parametrize("wish", WISHES, ids=" ".join)
def test_suggest(wish: tuple[str, ...]) -> None:
    answer = printed(suggest_command, *wish)
    Draft202012Validator(json_schema("suggest")).validate(answer)
    assert list(answer) == ["schema", "request", "plans", "refusals", "hints", "refused"]
    assert answer["plans"] or (answer["refusals"] and answer["hints"])
    for plan in answer["plans"]:
        assert {"fleet", "model", "release", "argv", "env", "nodes", "verdict", "evidence", "memory", "latency"} <= set(
            plan
        )
        memory = plan["memory"]
        for name in ("overhead_gib", "kv_gib", "kv_tokens", "max_context", "max_concurrency"):
            assert memory[name]["low"] <= memory[name]["mid"] <= memory[name]["high"]


@pytest.mark.parametrize(
    "words",
    [
        ("vllm", "serve", "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", "--tensor-parallel-size", "8"),
        ("vllm", "serve", "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", "-tp", "5", "--no-such"),
    ],
)
def test_check(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(
        check_command, ["--gpus", "8xH200", "--vllm", "0.10.0", "--json", "--", *words], standalone_mode=False
    )
    assert result.exception is None
    answer = json.loads(result.stdout)
    Draft202012Validator(json_schema("check")).validate(answer)
    (launch,) = answer["launches"]
    assert launch["verdict"] == "refused"
    assert {"rule", "severity", "because", "fix"} <= set(launch["findings"][0])
