"""The catalogue's own rules: everything sourced, nothing twice, nothing implausible, nothing stale."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import pytest

from qcmatrix.boundary import convert, read_toml
from qcmatrix.catalogue import packed
from qcmatrix.catalogue.gpus import Gpu, GpuFile, all_gpus
from qcmatrix.catalogue.models import Checkpoint, ModelFile
from qcmatrix.catalogue.names import all_checkpoints, all_models
from qcmatrix.catalogue.sources import Source
from qcmatrix.catalogue.spelling import normalise_gpu, normalise_model
from qcmatrix.errors import FileProblem

GPUS = read_toml(packed.DATA / "gpus.toml", GpuFile)
MODEL_FILES = sorted((packed.DATA / "models").glob("*.toml"))
NUMBERS = (
    "compute_capability",
    "label_gb",
    "visible_gib",
    "bandwidth_gbs",
    "bf16_tflops",
    "fp8_tflops",
    "interconnect_gbs",
)
PARTS = {"lm_head", "attention", "linear_attention", "router", "shared_expert", "mlp", "experts", "embedding"}
by_name = pytest.mark.parametrize("gpu", GPUS.gpus, ids=lambda gpu: gpu.name)


def all_sources() -> list[Source]:
    found = list(GPUS.sources.values())
    for model in all_models():
        found += model.sources
        for checkpoint in model.checkpoints:
            found += checkpoint.sources
    return found


def test_the_packed_file_is_what_the_toml_says() -> None:
    assert packed.load() == packed.pack(), "run `python -m qcmatrix.catalogue.packed`"


def test_writing_is_repeatable(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for path in [packed.DATA / "gpus.toml", *MODEL_FILES]:
        (tmp_path / path.relative_to(packed.DATA)).write_bytes(path.read_bytes())
    assert packed.write(tmp_path).read_bytes() == (packed.DATA / "packed.json").read_bytes()


# GPUs


@by_name
def test_every_number_has_a_source(gpu: Gpu) -> None:
    stated = {field for field in NUMBERS if getattr(gpu, field) is not None} | {"device_name"}
    assert set(gpu.sources) == stated
    assert set(gpu.sources.values()) <= set(GPUS.sources)


def test_every_source_is_used() -> None:
    assert {identifier for gpu in GPUS.gpus for identifier in gpu.sources.values()} == set(GPUS.sources)


def test_gpu_names_are_unique() -> None:
    spellings = [key for gpu in GPUS.gpus for key in {normalise_gpu(name) for name in (gpu.name, *gpu.aliases)}]
    spellings += [normalise_gpu(name) for name in GPUS.ambiguous]
    assert sorted(spellings) == sorted(set(spellings))


def test_ambiguous_names_mean_listed_cards() -> None:
    listed = {gpu.name for gpu in GPUS.gpus}
    assert all(len(cards) >= 2 and set(cards) <= listed for cards in GPUS.ambiguous.values())


@by_name
def test_memory_is_plausible(gpu: Gpu) -> None:
    # the label is in practice GiB, of which CUDA sees a little less
    assert 0.88 * gpu.label_gb < gpu.visible_gib < gpu.label_gb
    assert 0 <= gpu.visible_gib_spread < 0.02 * gpu.visible_gib
    assert gpu.unified_memory == (gpu.interconnect == "unified")


@by_name
def test_peaks_are_dense(gpu: Gpu) -> None:
    # FLOP per byte of bandwidth: a sparse figure would stand out on every card of its generation
    if gpu.bf16_tflops is not None and gpu.bandwidth_gbs is not None:
        assert 30 < gpu.bf16_tflops * 1000 / gpu.bandwidth_gbs < 450
    if gpu.fp8_tflops is not None and gpu.bf16_tflops is not None:
        assert gpu.fp8_tflops / gpu.bf16_tflops == pytest.approx(2, rel=0.02)


@by_name
def test_fp8_peaks_need_fp8_cores(gpu: Gpu) -> None:
    assert gpu.compute_capability is not None
    has_fp8 = gpu.compute_capability >= ((9, 4) if gpu.vendor == "amd" else (8, 9))
    assert has_fp8 or gpu.fp8_tflops is None
    if gpu.vendor == "nvidia" and gpu.compute_capability < (8, 0):
        assert gpu.bf16_tflops is None


@by_name
def test_links_are_plausible(gpu: Gpu) -> None:
    per_gpu = {"nvlink": (300, 1800), "pcie": (31, 126), "xgmi": (300, 1200)}.get(gpu.interconnect)
    if gpu.interconnect_gbs is not None:
        assert per_gpu is not None
        assert per_gpu[0] <= gpu.interconnect_gbs <= per_gpu[1]


# Models


@pytest.mark.parametrize("path", MODEL_FILES, ids=lambda path: path.stem)
def test_a_file_is_named_as_its_model(path: Path) -> None:
    model = read_toml(path, ModelFile)
    assert path.stem == model.name.lower()
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


def test_model_names_are_unique() -> None:
    spellings = [
        normalise_model(spelling)
        for resolved in all_checkpoints()
        for spelling in {
            resolved.checkpoint.short,
            *resolved.checkpoint.aliases,
            resolved.checkpoint.repository.rpartition("/")[2],
        }
    ]
    assert sorted(spellings) == sorted(set(spellings))


def test_no_model_is_called_like_a_file_or_a_card() -> None:
    cards = {normalise_gpu(gpu.name) for gpu in all_gpus()}
    for resolved in all_checkpoints():
        for spelling in (resolved.checkpoint.short, *resolved.checkpoint.aliases):
            assert "/" not in spelling
            assert not spelling.endswith(".json")
            assert normalise_gpu(spelling) not in cards


@pytest.mark.parametrize("resolved", all_checkpoints(), ids=lambda resolved: resolved.checkpoint.short)
def test_checkpoints_are_plausible(resolved) -> None:  # type: ignore[no-untyped-def]
    checkpoint: Checkpoint = resolved.checkpoint
    architecture, quantization = resolved.architecture, checkpoint.quantization
    assert checkpoint.sources
    assert checkpoint.repository.count("/") == 1
    assert architecture.max_position_embeddings in (8192, 32768, 40960, 131072, 262144)
    assert architecture.rope_theta in (5e5, 1e6, 5e6, 1e7)
    assert architecture.num_attention_heads % architecture.num_key_value_heads == 0
    assert set(quantization.unquantized) <= PARTS
    assert len(set(quantization.unquantized)) == len(quantization.unquantized)
    if quantization.method == "none":
        assert quantization.weight_bits == 16
        assert (quantization.block, quantization.group_size) == (None, None)
    else:
        assert quantization.weight_bits in (4, 8)
        assert "lm_head" in quantization.unquantized
    if quantization.group_size is not None and architecture.moe is not None:
        assert architecture.moe.moe_intermediate_size % quantization.group_size == 0


def test_each_model_has_its_16_bit_checkpoint_first() -> None:
    for model in all_models():
        assert model.checkpoints[0].quantization.method == "none"


# Sources


def test_sources_are_links_read_on_a_day_that_was() -> None:
    for source in all_sources():
        assert source.url.startswith(("https://", "http://"))
        assert " " not in source.url
        assert datetime.date(2025, 1, 1) <= source.date <= max(datetime.date.today(), datetime.date(2026, 11, 22))


# What a bad file is told


def test_unknown_keys_and_wrong_types_are_all_reported() -> None:
    data = msgspec.to_builtins(GPUS)
    data["gpus"][0]["colour"] = "green"
    data["gpus"][1]["visible_gib"] = "a lot"
    del data["gpus"][2]["label_gb"]
    with pytest.raises(FileProblem) as caught:
        convert(data, GpuFile, where="gpus.toml")
    problems = "\n".join(caught.value.notes)
    assert all(word in problems for word in ("colour", "a lot", "label_gb"))
