"""A local ``config.json``: read as vLLM would, and everything wrong with it said at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qcmatrix.catalogue.config_json import SUPPORTED, read_config
from qcmatrix.catalogue.names import ResolvedCheckpoint, all_checkpoints, find_checkpoint, resolve_model
from qcmatrix.catalogue.quantization_json import QuantizationError, read_quantization
from qcmatrix.errors import FileProblem

DENSE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "bos_token_id": 128000,
    "something_new": {"of": ["no", "interest"]},
}


def write(folder: Path, config: object, name: str = "config.json") -> Path:
    path = folder / name
    path.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return path


def read(folder: Path, **changes: Any) -> ResolvedCheckpoint:
    return read_config(write(folder, {**DENSE, **changes}))


def as_config(resolved: ResolvedCheckpoint) -> dict[str, Any]:
    """A catalogued checkpoint the way its ``config.json`` states it."""
    a = resolved.architecture
    config: dict[str, Any] = {
        "architectures": [a.architecture],
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "num_hidden_layers": a.num_hidden_layers,
        "num_attention_heads": a.num_attention_heads,
        "num_key_value_heads": a.num_key_value_heads,
        "head_dim": a.head_dim,
        "vocab_size": a.vocab_size,
        "max_position_embeddings": a.max_position_embeddings,
        "rope_theta": int(a.rope_theta),
        "rope_scaling": None,
        "tie_word_embeddings": a.tie_word_embeddings,
    }
    if a.moe:
        config |= {
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "num_experts": a.moe.num_experts,
            "num_experts_per_tok": a.moe.num_experts_per_tok,
            "moe_intermediate_size": a.moe.moe_intermediate_size,
            "shared_expert_intermediate_size": a.moe.shared_expert_intermediate_size,
        }
    if a.linear_attention:
        config |= {
            "full_attention_interval": a.linear_attention.full_attention_interval,
            "linear_num_key_heads": a.linear_attention.num_key_heads,
            "linear_num_value_heads": a.linear_attention.num_value_heads,
            "linear_key_head_dim": a.linear_attention.key_head_dim,
            "linear_value_head_dim": a.linear_attention.value_head_dim,
            "linear_conv_kernel_dim": a.linear_attention.conv_kernel_dim,
        }
    return config


@pytest.mark.parametrize("resolved", all_checkpoints(), ids=lambda resolved: resolved.checkpoint.short)
def test_the_catalogue_is_read_back(resolved: ResolvedCheckpoint, tmp_path: Path) -> None:
    assert read_config(write(tmp_path, as_config(resolved))).architecture == resolved.architecture


def test_a_directory_and_its_file_are_the_same(tmp_path: Path) -> None:
    file = write(tmp_path, DENSE)
    assert read_config(tmp_path).architecture == read_config(file).architecture
    assert resolve_model(str(tmp_path)).path == str(file)
    assert resolve_model(str(file)).architecture.architecture == "LlamaForCausalLM"


def test_llama_like(tmp_path: Path) -> None:
    a = read(tmp_path).architecture
    assert (a.head_dim, a.qk_norm, a.attention_bias, a.moe) == (128, False, False, None)
    assert a.rope_scaling is None


def test_qwen2_has_its_bias(tmp_path: Path) -> None:
    assert read(tmp_path, architectures=["Qwen2ForCausalLM"]).architecture.attention_bias


def test_text_config_is_looked_into(tmp_path: Path) -> None:
    inner = {key: value for key, value in DENSE.items() if key != "architectures"}
    resolved = read_config(write(tmp_path, {"architectures": ["MistralForCausalLM"], "text_config": inner}))
    assert resolved.architecture.hidden_size == 4096


def test_both_ways_to_state_positions(tmp_path: Path) -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    old = read(tmp_path, rope_scaling=yarn).architecture
    new = read(tmp_path, rope_theta=None, rope_parameters={**yarn, "rope_theta": 500000.0}).architecture
    assert old == new
    assert old.rope_scaling == yarn
    assert old.rope_theta == 500000.0
    assert read(tmp_path, rope_scaling={"type": "yarn", "factor": 4.0}).architecture.rope_scaling == {
        "rope_type": "yarn",
        "factor": 4.0,
    }
    plain = read(tmp_path, rope_parameters={"rope_type": "default", "rope_theta": 1e6}).architecture
    assert (plain.rope_theta, plain.rope_scaling) == (1e6, None)


def test_dense_layers_of_a_sparse_model(tmp_path: Path) -> None:
    config = as_config(find_checkpoint("30b"))
    moe = read_config(write(tmp_path, {**config, "mlp_only_layers": [0, 5]})).architecture.moe
    assert moe is not None
    assert moe.dense_layers == (0, 5)
    moe = read_config(write(tmp_path, {**config, "decoder_sparse_step": 2})).architecture.moe
    assert moe is not None
    assert moe.dense_layers == tuple(range(0, 48, 2))


def test_layer_types_stand_in_for_the_interval(tmp_path: Path) -> None:
    config = as_config(find_checkpoint("next"))
    del config["full_attention_interval"]
    config["layer_types"] = (["linear_attention"] * 3 + ["full_attention"]) * 12
    assert read_config(write(tmp_path, config)).architecture == find_checkpoint("next").architecture


# Quantization


def skip(*modules: str, layers: int = 48) -> list[str]:
    return ["lm_head", *(f"model.layers.{index}.{module}" for index in range(layers) for module in modules)]


INT4 = {"num_bits": 4, "type": "int", "group_size": 32, "symmetric": False, "strategy": "group"}
NVFP4 = {"num_bits": 4, "type": "float", "group_size": 16, "symmetric": True}
FP8 = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}


@pytest.mark.parametrize(
    ("config", "short", "expected"),
    [
        (
            {
                "quant_method": "fp8",
                "weight_block_size": [128, 128],
                "modules_to_not_convert": skip("input_layernorm", "mlp.gate"),
            },
            "30b",
            {"method": "fp8", "weight_bits": 8, "block": (128, 128), "unquantized": ("lm_head",)},
        ),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
            "30b",
            {"method": "awq", "group_size": 128, "symmetric": False, "unquantized": ("lm_head",)},
        ),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 64, "modules_to_not_convert": skip("self_attn")},
            "30b",
            {"group_size": 64, "unquantized": ("lm_head", "attention")},
        ),
        (
            {
                "quant_method": "awq",
                "bits": 4,
                "group_size": 128,
                "modules_to_not_convert": ["model.layers.0.", "gate"],
            },
            "30b",
            None,
        ),
        (
            {"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": True, "desc_act": False},
            "q3-8b",
            {"method": "gptq", "weight_bits": 8, "group_size": -1, "unquantized": ("lm_head",)},
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": INT4, "input_activations": None}},
                "ignore": skip("mlp.gate"),
            },
            "30b",
            {"method": "compressed-tensors", "group_size": 32, "symmetric": False, "activation_bits": 16},
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": NVFP4, "input_activations": NVFP4}},
                "ignore": ["lm_head", "re:.*mlp.gate$", "re:.*mlp.shared_expert_gate$", "re:.*linear_attn.*"],
            },
            "next",
            {"group_size": 16, "scale_bits": 8, "activation_bits": 4, "unquantized": ("lm_head", "linear_attention")},
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": FP8, "input_activations": {"num_bits": 8, "dynamic": True}}},
                "ignore": ["lm_head"],
            },
            "q3-8b",
            {"weight_bits": 8, "activation_bits": 8, "group_size": None, "block": None},
        ),
        (
            {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head", "*self_attn*", "*mlp.gate*"]},
            "480b",
            {"method": "modelopt", "group_size": 16, "scale_bits": 8, "unquantized": ("lm_head", "attention")},
        ),
    ],
)
def test_quantizations(config: dict[str, Any], short: str, expected: dict[str, Any] | None, tmp_path: Path) -> None:
    file = write(tmp_path, {**as_config(find_checkpoint(short)), "quantization_config": config})
    if expected is None:
        with pytest.raises(FileProblem, match="that can be computed with") as caught:
            read_config(file)
        assert "cannot tell what the skipped module 'gate' is" in caught.value.notes[0]
        return
    quantization = read_config(file).quantization
    assert {key: getattr(quantization, key) for key in expected} == expected


def test_official_fp8_files_give_what_the_catalogue_says(tmp_path: Path) -> None:
    for short, modules in (
        ("480b", ("input_layernorm", "post_attention_layernorm", "mlp.gate")),
        ("next", ("linear_attn.conv1d", "linear_attn.in_proj_ba", "mlp.gate", "mlp.shared_expert_gate")),
    ):
        config = as_config(find_checkpoint(short))
        config["quantization_config"] = {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "weight_block_size": [128, 128],
            "modules_to_not_convert": skip(*modules, layers=config["num_hidden_layers"]),
        }
        assert read_config(write(tmp_path, config)).quantization == find_checkpoint(f"{short}-fp8").quantization


def test_whole_layers_in_16_bit(tmp_path: Path) -> None:
    config = as_config(find_checkpoint("30b"))
    config["quantization_config"] = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": 128,
        "modules_to_not_convert": ["model.layers.0.", "model.layers.47"],
    }
    assert read_config(write(tmp_path, config)).quantization.unquantized_layers == (0, 47)


def test_a_part_in_16_bit_in_some_layers_only_is_not_guessed(tmp_path: Path) -> None:
    config = as_config(find_checkpoint("30b"))
    config["quantization_config"] = {
        "quant_method": "fp8",
        "modules_to_not_convert": ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"],
    }
    with pytest.raises(FileProblem) as caught:
        read_config(write(tmp_path, config))
    assert "attention stays in 16 bit in some layers only (0, 1)" in caught.value.notes[0]


def test_hf_quant_config_beside_it(tmp_path: Path) -> None:
    write(tmp_path, as_config(find_checkpoint("480b")))
    quantization = {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head", "model.layers.*.mlp.gate"]}
    write(tmp_path, {"producer": {"name": "modelopt"}, "quantization": quantization}, "hf_quant_config.json")
    found = read_config(tmp_path).quantization
    assert (found.method, found.weight_bits, found.unquantized) == ("modelopt", 4, ("lm_head",))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "quant_method"),
        ({"quant_method": "exl2"}, "exl2"),
        ({"quant_method": "awq", "bits": 8, "group_size": 128}, "8 bits"),
        ({"quant_method": "awq", "bits": 4}, "group_size"),
        ({"quant_method": "gptq", "bits": "4", "group_size": 128}, "bits"),
        ({"quant_method": "fp8", "weight_block_size": 128}, "weight_block_size"),
        ({"quant_method": "fp8", "modules_to_not_convert": "lm_head"}, "list of module names"),
        ({"quant_method": "compressed-tensors"}, "config_groups"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": INT4}, "b": {"weights": FP8}}},
            "different precisions",
        ),
        ({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}, "W4A8_AWQ"),
    ],
)
def test_quantization_that_is_not_covered(config: dict[str, Any], says: str) -> None:
    with pytest.raises(QuantizationError, match=says):
        read_quantization(config)


# Bad files


def test_all_problems_at_once(tmp_path: Path) -> None:
    config = {**DENSE, "hidden_size": "4096", "vocab_size": -1, "tie_word_embeddings": "yes", "rope_theta": "big"}
    del config["num_hidden_layers"]
    config["quantization_config"] = {"quant_method": "exl2"}
    with pytest.raises(FileProblem) as caught:
        read_config(write(tmp_path, config))
    notes = "\n".join(caught.value.notes)
    for word in ("hidden_size", "vocab_size", "tie_word_embeddings", "rope_theta", "num_hidden_layers", "exl2"):
        assert word in notes, word
    assert len(caught.value.notes) == 6


@pytest.mark.parametrize("architecture", sorted(SUPPORTED))
def test_an_empty_one_names_every_key_it_needs(architecture: str, tmp_path: Path) -> None:
    with pytest.raises(FileProblem) as caught:
        read_config(write(tmp_path, {"architectures": [architecture]}))
    notes = "\n".join(caught.value.notes)
    needed = ["hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "max_position_embeddings"]
    needed += {"moe": ["num_experts", "moe_intermediate_size"], "next": ["linear_num_key_heads"]}.get(
        SUPPORTED[architecture], ["intermediate_size"]
    )
    assert all(f"`{key}` is missing" in notes for key in needed)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[1, 2]", "an object was expected, not a list"),
        ("null", "an object was expected, not null"),
        ("3", "an object was expected, not a number"),
        ("[" * 100_000, "not"),
        ("{}", "`architectures` must be a list"),
        ('{"architectures": "LlamaForCausalLM"}', "`architectures` must be a list"),
        ('{"architectures": ["GPT2LMHeadModel"]}', "GPT2LMHeadModel is not covered"),
    ],
)
def test_files_that_are_something_else(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match=says):
        read_config(write(tmp_path, content))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="no such file"):
        resolve_model(str(tmp_path / "config.json"))
    with pytest.raises(FileProblem, match=r"no config\.json in this directory"):
        resolve_model(str(tmp_path))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileProblem, match="not UTF-8"):
        resolve_model(str(tmp_path / "binary.json"))


NESTED = ("text_config", "compression_config")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=300)
@given(
    st.sampled_from(["q3-8b", "30b-fp8", "next"]),
    st.dictionaries(
        st.sampled_from(
            [
                *as_config(find_checkpoint("next")),
                "rope_parameters",
                "quantization_config",
                "layer_types",
                "text_config",
            ]
        ),
        json_values,
        max_size=4,
    ),
)
def test_no_value_of_any_key_breaks_it(tmp_path: Path, short: str, changes: dict[str, Any]) -> None:
    file = write(tmp_path, {**as_config(find_checkpoint(short)), **changes})
    said, layers = "", 0
    try:
        layers = read_config(file).architecture.num_hidden_layers
    except FileProblem as problem:
        said = problem.what
    assert layers > 0 or str(file) in said
