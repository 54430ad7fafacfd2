"""The footprint: the project's founding facts, the ledger's sums, and the laws of fitting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from qcmatrix.catalogue.fleets import Fleet, parse_fleet
from qcmatrix.catalogue.names import find_checkpoint
from qcmatrix.catalogue.releases import load_release, release_names
from qcmatrix.deployment import Deployment
from qcmatrix.launch.launch import Launch
from qcmatrix.memory import kv_cache
from qcmatrix.memory.footprint import footprint
from qcmatrix.memory.kv_layout import kv_layout
from qcmatrix.memory.ledger import GIB, Fit, Footprint
from qcmatrix.memory.one_stage import one_stage
from qcmatrix.resolve import Resolver


def deployment(model: str, fleet: str, release: str, env: dict[str, str] | None = None, **options: Any) -> Deployment:
    resolver = Resolver(load_release(release), parse_fleet(fleet)[0], find_checkpoint(model))
    return resolver.resolve(Launch(model=model, options=options, env=env or {}))


def of(model: str, fleet: str, release: str, env: dict[str, str] | None = None, **options: Any) -> Footprint:
    return footprint(deployment(model, fleet, release, env, **options))


TP8EP = {"tensor_parallel_size": 8, "enable_expert_parallel": True}
DP8EP = {"data_parallel_size": 8, "enable_expert_parallel": True}


class TestFoundingFacts:
    def test_480b_fp8_on_8_h200(self) -> None:
        """61.31 GiB per GPU and 2,073,680 tokens, as a July 2025 log says."""
        result = of("480b-fp8", "8xH200", "0.10.0", **TP8EP)
        assert result.fit is Fit.FITS
        assert result.kv_gib.low <= 61.31 <= result.kv_gib.high
        assert result.kv_gib.mid == pytest.approx(61.31, rel=0.02)
        assert result.kv_tokens.low <= 2_073_680 <= result.kv_tokens.high
        assert result.kv_tokens.mid == pytest.approx(2_073_680, rel=0.02)
        assert result.kv_bytes_per_token == 31_744

    @pytest.mark.parametrize(("utilization", "longest"), [(0.90, 205_728), (0.95, 235_296)])
    def test_480b_fp8_data_parallel_on_8_h20(self, utilization: float, longest: int) -> None:
        """The lengths are those of the refusals in https://github.com/vllm-project/recipes/pull/12 (2026-11-22)."""
        settings = {**DP8EP, "gpu_memory_utilization": utilization}
        native = of("480b-fp8", "8xH20-141", "0.10.1", **settings)
        assert native.fit is Fit.DOES_NOT_FIT
        assert native.needed_kv_gib == 62.0
        assert native.max_context.low <= longest <= native.max_context.high
        assert native.max_context.mid == pytest.approx(longest, rel=0.02)
        assert of("480b-fp8", "8xH20-141", "0.10.1", **settings, max_model_len=131_072).fit is Fit.FITS

    @pytest.mark.parametrize("fleet", ["8xH200", "8xH20-141"])
    def test_480b_in_16_bit(self, fleet: str) -> None:
        assert of("480b", fleet, "0.10.1", **TP8EP, max_model_len=32_000).fit is Fit.FITS
        assert of("480b", fleet, "0.10.1", **TP8EP, max_model_len=262_144).fit is Fit.DOES_NOT_FIT

    def test_30b_fp8_on_48_gb(self) -> None:
        result = of(
            "30b-fp8",
            "1xRTX4090-48",
            "0.10.1",
            kv_cache_dtype="fp8",
            gpu_memory_utilization=0.85,
            max_num_batched_tokens=16 * 1024,
            max_num_seqs=64,
            max_model_len=200 * 1024,
        )
        assert result.fit is Fit.FITS

    def test_weights_larger_than_the_card(self) -> None:
        result = of("30b", "1xRTX5090", "0.33.0", max_model_len=1024)
        assert result.fit is Fit.DOES_NOT_FIT
        assert result.kv_gib.high < 0
        assert result.kv_tokens.mid == 0


class TestLedger:
    def test_adds_up(self) -> None:
        result = of("480b-fp8", "8xH200", "0.33.0", **TP8EP)
        assert result.budget_gib == pytest.approx(0.92 * result.usable_gib)
        left = result.budget_gib - result.weights_bytes / GIB - result.overhead_gib.mid
        assert result.kv_gib.mid == pytest.approx(left)
        inside = sum(term.gib.mid for term in result.terms if term.in_budget and term.name != "weights")
        assert result.overhead_gib.mid == pytest.approx(inside)
        assert result.room_outside_gib is not None
        assert all(term.basis for term in result.terms)

    def test_the_rotary_table_grows_with_the_context(self) -> None:
        native, long = (
            of("480b-fp8", "8xH200", "0.33.0", **TP8EP, max_model_len=length) for length in (262_144, 1_048_576)
        )
        tables = [next(t.gib.mid for t in each.terms if t.name == "rotary table") for each in (native, long)]
        assert tables == [0.0625, 0.25]

    def test_given_kv_memory_is_taken_as_it_is(self) -> None:
        result = of("480b-fp8", "8xH200", "0.33.0", **TP8EP, kv_cache_memory_bytes=40 * GIB)
        assert (result.kv_gib.low, result.kv_gib.mid, result.kv_gib.high) == (40.0, 40.0, 40.0)
        assert result.fit is Fit.FITS
        too_much = of("480b-fp8", "8xH200", "0.33.0", **TP8EP, kv_cache_memory_bytes=90 * GIB)
        assert too_much.room_outside_gib is not None
        assert too_much.room_outside_gib.high < 0
        assert too_much.fit is Fit.DOES_NOT_FIT

    def test_blocks_override(self) -> None:
        result = of("30b-fp8", "1xH200", "0.33.0", num_gpu_blocks_override=1000, max_model_len=4096)
        assert result.kv_tokens.mid == 16_000
        assert of("30b-fp8", "1xH200", "0.33.0", num_gpu_blocks_override=10, max_model_len=4096).fit is Fit.DOES_NOT_FIT

    def test_offloaded_weights_leave_room(self) -> None:
        without, offloaded = (of("30b", "1xH100-80", "0.33.0", cpu_offload_gb=gib) for gib in (0, 10))
        assert offloaded.kv_gib.mid == pytest.approx(without.kv_gib.mid + 10)
        assert offloaded.weights_bytes == without.weights_bytes - 10 * GIB

    def test_automatic_length(self) -> None:
        result = of("480b-fp8", "8xH20-141", "0.33.0", **DP8EP, max_model_len=-1)
        assert result.fit is Fit.FITS
        assert result.max_concurrency.mid == pytest.approx(1, abs=0.01)

    def test_the_tightest_stage_decides(self) -> None:
        result = of("480b-fp8", "4xH200", "0.16.0", tensor_parallel_size=2, pipeline_parallel_size=2)
        assert result.stage == "pipeline stage 1"  # it samples, the first does not
        uneven = of("30b-fp8", "2xRTX5090", "0.16.0", {"VLLM_PP_LAYER_PARTITION": "40,8"}, pipeline_parallel_size=2)
        assert uneven.stage == "pipeline stage 0"

    def test_graphs_outside_the_budget_can_run_out_of_memory(self) -> None:
        result = of("30b-fp8", "1xRTX5090", "0.19.0", gpu_memory_utilization=0.99, max_model_len=128)
        assert result.room_outside_gib is not None
        assert result.room_outside_gib.mid < 0
        assert result.fit is not Fit.FITS

    def test_environment_changes_the_ledger(self) -> None:
        plain = of("30b", "1xH100-80", "0.33.0")
        off = of("30b", "1xH100-80", "0.33.0", {"VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS": "0"})
        assert off.kv_gib.mid > plain.kv_gib.mid
        sorting = of("30b", "1xH100-80", "0.11.0")
        flashinfer = of("30b", "1xH100-80", "0.11.0", {"VLLM_USE_FLASHINFER_SAMPLER": "1"})
        assert flashinfer.kv_gib.mid > sorting.kv_gib.mid + 3

    @pytest.mark.parametrize("text", ["²", "yes", "", "1_"])
    def test_a_variable_that_is_no_number_changes_nothing(self, text: str) -> None:
        plain = of("30b", "1xH100-80", "0.33.0")
        assert of("30b", "1xH100-80", "0.33.0", {"VLLM_USE_V2_MODEL_RUNNER": text}) == plain

    def test_the_old_engine_widens_the_interval(self) -> None:
        settings: dict[str, Any] = {"kv_cache_dtype": "fp8", "gpu_memory_utilization": 0.85}
        new = of("30b-fp8", "1xRTX4090-48", "0.10.2", **settings, attention_backend="FLASHINFER")
        old = of("30b-fp8", "1xRTX4090-48", "0.10.2", **settings)
        named = of("30b-fp8", "1xRTX4090-48", "0.10.2", {"VLLM_ATTENTION_BACKEND": "FLASHINFER"}, **settings)
        asked = of("30b-fp8", "1xRTX4090-48", "0.10.2", {"VLLM_USE_V1": "0"}, **settings)
        assert named == new
        assert asked == old
        assert old.kv_gib.mid == new.kv_gib.mid
        assert old.kv_gib.high > new.kv_gib.high

    @pytest.mark.parametrize(
        ("model", "card", "release", "options", "basis"),
        [
            ("30b", "1xH100-80", "0.32.0", {}, "exact: as vLLM 0.32.0's own model code creates them"),
            ("next-fp8", "1xH200", "0.32.0", {}, "less 96 bytes that loading frees"),
            ("30b", "1xH100-80", "0.31.0", {}, "exact: as vLLM 0.31.0's own model code creates them"),
            ("30b", "1xH100-80", "0.31.1", {}, "computed: parameter shapes read from the release's source; as in"),
            ("30b-nvfp4", "1xB200", "0.31.0", {}, "computed: parameter shapes read"),
            ("30b", "1xH100-80", "0.32.0", {"quantization": "fp8"}, "computed: parameter shapes read"),
            ("30b-fp8", "1xA100-80", "0.32.0", {}, "computed: parameter shapes read"),
            ("30b", "1xH100-80", "0.32.0", {"cpu_offload_gb": 4.0}, "creates them, less --cpu-offload-gb"),
        ],
    )
    def test_only_what_was_asked_is_exact(
        self, model: str, card: str, release: str, options: dict[str, Any], basis: str
    ) -> None:
        weights = next(term for term in of(model, card, release, **options).terms if term.name == "weights")
        assert basis in weights.basis
        assert weights.basis.startswith("exact") == basis.startswith(("exact", "less", "creates"))


MODELS = st.sampled_from(("480b-fp8", "30b", "30b-fp8", "next-fp8"))
CARDS = st.sampled_from(("H200", "H100-80", "RTXPRO6000", "GB10", "L40S"))
RELEASES = st.sampled_from(release_names())
SPLITS = st.sampled_from(
    (
        {},
        {"tensor_parallel_size": 2},
        {"tensor_parallel_size": 8, "enable_expert_parallel": True},
        {"data_parallel_size": 8, "enable_expert_parallel": True},
        {"tensor_parallel_size": 2, "pipeline_parallel_size": 4},
    )
)
RANK = {Fit.DOES_NOT_FIT: 0, Fit.TIGHT: 1, Fit.FITS: 2}


def resized(one: Deployment, gib: float) -> Deployment:
    gpu = replace(one.gpu, visible_gib=one.gpu.visible_gib + gib)
    return replace(one, gpu=gpu, fleet=Fleet(one.fleet.nodes, one.fleet.gpus_per_node, gpu))


def same_room(one: Deployment, utilization: float) -> Deployment:
    return replace(one, gpu_memory_utilization=utilization)


@given(MODELS, CARDS, RELEASES, SPLITS, st.integers(1024, 300_000), st.floats(0.1, 64))
def test_more_memory_never_turns_a_fit_into_a_misfit(
    model: str, card: str, release: str, split: dict[str, Any], context: int, more: float
) -> None:
    one = deployment(model, f"8x{card}", release, **split, max_model_len=context)
    here, there = footprint(one), footprint(resized(one, more))
    assert RANK[here.fit] <= RANK[there.fit]
    assert here.kv_gib.mid <= there.kv_gib.mid


@given(MODELS, CARDS, RELEASES, SPLITS, st.floats(0.2, 0.9), st.floats(0.0, 0.09))
def test_higher_utilisation_never_leaves_less_kv(
    model: str, card: str, release: str, split: dict[str, Any], utilization: float, more: float
) -> None:
    one = deployment(model, f"8x{card}", release, **split)
    here, there = (footprint(same_room(one, share)) for share in (utilization, utilization + more))
    if there.stage == here.stage:  # another stage has other layers, and GiB that do not compare
        assert here.kv_gib.low <= there.kv_gib.low
    assert here.kv_tokens.mid <= there.kv_tokens.mid
    assert here.max_context.mid <= there.max_context.mid


@given(MODELS, CARDS, RELEASES, SPLITS, st.integers(1, 1_200_000), st.integers(1, 300_000))
def test_a_longer_context_never_fits_where_a_shorter_does_not(
    model: str, card: str, release: str, split: dict[str, Any], context: int, more: int
) -> None:
    short, long = (
        of(model, f"8x{card}", release, **split, max_num_batched_tokens=8192, max_num_seqs=256, max_model_len=length)
        for length in (context, context + more)
    )
    assert RANK[short.fit] >= RANK[long.fit]
    assert short.needed_kv_gib <= long.needed_kv_gib


@given(MODELS, CARDS, RELEASES, SPLITS, st.integers(1, 16384), st.integers(1, 1024))
def test_more_tokens_or_sequences_never_leave_more_kv(
    model: str, card: str, release: str, split: dict[str, Any], tokens: int, seqs: int
) -> None:
    one = deployment(model, f"8x{card}", release, **split)
    here, deeper, wider = (
        footprint(replace(one, max_num_batched_tokens=t, max_num_seqs=s))
        for t, s in ((tokens, seqs), (tokens + 1000, seqs), (tokens, seqs + 100))
    )
    for other in (deeper, wider):
        for more, less in ((here.kv_tokens, other.kv_tokens), (here.max_context, other.max_context)):
            assert less.low <= more.low
            assert less.mid <= more.mid
            assert less.high <= more.high
        if other.stage == here.stage:  # another stage has other layers, and GiB that do not compare
            assert other.kv_gib.low <= here.kv_gib.low + 1e-9
            assert other.kv_gib.mid <= here.kv_gib.mid + 1e-9
            assert other.kv_gib.high <= here.kv_gib.high + 1e-9


@given(MODELS, CARDS, RELEASES, SPLITS, st.integers(1, 1_200_000))
def test_the_interval_is_in_order(model: str, card: str, release: str, split: dict[str, Any], context: int) -> None:
    result = of(model, f"8x{card}", release, **split, max_model_len=context)
    assert result.kv_gib.low <= result.kv_gib.mid <= result.kv_gib.high
    if result.fit is Fit.FITS:
        assert context <= result.max_context.low
    if result.fit is Fit.DOES_NOT_FIT and result.room_outside_gib is not None and result.room_outside_gib.high >= 0:
        assert context > result.max_context.high


@given(
    MODELS,
    RELEASES,
    st.sampled_from((1, 2, 4, 8)),
    st.sampled_from(("auto", "fp8")),
    st.integers(0, 80 * GIB),
    st.integers(1, 1_200_000),
    st.one_of(st.none(), st.integers(1, 100_000)),
)
def test_one_stage_is_the_general_arithmetic(
    model: str, release: str, ranks: int, dtype: str, memory: int, context: int, override: int | None
) -> None:
    """The fast numbers are those of :mod:`qcmatrix.memory.kv_cache`, integer for integer."""
    layout = kv_layout(
        find_checkpoint(model).architecture,
        tensor_parallel_size=ranks,
        kv_cache_dtype=dtype,
        version=load_release(release).version,
    )
    fast = one_stage(layout)
    assume(fast is not None)
    assert fast is not None
    each = fast.per_request(context)
    blocks = fast.blocks(memory, override)
    granted = fast.checked(memory, override)
    assert blocks == kv_cache.blocks(layout, memory, num_gpu_blocks_override=override)
    assert each == kv_cache.blocks_per_request(layout, context)
    assert fast.needed(context) == kv_cache.needed_bytes(layout, context)
    assert fast.largest(granted) == kv_cache.largest_context(layout, memory, num_gpu_blocks_override=override)
    assert fast.tokens(blocks, each, context) == kv_cache.tokens(
        layout, memory, context, num_gpu_blocks_override=override
    )
    assert (context <= fast.largest(granted)) == kv_cache.admits(
        layout, memory, context, num_gpu_blocks_override=override
    )
    if layout[0].hybrid:
        assert fast.capacity(blocks) == kv_cache.capacity_context(layout, memory, num_gpu_blocks_override=override)
