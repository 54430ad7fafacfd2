"""The configuration that a server tells, against the one that was asked for."""

from __future__ import annotations

from io import BytesIO

import pytest

from qcmatrix.launch.rope import RopeRequest
from qcmatrix.startup_log.reader import read_log
from qcmatrix.suites.boot.settings import by_our_names, differences, of_log, rotary_in, yarn_faults

YARN = RopeRequest(
    form="hf-overrides-rope-parameters",
    rope_type="yarn",
    factor=4.0,
    original_max_position_embeddings=262144,
    rope_theta=1e7,
    max_position_embeddings=1048576,
)

# Printed by vLLM 0.32.0 with VLLM_LOG_MODEL_INSPECTION=1.
PRINTED = (
    "(Worker pid=1) INFO 11-28 03:22:56 [base_loader.py:125]           (rotary_emb): {kind}(head_size=32, "
    "rotary_dim=32, max_position_embeddings={positions}, base={base}, is_neox_style=True)("
)


def printed(kind: str = "YaRNScalingRotaryEmbedding", positions: str = "262144", base: str = "10000000.0") -> str:
    return PRINTED.format(kind=kind, positions=positions, base=base)


def test_yarn_in_effect_has_no_fault() -> None:
    (made,) = rotary_in(printed() + "\n" + printed())
    assert yarn_faults(YARN, made) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (printed(kind="RotaryEmbedding"), "the rotary embedding is RotaryEmbedding"),
        (printed(base="None"), "rope_theta is null"),
        (printed(base="10000"), "rope_theta is 10000 instead of 1e+07"),
        (printed(positions="1048576"), "original_max_position_embeddings is 1.04858e+06 instead of 262144"),
    ],
)
def test_what_is_not_in_effect_is_told(text: str, fault: str) -> None:
    (made,) = rotary_in(text)
    assert yarn_faults(YARN, made) == [fault]


def test_a_server_that_prints_no_model_tells_no_rotary_embedding() -> None:
    assert rotary_in("INFO Starting to load model tiny...") == ()


def test_what_was_left_open_is_no_difference() -> None:
    asked = {"dtype": "auto", "max_model_len": -1, "tensor_parallel_size": 8}
    resolved = {"dtype": "torch.bfloat16", "max_model_len": 8192, "tensor_parallel_size": 8, "max_num_seqs": 32}
    assert differences(asked, resolved) == []


def test_two_names_of_one_type_are_no_difference() -> None:
    asked = {"dtype": "half", "kv_cache_dtype": "fp8"}
    assert differences(asked, {"dtype": "torch.float16", "kv_cache_dtype": "fp8_e4m3"}) == []


def test_another_value_in_effect_is_a_difference() -> None:
    assert differences({"kv_cache_dtype": "fp8"}, {"kv_cache_dtype": "auto"}) == [
        "kv_cache_dtype 'fp8' was asked for, 'auto' is in effect"
    ]


def test_the_engines_line_in_the_log_is_read_by_the_options_names() -> None:
    line = (
        b"(EngineCore pid=9) INFO 11-28 03:03:49 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: "
        b"model='/tmp/tiny', speculative_config=None, dtype=torch.bfloat16, max_seq_len=32768, "
        b"tensor_parallel_size=2, enforce_eager=True, kv_cache_dtype=auto, device_config=cpu\n"
    )
    told = of_log(read_log(BytesIO(line)).attempt)
    assert told == {
        "dtype": "bfloat16",
        "max_model_len": 32768,
        "tensor_parallel_size": 2,
        "enforce_eager": True,
        "kv_cache_dtype": "auto",
    }


def test_the_development_route_is_read_by_the_options_names() -> None:
    config = {"model_config": {"max_model_len": 8192}, "parallel_config": {"enable_expert_parallel": True}, "x": None}
    assert by_our_names(config) == {"max_model_len": 8192, "enable_expert_parallel": True}
