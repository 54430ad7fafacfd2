"""What a log says of its launch becomes a launch again."""

from __future__ import annotations

import io

import pytest

from qcmatrix.catalogue.releases import load_release
from qcmatrix.startup_log.arguments import arguments_of, items_of
from qcmatrix.startup_log.reader import read_log

HEAD = "(APIServer pid=1) INFO 11-02 10:00:01 [utils.py:233] non-default args: "


def arguments(text: str, release: str = "0.11.0"):
    return arguments_of(read_log(io.BytesIO(text.encode())).attempt, load_release(release))


def test_non_default_arguments() -> None:
    found = arguments(
        HEAD + "{'model_tag': 'Qwen/X', 'model': 'Qwen/X', 'max_model_len': 131072, 'tensor_parallel_size': 8, "
        "'enable_expert_parallel': True, 'hf_overrides': {'a': {'b': 1}}, 'gpu_memory_utilization': 0.95, "
        "'compilation_config': CompilationConfig(level=3, x={1: 2}), 'unheard_of': 3}"
    )
    assert found.launch.model == "Qwen/X"
    assert found.launch.options == {
        "max_model_len": 131072,
        "tensor_parallel_size": 8,
        "enable_expert_parallel": True,
        "hf_overrides": {"a": {"b": 1}},
        "gpu_memory_utilization": 0.95,
    }
    assert found.unread == ("compilation_config",)
    assert (found.basis, found.line) == ("non-default arguments", 1)


@pytest.mark.parametrize("stop", range(10, 110, 7))
def test_arguments_that_break_off(stop: int) -> None:
    text = "{'model_tag': 'Qwen/X', 'max_model_len': 131072, 'tensor_parallel_size': 8, 'dtype': 'auto', 'seed': 1}"
    values, _ = items_of(text[:stop])
    whole, _ = items_of(text)
    assert values.items() <= {**whole, "max_model_len": whole["max_model_len"]}.items() or stop < len(text)


def test_the_engine_s_configuration_where_the_head_is_missing() -> None:
    found = arguments(
        "(EngineCore_DP0 pid=9) INFO 11-02 10:00:30 [core.py:77] Initializing a V1 LLM engine (v0.11.0) with config: "
        "model='Qwen/X', speculative_config=None, dtype=torch.bfloat16, max_seq_len=32768, tensor_parallel_size=4, "
        "pipeline_parallel_size=1, quantization=fp8, enforce_eager=False, kv_cache_dtype=auto, served_model_name=x"
    )
    assert found.launch.model == "Qwen/X"
    assert found.launch.options["tensor_parallel_size"] == 4
    assert found.launch.options["max_model_len"] == 32768
    assert found.basis == "engine configuration"


def test_a_command_in_the_log() -> None:
    found = arguments(
        "+ CUDA_VISIBLE_DEVICES=0,1 vllm serve Qwen/X \\\n  --tensor-parallel-size 2 \\\n  --max-model-len 32K\nok\n"
    )
    assert found.launch.model == "Qwen/X"
    assert found.launch.options == {"tensor_parallel_size": 2, "max_model_len": 32768}
    assert found.launch.env == {"CUDA_VISIBLE_DEVICES": "0,1"}


def test_the_namespace_of_old_releases() -> None:
    found = arguments(
        "INFO 04-29 04:13:11 [api_server.py:1044] args: Namespace(subparser='serve', model_tag='Qwen/X', config='', "
        "host=None, port=8897, max_model_len=4096, tensor_parallel_size=4, dtype='auto')",
        "0.10.0",
    )
    assert found.launch.model == "Qwen/X"
    assert found.launch.options == {"port": 8897, "max_model_len": 4096, "tensor_parallel_size": 4}


def test_nothing_is_guessed() -> None:
    found = arguments("nothing of the kind: we serve it with vllm serve and hope\n")
    assert (found.basis, found.launch.options) == ("", {})


def test_a_command_in_brackets_ends_with_them() -> None:
    command = """vllm serve a/b --compilation-config '{"custom_ops": ["none"]}' --port 42041"""
    found = arguments(f"With image: x, arguments: [{command}], ports: [42041], envs: y")
    assert found.launch.options == {"compilation_config": {"custom_ops": ["none"]}, "port": 42041}
    assert not found.problems
