"""Weights per rank: against vLLM's own model code, public logs, and laws."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.catalogue.config_json import read_config
from qcmatrix.catalogue.models import Architecture, MixtureOfExperts, Quantization
from qcmatrix.catalogue.names import find_checkpoint
from qcmatrix.errors import RequestError
from qcmatrix.memory.allocator import LARGE, segment_bytes, taken_beyond
from qcmatrix.memory.ledger import GIB
from qcmatrix.memory.weights import layers_per_stage, loaded_bytes, rotary_cache_bytes, weights_bytes
from qcmatrix.versions import Version, parse_version

ORACLE = Path(__file__).parent / "oracle" / "weights.jsonl"
ASKED = parse_version("0.32.0")
FP8_BLOCK = Quantization(method="fp8", weight_bits=8, block=(128, 128), activation_bits=8)


def oracle_lines() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    first, *rest = map(json.loads, ORACLE.read_text(encoding="utf-8").splitlines())
    return first["configs"], rest


CONFIGS, ANSWERS = oracle_lines()
COUNTED = [answer for answer in ANSWERS if "stages" in answer]
REFUSED = [answer for answer in ANSWERS if "error" in answer]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def read(name: str) -> tuple[Architecture, Quantization]:
        config = CONFIGS[name]
        listed = config.get("quantization_config", {}).get("modules_to_not_convert", [])
        if listed:
            layers = range(config["num_hidden_layers"])
            spread = [item.replace("{layer}", str(layer)) for item in listed for layer in layers]
            config = {**config, "quantization_config": {**config["quantization_config"]}}
            config["quantization_config"]["modules_to_not_convert"] = sorted(set(spread))
        folder = tmp_path_factory.mktemp("config")
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        found = read_config(folder / "config.json")
        return found.architecture, found.quantization

    return read


def name_of(answer: dict[str, Any]) -> str:
    return " ".join(
        [answer["config"]]
        + [f"{key}{answer[key]}" for key in ("tp", "pp", "dp", "partition") if key in answer]
        + (["ep"] if answer.get("ep") else [])
    )


def asked(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "tensor_parallel_size": answer.get("tp", 1),
        "pipeline_parallel_size": answer.get("pp", 1),
        "data_parallel_size": answer.get("dp", 1),
        "enable_expert_parallel": bool(answer.get("ep")),
        "pipeline_partition": tuple(answer["partition"]) if answer.get("partition") else None,
        "version": parse_version(answer["vllm"]),
    }


def router_in_fp8(architecture: Architecture) -> int:
    """What a router in FP8 is smaller than one in 16 bit, all layers."""
    assert architecture.moe is not None
    experts, hidden = architecture.moe.num_experts, architecture.hidden_size
    each = 2 * experts * hidden - (experts * hidden + 4 * -(-experts // 128) * -(-hidden // 128))
    return architecture.num_hidden_layers * each


@pytest.mark.parametrize("answer", COUNTED, ids=map(name_of, COUNTED))
def test_every_integer_of_vllm(answer: dict[str, Any], checkpoint: Any) -> None:
    architecture, quantization = checkpoint(answer["config"])
    ours = weights_bytes(architecture, quantization, **asked(answer), online=False, as_created=True)
    theirs = tuple(stage["bytes"] for stage in answer["stages"])
    if answer["config"].endswith("-router-too"):  # a config without `modules_to_not_convert`: no published checkpoint
        assert answer.get("pp", 1) == 1
        theirs = (theirs[0] + router_in_fp8(architecture),)
    assert ours == theirs


@pytest.mark.parametrize("answer", REFUSED, ids=map(name_of, REFUSED))
def test_what_vllm_refuses_still_gets_a_number(answer: dict[str, Any], checkpoint: Any) -> None:
    sizes = weights_bytes(*checkpoint(answer["config"]), **asked(answer))
    assert len(sizes) == answer.get("pp", 1)
    assert min(sizes) > 0


def test_the_oracle_is_broad() -> None:
    assert len(COUNTED) >= 200
    assert {answer["vllm"] for answer in ANSWERS} == {"0.32.0"}


@pytest.mark.parametrize(
    ("model", "ranks", "gib"),
    [
        ("480B-A35B", {"tensor_parallel_size": 8, "enable_expert_parallel": True}, 56.179),
        ("480B-A35B", {"tensor_parallel_size": 8}, 56.219),
        ("480B-A35B", {"tensor_parallel_size": 4, "data_parallel_size": 2, "enable_expert_parallel": True}, 57.795),
        ("480B-A35B", {"tensor_parallel_size": 2, "data_parallel_size": 4, "enable_expert_parallel": True}, 61.026),
        ("480B-A35B", {"tensor_parallel_size": 1, "data_parallel_size": 8, "enable_expert_parallel": True}, 67.489),
        ("480B-A35B", {"tensor_parallel_size": 1}, 449.027),
        ("30B-A3B", {"tensor_parallel_size": 1}, 29.022),
        ("30B-A3B", {"tensor_parallel_size": 4}, 7.269),
        ("30B-A3B", {"tensor_parallel_size": 8}, 3.662),
    ],
)
def test_the_first_figures_counted_the_router_in_fp8(model: str, ranks: dict[str, Any], gib: float) -> None:
    # They were asked with a config that lacks `modules_to_not_convert`; the published checkpoints list every router.
    found = find_checkpoint(f"Qwen/Qwen3-Coder-{model}-Instruct-FP8")
    (size,) = weights_bytes(found.architecture, found.quantization, **ranks, version=ASKED, as_created=True)
    assert round((size - router_in_fp8(found.architecture)) / GIB, 3) == gib
    if gib == 449.027:
        assert size == 482_200_352_240
        assert size - router_in_fp8(found.architecture) == 482_139_427_568


@pytest.mark.parametrize(
    ("model", "tensor", "gib"),
    [
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct", 8, 111.895),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", 1, 56.871),
    ],
)
def test_published_figures_in_16_bit(model: str, tensor: int, gib: float) -> None:
    found = find_checkpoint(model)
    (size,) = weights_bytes(found.architecture, found.quantization, tensor_parallel_size=tensor, version=ASKED)
    assert abs(size / GIB - gib) < 0.001  # published with the third digit rounded up


PLANNER = (
    "https://github.com/llm-d-incubation/llm-d-planner/blob/56dc5b76ca535960998bdf9fd4a3077d98fdf60a/accuracy/results"
)
GUARDKIT = (
    "https://github.com/guardkit/guardkit/blob/703734eee2aec9ba5591dd7eedf8aabeb0291c4a/docs/reviews/graphiti-qwen3"
)
CHANNEL_FP8 = Quantization(method="compressed-tensors", weight_bits=8, activation_bits=8, unquantized=("lm_head",))
ONLINE_FP8 = Quantization(method="fp8", weight_bits=8, activation_bits=8, unquantized=("lm_head",))
# model, "Model loading took", release, compute capability, what else, where the log is
LOGS: list[tuple[str, float, str, tuple[int, int], dict[str, Any], str]] = [
    (
        "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", 27.7183, "0.10.2", (8, 9),
        {"tensor_parallel_size": 8, "enable_expert_parallel": True},
        "https://github.com/tim-roethig/ai-platform/blob/7c54612e18653a2d2ccc125072c093010d89691b/platform/benchmarks/qwen3_235b_on_8xl40s.md",
    ),
    (
        "Qwen/Qwen3-30B-A3B-Instruct-2507", 29.08, "0.22.1", (9, 0), {"quantization": ONLINE_FP8},
        "https://github.com/NnamdiOdozi/mlops-assignment/blob/0eb0115f8fa985587481c99e737d6347f0df2cd5/logs/vllm.log",
    ),
    (
        "Qwen/Qwen3-30B-A3B", 14.2474, "0.8.5", (8, 6), {"tensor_parallel_size": 4},
        "https://github.com/vllm-project/vllm/issues/17469",
    ),
    (
        "Qwen/Qwen3-30B-A3B", 56.88, "0.19.0", (9, 0), {},
        f"{PLANNER}/v0.19.0/logs/qwen-qwen3-30b-a3b--h100-80gb--tp1pp1dp1--8192.log",
    ),
    ("Qwen/Qwen3-30B-A3B-FP8", 29.0435, "0.13.0", (12, 1), {"allocator_rounding": False}, f"{GUARDKIT}/run-2.md"),
    (
        "Qwen/Qwen2.5-14B-Instruct", 15.2227, "0.13.0", (12, 1),
        {"quantization": CHANNEL_FP8, "allocator_rounding": False},
        f"{GUARDKIT}/run-6.md",
    ),
    (
        "Qwen/Qwen2.5-Coder-32B-Instruct-AWQ", 18.1425, "0.13.0", (8, 0), {},
        "https://github.com/joshhickson/LogoMesh/blob/3d1e624580cd53b95db7dbd2afdf5ad06666fd63/docs/Archive/Logs/Intent-Log/Josh/20260104-Agent-Battle-Chat.json",
    ),
    (
        "Qwen/Qwen2.5-7B-Instruct", 8.14, "0.19.0", (9, 0), {"quantization": CHANNEL_FP8},
        f"{PLANNER}/v0.19.0/logs/fp8dyn-redhatai-qwen2-5---h100-80gb--tp1pp1dp1--8192.log",
    ),
    (
        "Qwen/Qwen2.5-7B-Instruct", 14.25, "0.19.0", (9, 0), {},
        f"{PLANNER}/v0.19.0/logs/qwen-qwen2-5-7b-instruct--h100-80gb--tp1pp1dp1--8192.log",
    ),
    (
        "Qwen/Qwen3-8B", 15.27, "0.19.0", (9, 0), {},
        f"{PLANNER}/v0.19.0/logs/qwen-qwen3-8b--h100-80gb--tp1pp1dp1--8192.log",
    ),
    (
        "Qwen/Qwen3-14B", 27.52, "0.16.0", (9, 0), {},
        f"{PLANNER}/version-sweep/runs/qwen3-14b-vllm-v0-16-0--h100-80gb--tp1pp1dp1--8192.json",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model", "gib", "release", "card", "rest", "log"), LOGS, ids=[f"{m[0]} {m[1]}" for m in LOGS])
def test_what_public_logs_call_model_loading(
    model: str, gib: float, release: str, card: tuple[int, int], rest: dict[str, Any], log: str
) -> None:
    found = find_checkpoint(model)
    rest = {"tensor_parallel_size": 1, "quantization": found.quantization, **rest}
    (size,) = loaded_bytes(
        found.architecture, rest.pop("quantization"), **rest, version=parse_version(release), compute_capability=card
    )
    assert size / GIB == pytest.approx(gib, rel=0.0005)


MIB = 1 << 20
LAB = "https://github.com/samilazrak/vllm-optimization-lab/blob/a7b193a33a718b3cb3f95476791932afdf599c2b/results/raw"
WEEK_3 = "https://github.com/youwins-lab/Blog/blob/3d89c0398dfc30bbb9aaf1e6611b8bde577a9a79/_posts/2026-08-22-quantization-week3.md"
DPO = "https://github.com/Macavity17/agent-badcase-dpo/blob/0454f39796d296ac05263a1c0221dc5ad4fcde31/docs/EXPERIMENT_LOG.md"


@pytest.mark.parametrize(
    ("model", "gib", "release", "log"),
    [
        ("Qwen/Qwen3-14B", 27.52, "0.29.0", f"{LAB}/base.startup.log"),
        ("Qwen/Qwen3-14B-AWQ", 9.44, "0.29.0", f"{LAB}/awq.startup.log"),
        ("Qwen/Qwen2.5-7B-Instruct", 14.29, "0.27.1", WEEK_3),
        ("RedHatAI/Qwen2.5-7B-Instruct-fp8-dynamic", 8.18, "0.27.1", WEEK_3),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", 5.27, "0.27.1", WEEK_3),
        ("Qwen/Qwen2.5-1.5B-Instruct", 2.98, "0.28.0", DPO),
    ],
)
def test_model_loading_on_pytorch_2_11_and_later(model: str, gib: float, release: str, log: str) -> None:
    """Larger rests of segments stay with their tensors; the logs round to two digits."""
    found = find_checkpoint(model)
    (size,) = loaded_bytes(
        found.architecture,
        found.quantization,
        tensor_parallel_size=1,
        version=parse_version(release),
        compute_capability=(8, 9),
    )
    assert size / GIB == pytest.approx(gib, abs=0.0075)


def test_rests_between_small_tensors_are_small() -> None:
    layer = (((18 * MIB, 3 * MIB), (MIB // 2,)), ((13 * MIB, MIB + 1), ()))
    assert taken_beyond(100 * MIB, layer, 4, 0, 0.0) < 4 * 2 * MIB
    assert taken_beyond(100 * MIB, (), 4, 0, 0.0) == 0
    assert segment_bytes(LARGE + 1, 0.0) == LARGE + 1
    assert segment_bytes(LARGE + MIB, 0.0) == LARGE + 2 * MIB
    assert segment_bytes(39 * MIB - 1, 0.0) == 39 * MIB - 1
    assert segment_bytes(39 * MIB - 1, 1 / 12) == 40 * MIB


def one(architecture: Architecture, quantization: Quantization, release: str = "0.32.0", **ranks: Any) -> int:
    ranks = {"tensor_parallel_size": 1, **ranks}
    (size,) = weights_bytes(architecture, quantization, **ranks, version=parse_version(release))
    return size


def test_block_scales_are_refined_from_0_29() -> None:
    found = find_checkpoint("Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8")
    sizes = {
        release: one(found.architecture, found.quantization, release, tensor_parallel_size=8)
        for release in ("0.28.0", "0.29.0rc1", "0.29.0", "0.33.0")
    }
    assert sizes["0.28.0"] == sizes["0.29.0rc1"] < sizes["0.29.0"] == sizes["0.33.0"]
    # 320 columns: 5 blocks of 64 in place of 3 of 128, each way, and four times the scales
    assert sizes["0.29.0"] - sizes["0.28.0"] == 62 * 160 * 4 * 3 * (5 * 96 - 3 * 48)


def test_the_hybrid_shared_expert_is_whole_on_each_rank_from_0_20() -> None:
    found = find_checkpoint("Qwen/Qwen3-Coder-Next")
    ranks = {"tensor_parallel_size": 2, "data_parallel_size": 2, "enable_expert_parallel": True}
    before, after = (one(found.architecture, found.quantization, release, **ranks) for release in ("0.19.1", "0.20.0"))
    assert after - before == 48 * 3 * 2048 * 512 * 2 // 2


def test_fp8_made_while_loading_takes_the_router_along() -> None:
    sparse = find_checkpoint("Qwen/Qwen3-Coder-30B-A3B-Instruct").architecture
    assert one(sparse, ONLINE_FP8, "0.10.0") - one(sparse, ONLINE_FP8, "0.10.1") == 48 * (128 * 2048 - 4)
    hybrid = find_checkpoint("Qwen/Qwen3-Coder-Next").architecture
    assert one(hybrid, ONLINE_FP8, "0.17.0") - one(hybrid, ONLINE_FP8, "0.16.0") == 48 * (512 * 2048 - 4)


def test_experts_that_do_not_divide_pile_up_on_the_last_rank_in_0_10_0() -> None:
    found = find_checkpoint("Qwen/Qwen3-Coder-480B-A35B-Instruct")
    ranks = {"data_parallel_size": 6, "enable_expert_parallel": True}  # 160 experts
    piled, spread = (one(found.architecture, found.quantization, release, **ranks) for release in ("0.10.0", "0.10.1"))
    assert piled - spread == 62 * (30 - 27) * 3 * 2560 * 6144 * 2


def test_loading_frees_zero_points_of_symmetric_gptq_but_on_hopper() -> None:
    dense = find_checkpoint("Qwen/Qwen3-8B").architecture
    gptq = Quantization(method="gptq", weight_bits=4, group_size=128, unquantized=("lm_head",))
    sizes = {
        card: weights_bytes(dense, gptq, tensor_parallel_size=1, version=ASKED, compute_capability=card)[0]
        for card in ((8, 6), (9, 0))
    }
    linear = 36 * (4096 * (6144 + 4096 + 3 * 12288))
    assert sizes[9, 0] - sizes[8, 6] == linear // 128 // 2


def test_cards_without_fp8_units_hold_one_16_bit_scale_per_column_and_group() -> None:
    found = find_checkpoint("Qwen/Qwen3-30B-A3B-FP8")
    ampere, ada = (
        weights_bytes(
            found.architecture, found.quantization, tensor_parallel_size=1, version=ASKED, compute_capability=card
        )[0]
        for card in ((8, 6), (8, 9))
    )
    quantized = 48 * (2048 * (5120 + 4096) + 128 * 3 * 2048 * 768)
    assert ampere - ada == quantized * 2 // 128 - quantized * 4 // 128**2


def test_16_bit_experts_are_rounded_up_on_compute_capability_10() -> None:
    found = find_checkpoint("Qwen/Qwen3-Coder-30B-A3B-Instruct")
    sizes = [
        weights_bytes(
            found.architecture,
            found.quantization,
            tensor_parallel_size=8,
            version=parse_version(release),
            compute_capability=card,
        )[0]
        for card, release in (((9, 0), "0.31.0"), ((10, 0), "0.30.0"), ((10, 0), "0.31.0"))
    ]
    assert sizes[0] == sizes[1]
    assert sizes[2] - sizes[1] == 48 * 128 * 3 * 2048 * (128 - 96) * 2


def test_whole_layers_in_16_bit() -> None:
    found = find_checkpoint("Qwen/Qwen3-8B")
    some = Quantization(method="fp8", weight_bits=8, block=(128, 128), activation_bits=8, unquantized_layers=(0, 35))
    every = Quantization(
        method="fp8", weight_bits=8, block=(128, 128), activation_bits=8, unquantized_layers=tuple(range(36))
    )
    none, plain = one(found.architecture, FP8_BLOCK), one(found.architecture, Quantization())
    assert one(found.architecture, every) == plain
    assert one(found.architecture, some) - none == (plain - none) // 36 * 2


@pytest.mark.parametrize(
    ("layers", "stages", "split"),
    [(62, 4, (15, 16, 16, 15)), (62, 3, (21, 21, 20)), (61, 2, (31, 30)), (48, 5, (9, 10, 10, 10, 9)), (5, 1, (5,))],
)
def test_left_over_layers_spare_the_last_stage(layers: int, stages: int, split: tuple[int, ...]) -> None:
    assert layers_per_stage(layers, stages) == split


def test_a_partition_must_fit() -> None:
    assert layers_per_stage(62, 2, (32, 30)) == (32, 30)
    for partition in ((31, 30), (20, 21, 21)):
        with pytest.raises(RequestError, match="VLLM_PP_LAYER_PARTITION"):
            layers_per_stage(62, 2, partition)


def test_rotary_cache_is_the_oracles_largest_buffer(checkpoint: Any) -> None:
    for answer in COUNTED:
        architecture, _ = checkpoint(answer["config"])
        for stage in answer["stages"]:
            assert 0 <= stage["buffers"] - rotary_cache_bytes(architecture) < 128 * 1024  # scales, expert maps
    architecture, _ = checkpoint("480")
    assert rotary_cache_bytes(architecture, positions=1 << 20) == 4 * rotary_cache_bytes(architecture)


SCHEMES = st.sampled_from(
    [
        Quantization(),
        FP8_BLOCK,
        ONLINE_FP8,
        CHANNEL_FP8,
        Quantization(method="awq", weight_bits=4, group_size=128, symmetric=False, unquantized=("lm_head",)),
        Quantization(method="gptq", weight_bits=8, group_size=64, unquantized=("lm_head",)),
        Quantization(method="modelopt", weight_bits=4, group_size=16, activation_bits=4, unquantized=("lm_head",)),
    ]
)
RELEASES = st.sampled_from(["0.10.0", "0.17.0", "0.28.0", "0.29.0", "0.33.0"]).map(Version)


@st.composite
def architectures(draw: st.DrawFn, sparse: bool | None = None) -> Architecture:
    moe = None
    if draw(st.booleans()) if sparse is None else sparse:
        moe = MixtureOfExperts(
            num_experts=64 * draw(st.integers(1, 4)),
            num_experts_per_tok=8,
            moe_intermediate_size=2048 * draw(st.integers(1, 2)),
            shared_expert_intermediate_size=draw(st.sampled_from([0, 2048])),
        )
    return Architecture(
        architecture="Qwen3ForCausalLM" if moe is None else "Qwen3MoeForCausalLM",
        hidden_size=1024 * draw(st.integers(1, 6)),
        intermediate_size=2048 * draw(st.integers(1, 8)),
        num_hidden_layers=draw(st.integers(1, 80)),
        num_attention_heads=16 * draw(st.integers(1, 6)),
        num_key_value_heads=2 ** draw(st.integers(0, 4)),
        head_dim=128,
        vocab_size=1024 * draw(st.integers(1, 160)),
        max_position_embeddings=4096,
        rope_theta=1e6,
        tie_word_embeddings=draw(st.booleans()),
        attention_bias=draw(st.booleans()),
        moe=moe,
    )


@given(architectures(), SCHEMES, RELEASES, st.booleans(), st.sampled_from([None, (8, 0), (9, 0), (10, 0)]))
def test_more_tensor_parallelism_is_less_per_rank_and_no_less_in_all(
    architecture: Architecture, quantization: Quantization, version: Version, experts: bool, card: Any
) -> None:
    sizes = [
        weights_bytes(
            architecture,
            quantization,
            tensor_parallel_size=tensor,
            enable_expert_parallel=experts,
            version=version,
            compute_capability=card,
        )[0]
        for tensor in (1, 2, 4, 8, 16)
    ]
    assert sizes == sorted(sizes, reverse=True)
    totals = [size * 2**power for power, size in enumerate(sizes)]
    assert totals == sorted(totals)


@given(architectures(sparse=True), SCHEMES, RELEASES)
def test_expert_parallelism_keeps_the_experts_in_all(
    architecture: Architecture, quantization: Quantization, version: Version
) -> None:
    ranks = (1, 2, 4, 8)
    sizes = [
        weights_bytes(
            architecture,
            quantization,
            tensor_parallel_size=1,
            data_parallel_size=data,
            enable_expert_parallel=True,
            version=version,
        )[0]
        for data in ranks
    ]
    moved = [before - after for before, after in pairwise(sizes)]
    assert moved[0] == 2 * moved[1] == 4 * moved[2] > 0


@given(architectures(), SCHEMES, RELEASES, st.data())
def test_pipeline_stages_add_up(
    architecture: Architecture, quantization: Quantization, version: Version, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, min(8, architecture.num_hidden_layers)))
    stages = weights_bytes(
        architecture, quantization, tensor_parallel_size=1, pipeline_parallel_size=count, version=version
    )
    whole = one(architecture, quantization, str(version))
    table = 2 * architecture.vocab_size * architecture.hidden_size
    if architecture.moe is not None:  # each stage holds embedding, lm_head and the last norm
        tables = table * (1 if architecture.tie_word_embeddings else 2) + 2 * architecture.hidden_size
        again = tables * (count - 1)
    else:
        again = table if architecture.tie_word_embeddings and count > 1 else 0
    assert sum(stages) == whole + again
    assert len(stages) == count


@given(architectures(), SCHEMES, RELEASES)
def test_loaded_is_never_less_than_the_weights(
    architecture: Architecture, quantization: Quantization, version: Version
) -> None:
    weights = one(architecture, quantization, str(version))
    (loaded,) = loaded_bytes(architecture, quantization, tensor_parallel_size=1, version=version)
    assert weights < loaded < weights * 1.2 + rotary_cache_bytes(architecture) + 64 * 2**20
