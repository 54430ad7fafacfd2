"""Bounds: no public measurement beats them, and they obey the laws of arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmatrix.assess import Assessor
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.deployment import Deployment
from qcmatrix.latency.measured import Measurement, packaged_measurements
from qcmatrix.latency.roofline import bounds, decode_step_seconds, prefill_seconds
from qcmatrix.latency.work import expected_experts, layer_work
from qcmatrix.launch.launch import Launch
from qcmatrix.report.latency import compare


@pytest.mark.parametrize("measurement", packaged_measurements(), ids=lambda measurement: measurement.id)
def test_no_measurement_beats_the_bound(measurement: Measurement) -> None:
    compared = compare(measurement)
    if compared is None:
        pytest.skip("the card's peak is not in the catalogue")
    if measurement.ttft_median_ms is not None:
        assert compared.ttft_bound_ms <= measurement.ttft_median_ms
    if measurement.tpot_median_ms is not None:
        assert compared.tpot_bound_ms <= measurement.tpot_median_ms


def deployed(gpus: str, model: str, **options: object) -> Deployment:
    (fleet,) = parse_fleet(gpus)
    return Assessor(load_release("0.33.0"), fleet, find_checkpoint(model)).resolve(Launch("m", options))


def test_480b_has_35_billion_active_parameters() -> None:
    """As its name says (A35B); without the embedding, which multiplies nothing."""
    work = layer_work(find_checkpoint("480b").architecture)
    active = work.attention + work.mlp + work.head + 8 * work.one_expert * work.moe_layers
    assert active == pytest.approx(35e9, rel=0.02)


def test_next_has_3_billion_active_parameters() -> None:
    """3,874,929,408 active in all (shared configs), of which the embedding is 311 million."""
    architecture = find_checkpoint("next").architecture
    work = layer_work(architecture)
    active = work.attention + work.linear_attention + work.mlp + work.head + 10 * work.one_expert * work.moe_layers
    embedding = architecture.vocab_size * architecture.hidden_size
    assert active + embedding == pytest.approx(3_874_929_408, rel=0.005)


def test_a_million_tokens_take_minutes_on_eight_h20() -> None:
    """The seed's "1M prefill is too slow", as a figure: attention is quadratic, and an H20 has 148 TFLOP/s."""
    launched = deployed("8xH20-141", "480b-fp8", tensor_parallel_size=8, enable_expert_parallel=True)
    seconds = prefill_seconds(launched, 1 << 20)
    quarter = prefill_seconds(launched, 1 << 18)
    assert seconds is not None
    assert quarter is not None
    assert seconds > 10 * 60
    assert seconds > 8 * quarter


def test_an_unlisted_card_has_no_bound() -> None:
    found = bounds(deployed("8x44.4GiB", "30b-fp8", max_model_len=8192))
    assert found.prefill_seconds is None
    assert found.decode_milliseconds is None


@settings(deadline=None, max_examples=60)
@given(
    tokens=st.integers(1, 1 << 20),
    more=st.integers(1, 1 << 18),
    size=st.sampled_from((1, 2, 4, 8)),
    model=st.sampled_from(("480b-fp8", "30b", "30b-awq", "next-fp8", "q3-8b")),
)
def test_more_tokens_never_take_less_time(tokens: int, more: int, size: int, model: str) -> None:
    launched = deployed("8xH200", model, tensor_parallel_size=size)
    first, second = prefill_seconds(launched, tokens), prefill_seconds(launched, tokens + more)
    assert first is not None
    assert second is not None
    assert 0 < first <= second
    few, many = decode_step_seconds(launched, tokens, 1), decode_step_seconds(launched, tokens + more, 2)
    assert few is not None
    assert many is not None
    assert 0 < few <= many


@given(st.integers(1, 512), st.integers(1, 32), st.integers(1, 10_000))
def test_expected_experts(experts: int, per_token: int, tokens: int) -> None:
    per_token = min(per_token, experts)
    met = expected_experts(experts, per_token, tokens)
    assert per_token <= met + 1e-9
    assert met <= min(experts, per_token * tokens) + 1e-9
