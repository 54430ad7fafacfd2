from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.exchange.sse import EventReader

GOOD = b'data: {"a": "\xe5\x8c\x97"}\n\ndata: {"b": 2}\r\n\r\n: a comment\n\ndata: [DONE]\n\n'


def read(*pieces: bytes) -> EventReader:
    reader = EventReader()
    for number, piece in enumerate(pieces):
        reader.feed(piece, float(number))
    reader.close()
    return reader


@given(st.lists(st.integers(0, len(GOOD)), max_size=8))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(GOOD)]
    reader = read(*(GOOD[start:stop] for start, stop in itertools.pairwise(edges)))
    assert [event.json for event in reader.events] == [{"a": "北"}, {"b": 2}]
    assert reader.faults == []
    assert reader.done


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b'data: {"a": 1}\n\n', "no [DONE]"),
        (b"data: [DONE]\n\ndata: [DONE]\n\n", "[DONE] comes again"),
        (b'data: [DONE]\n\ndata: {"a": 1}\n\n', "data after [DONE]"),
        (b"data: {nothing\n\ndata: [DONE]\n\n", "no JSON object"),
        (b"data: [1]\n\ndata: [DONE]\n\n", "no JSON object"),
        (b"event: x\ndata: [DONE]\n\n", "no data"),
        (b'data: {"a": "\xe5"}\n\ndata: [DONE]\n\n', "not UTF-8"),
        (b'data: [DONE]\n\ndata: {"a"', "inside a line"),
    ],
)
def test_what_is_wrong_with_a_stream_is_said(data: bytes, fault: str) -> None:
    assert any(fault in each for each in read(data).faults)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    reader = read(data)
    for event in reader.events:
        json.dumps(event.data)
