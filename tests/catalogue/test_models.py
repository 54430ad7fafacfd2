"""Names, overrides and shapes of the models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.catalogue.models import Architecture
from qcmatrix.catalogue.names import all_checkpoints, all_models, find_checkpoint, resolve_model
from qcmatrix.errors import CatalogueError

# What the safetensors metadata of the published BF16 checkpoints adds up to.
PARAMETERS = {
    "480b": 480_154_875_392,
    "30b": 30_532_122_624,
    "next": 79_674_391_296,
    "q3-235b": 235_093_634_560,
    "q3-30b": 30_532_122_624,
    "q3-next": 79_674_391_296,
    "q3-0.6b": 596_049_920,
    "q3-1.7b": 1_720_574_976,
    "q3-4b": 4_022_468_096,
    "q3-8b": 8_190_735_360,
    "q3-14b": 14_768_307_200,
    "q3-32b": 32_762_123_264,
    "q2.5-coder-0.5b": 494_032_768,
    "q2.5-coder-1.5b": 1_543_714_304,
    "q2.5-coder-3b": 3_085_938_688,
    "q2.5-coder-7b": 7_615_616_512,
    "q2.5-coder-14b": 14_770_033_664,
    "q2.5-coder-32b": 32_763_876_352,
    "q2.5-0.5b": 494_032_768,
    "q2.5-1.5b": 1_543_714_304,
    "q2.5-3b": 3_085_938_688,
    "q2.5-7b": 7_615_616_512,
    "q2.5-14b": 14_770_033_664,
    "q2.5-32b": 32_763_876_352,
    "q2.5-72b": 72_706_203_648,
    "llama3.1-8b": 8_030_261_248,
    "llama3.3-70b": 70_553_706_496,
}


def parameters(a: Architecture) -> int:
    """All of them, from the shapes alone: a wrong size anywhere in a file shows here."""
    embedding = a.vocab_size * a.hidden_size * (1 if a.tie_word_embeddings else 2)
    return embedding + a.hidden_size + sum(layer(a, index) for index in range(a.num_hidden_layers))


def layer(a: Architecture, index: int) -> int:
    linear = a.linear_attention
    if linear is not None and (index + 1) % linear.full_attention_interval:
        key, value = linear.num_key_heads * linear.key_head_dim, linear.num_value_heads * linear.value_head_dim
        mixer = a.hidden_size * (2 * key + 2 * value + 2 * linear.num_value_heads) + value * a.hidden_size
        mixer += (2 * key + value) * linear.conv_kernel_dim + 2 * linear.num_value_heads + linear.value_head_dim
    else:
        q, kv = a.num_attention_heads * a.head_dim, a.num_key_value_heads * a.head_dim
        mixer = a.hidden_size * (q * (2 if a.attn_output_gate else 1) + 2 * kv) + q * a.hidden_size
        mixer += (q + 2 * kv if a.attention_bias else 0) + (2 * a.head_dim if a.qk_norm else 0)
    if a.moe is None or index in a.moe.dense_layers:
        mlp = 3 * a.hidden_size * a.intermediate_size
    else:
        shared = a.moe.shared_expert_intermediate_size
        mlp = 3 * a.hidden_size * (a.moe.num_experts * a.moe.moe_intermediate_size + shared)
        mlp += a.hidden_size * (a.moe.num_experts + (1 if shared else 0))
    return mixer + mlp + 2 * a.hidden_size


@pytest.mark.parametrize(("short", "published"), PARAMETERS.items())
def test_shapes_give_the_published_number_of_parameters(short: str, published: int) -> None:
    assert parameters(find_checkpoint(short).architecture) == published


def test_every_model_is_counted() -> None:
    assert {find_checkpoint(short).model.name for short in PARAMETERS} == {model.name for model in all_models()}


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("480b", "Qwen/Qwen3-Coder-480B-A35B-Instruct"),
        ("480B-FP8", "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"),
        ("480b-awq", "QuantTrio/Qwen3-Coder-480B-A35B-Instruct-AWQ"),
        ("30b-fp8", "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"),
        ("30b-bf16", "Qwen/Qwen3-Coder-30B-A3B-Instruct"),
        ("30b-awq", "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ"),
        ("next", "Qwen/Qwen3-Coder-Next"),
        ("next-fp8", "Qwen/Qwen3-Coder-Next-FP8"),
        (" Coder_30b ", "Qwen/Qwen3-Coder-30B-A3B-Instruct"),
        ("q3-30b-fp8", "Qwen/Qwen3-30B-A3B-FP8"),
        ("q3-235b-2507-fp8", "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"),
        ("qwen/qwen3-coder-next-fp8", "Qwen/Qwen3-Coder-Next-FP8"),
        ("Qwen3-Coder-30B-A3B-Instruct-FP8", "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"),
        ("/models/Qwen3-Coder-30B-A3B-Instruct-FP8", "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"),
        ("~/models/Qwen3-Coder-30B-A3B-Instruct-FP8/", "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"),
        ("models/Qwen3-Coder-Next", "Qwen/Qwen3-Coder-Next"),
        ("C:\\models\\Qwen3-Coder-Next", "Qwen/Qwen3-Coder-Next"),
        ("/hub/models--Qwen--Qwen3-Coder-Next-FP8/snapshots/0a1b2c", "Qwen/Qwen3-Coder-Next-FP8"),
        ("Qwen3-8B", "Qwen/Qwen3-8B"),
    ],
)
def test_names(text: str, repository: str) -> None:
    assert find_checkpoint(text).repository == repository


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("480b-fp9", "480b-fp8"),
        ("30-fp8", "30b-fp8"),
        ("qwen3-coder-30b-a3b-instruct-fp", "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"),
        ("q3-32", "q3-32b"),
    ],
)
def test_close_names_are_offered(text: str, hint: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        find_checkpoint(text)
    assert text in caught.value.what
    assert any(hint in note for note in caught.value.notes)


@pytest.mark.parametrize("text", ["someone/Qwen3-Coder-30B-A3B-Instruct-AWQ", "", "/", "banana", "x" * 5000])
def test_what_is_not_listed_is_refused(text: str) -> None:
    with pytest.raises(CatalogueError):
        find_checkpoint(text)


def test_positions_are_those_of_the_checkpoint() -> None:
    april, july = find_checkpoint("q3-30b"), find_checkpoint("q3-30b-2507")
    assert (april.architecture.max_position_embeddings, april.architecture.rope_theta) == (40960, 1e6)
    assert (july.architecture.max_position_embeddings, july.architecture.rope_theta) == (262144, 1e7)
    assert find_checkpoint("q3-235b-2507").architecture.rope_theta == 5e6
    assert find_checkpoint("480b-fp8").architecture.max_position_embeddings == 262144
    assert find_checkpoint("next").architecture.rope_theta == 5e6
    assert find_checkpoint("q2.5-coder-32b").architecture.max_position_embeddings == 32768


def test_quantizations() -> None:
    fp8 = find_checkpoint("480b-fp8").quantization
    assert (fp8.method, fp8.weight_bits, fp8.block, fp8.unquantized) == ("fp8", 8, (128, 128), ("lm_head",))
    awq = find_checkpoint("30b-awq").quantization
    assert (awq.method, awq.weight_bits, awq.group_size, awq.symmetric) == ("awq", 4, 128, False)
    nvfp4 = find_checkpoint("next-nvfp4").quantization
    assert (nvfp4.group_size, nvfp4.scale_bits, nvfp4.activation_bits) == (16, 8, 4)
    assert "linear_attention" in nvfp4.unquantized
    assert find_checkpoint("next").quantization.method == "none"


def test_tool_parsers_follow_the_family() -> None:
    parsers = {"qwen3-coder": "qwen3_coder", "llama": "llama3_json"}
    for resolved in all_checkpoints():
        parser = parsers.get(resolved.model.family, "hermes")
        assert resolved.checkpoint.tool_call_parser == (None if resolved.checkpoint.short == "kimi-dev" else parser)


def test_the_coder_family_comes_first_and_largest_first() -> None:
    assert [model.name for model in all_models()][:3] == [
        "Qwen3-Coder-480B-A35B-Instruct",
        "Qwen3-Coder-Next",
        "Qwen3-Coder-30B-A3B-Instruct",
    ]


@pytest.mark.parametrize("resolved", all_checkpoints(), ids=lambda resolved: resolved.checkpoint.short)
def test_every_spelling_finds_its_checkpoint(resolved) -> None:  # type: ignore[no-untyped-def]
    checkpoint = resolved.checkpoint
    base = checkpoint.repository.rpartition("/")[2]
    spellings = (checkpoint.short, *checkpoint.aliases, checkpoint.repository, base, f"/srv/{base}")
    for spelling in spellings:
        for written in (spelling, spelling.upper(), f" {spelling} "):
            assert find_checkpoint(written).checkpoint == checkpoint, written


def test_a_name_that_is_no_file_is_looked_up() -> None:
    assert resolve_model("30b-fp8").path is None


@given(st.text(max_size=60))
def test_any_text_is_found_or_refused_politely(text: str) -> None:
    notes: tuple[str, ...] = ()
    repository = ""
    try:
        repository = find_checkpoint(text).repository
    except CatalogueError as error:
        notes = error.notes
    assert repository or notes
