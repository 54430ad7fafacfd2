"""``8xH20``, ``2x8xH200``, ``8x44.4GiB``: what people write for what they have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.catalogue.fleets import Fleet, parse_fleet
from qcmatrix.catalogue.gpus import all_gpus
from qcmatrix.errors import CatalogueError, RequestError


@pytest.mark.parametrize(
    ("text", "fleets"),
    [
        ("8xH20", ["8xH20-96", "8xH20-141"]),
        ("8xH20-141", ["8xH20-141"]),
        ("2x8xH200", ["2x8xH200"]),
        ("H200", ["1xH200"]),
        ("8 x H200", ["8xH200"]),
        ("8*h200", ["8xH200"]),
        ("8\N{MULTIPLICATION SIGN}H200", ["8xH200"]),
        ("8X h200", ["8xH200"]),
        ("2 x 8 x H200", ["2x8xH200"]),
        ("1x8xH200", ["8xH200"]),
        ("2x1xGB10", ["2x1xGB10"]),
        ("1xRTX4090-48", ["1xRTX4090-48"]),
        ("4090 48G", ["1xRTX4090-48"]),
        ("8xMI300X", ["8xMI300X"]),
        ("4xA100", ["4xA100-40", "4xA100-80"]),
        ("8x44.4GiB", ["8x44.4GiB"]),
        ("2x8x80gib", ["2x8x80GiB"]),
        ("24 GiB", ["1x24GiB"]),
    ],
)
def test_forms(text: str, fleets: list[str]) -> None:
    assert [str(fleet) for fleet in parse_fleet(text)] == fleets


def test_counts() -> None:
    (fleet,) = parse_fleet("2x8xH200")
    assert (fleet.nodes, fleet.gpus_per_node, fleet.count, fleet.gpu.name) == (2, 8, 16, "H200")


def test_a_size_knows_its_memory_and_nothing_else() -> None:
    (fleet,) = parse_fleet("8x44.4GiB")
    assert (fleet.gpu.visible_gib, fleet.gpu.vendor, fleet.gpu.compute_capability) == (44.4, "unlisted", None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0xH200", "at least 1"),
        ("-8xH200", "at least 1"),
        ("2x0xH200", "at least 1"),
        ("0x8xH200", "nodes must be at least 1"),
        ("8.5xH200", "whole number"),
        ("9999999999999xH200", "more than"),
        ("", "names no GPUs"),
        ("   ", "names no GPUs"),
        ("8x", "names no card"),
        ("8", "names no card"),
        ("8x96", "names no card"),
        ("x", "names no card"),
        ("8xx8", "names no card"),
        ("8x96GB", "in GiB, not GB"),
        ("80G", "in GiB, not G"),
        ("8x81920MiB", "in GiB, not MiB"),
        ("8x0GiB", "does not exist"),
        ("8x-4GiB", "does not exist"),
        ("8x99999GiB", "does not exist"),
        ("H200x8", "cannot be read"),
        ("8 H200", "cannot be read"),
    ],
)
def test_nonsense(text: str, says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        parse_fleet(text)
    assert caught.value.notes


def test_gb_is_explained_with_the_cards_it_may_mean() -> None:
    with pytest.raises(RequestError) as caught:
        parse_fleet("8x96GB")
    assert any("H20-96" in note and "RTXPRO6000" in note for note in caught.value.notes)
    assert any("total_memory" in note for note in caught.value.notes)


def test_a_count_on_the_wrong_side_is_turned_round() -> None:
    with pytest.raises(RequestError) as caught:
        parse_fleet("H200x8")
    assert caught.value.notes[0] == "did you mean `8xH200`?"


@pytest.mark.parametrize(("text", "hint"), [("8xH2O0", "H200"), ("8xRTX 4091", "RTX4090"), ("H201", "H200")])
def test_unknown_cards(text: str, hint: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        parse_fleet(text)
    assert hint in caught.value.notes[0]


@given(st.sampled_from(all_gpus()), st.integers(1, 512), st.integers(1, 64))
def test_what_is_written_is_read_back(gpu, gpus_per_node: int, nodes: int) -> None:  # type: ignore[no-untyped-def]
    fleet = Fleet(nodes, gpus_per_node, gpu)
    assert parse_fleet(str(fleet)) == (fleet,)
    assert parse_fleet(str(fleet).upper()) == (fleet,)


@given(st.floats(0.5, 4000.0, allow_nan=False), st.integers(1, 64))
def test_unlisted_cards_are_read_back(size: float, count: int) -> None:
    (fleet,) = parse_fleet(f"{count}x{size:.3f}GiB")
    assert parse_fleet(str(fleet)) == (fleet,)


@given(st.text(max_size=40) | st.from_regex(r"[0-9 x*.,-]{0,12}[A-Za-z0-9 .x-]{0,16}", fullmatch=True))
def test_any_text_is_read_or_refused_politely(text: str) -> None:
    notes: tuple[str, ...] = ()
    fleets: tuple[Fleet, ...] = ()
    try:
        fleets = parse_fleet(text)
    except (RequestError, CatalogueError) as error:
        notes = error.notes
    assert fleets or notes
    assert all(fleet.count >= 1 for fleet in fleets)
