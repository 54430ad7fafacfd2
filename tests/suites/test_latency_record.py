"""The definitions, on scripted events: no clock, no sleeping."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.exchange.sse import Event, EventReader
from qcmatrix.suites.latency.record import Record, goodput, read_events, values_of


def chunk(at: float, **delta: Any) -> Event:
    finish = delta.pop("finish", None)
    return Event(at, json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))


def usage(at: float, prompt: int, output: int, **more: Any) -> Event:
    return Event(
        at, json.dumps({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output, **more}})
    )


def call(at: float, index: int = 0, **function: str) -> Event:
    return chunk(at, tool_calls=[{"index": index, "function": function}])


def test_a_chat() -> None:
    record = read_events(
        [
            chunk(0.1, role="assistant", content=""),
            chunk(0.5, content="a"),
            chunk(0.6, content="b"),
            chunk(0.9, content="c"),
            chunk(1.0, content="", finish="stop"),
            usage(2.0, 7, 4, prompt_tokens_details={"cached_tokens": 5}),
        ]
    )
    assert record.ok
    assert record.ttft == 0.5, "a chunk with the role only is no output"
    assert record.e2el == 0.9, "neither the finish reason nor the usage is a token"
    assert record.gaps == pytest.approx((0.1, 0.3))
    assert record.tpot == pytest.approx(0.4 / 3)
    assert (record.prompt_tokens, record.cached_tokens, record.output_tokens) == (7, 5, 4)
    assert (record.text, record.finish) == ("abc", "stop")


def test_a_completion_and_reasoning() -> None:
    raw = [Event(0.2, json.dumps({"choices": [{"text": "x", "finish_reason": "length"}]})), usage(0.3, 1, 1)]
    assert read_events(raw).outputs == (0.2,)
    assert read_events(raw).tpot is None, "one token has no further ones"
    for key in ("reasoning", "reasoning_content"):
        assert read_events([chunk(0.4, **{key: "hm"})]).ttft == 0.4


def test_calls() -> None:
    record = read_events(
        [
            call(1.0, name="edit"),
            call(1.2, arguments='{"a"'),
            call(2.2, arguments=": 1}"),
            call(9.0, index=1, name="other"),
            call(9.1, index=1, arguments="{}"),
            chunk(9.2, finish="tool_calls"),
        ]
    )
    assert record.ttft == record.named == 1.0
    assert record.arg_gap == pytest.approx(1.0), "between two calls is no silence inside one"
    assert (record.name, record.arguments) == ("edit", '{"a": 1}')


def test_a_parser_that_holds_everything_back() -> None:
    record = read_events([call(1.0, name="edit"), call(8.0, arguments='{"a": 1}'), chunk(8.0, finish="tool_calls")])
    assert record.arg_gap == pytest.approx(7.0), "from the name on"


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ([chunk(0.1, content="a")], "no finish reason"),
        ([Event(0.1, '{"error": {"message": "gone"}}'), chunk(0.2, finish="stop")], "error inside the stream"),
    ],
)
def test_what_is_wrong_is_said(events: list[Event], fault: str) -> None:
    record = read_events(events)
    assert not record.ok
    assert any(fault in each for each in record.faults)


def test_what_has_no_form_is_no_output() -> None:
    odd = [
        Event(0.1, "null"),
        Event(0.2, "[1]"),
        Event(0.3, '{"choices": [7]}'),
        Event(0.4, '{"choices": [{"delta": 3}]}'),
    ]
    odd.append(chunk(0.5, tool_calls=["x", {"function": "y"}]))
    assert read_events(odd).outputs == (0.5,)


@given(
    gaps=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=50),
    tokens=st.integers(0, 100),
    role=st.booleans(),
)
def test_laws(gaps: list[float], tokens: int, role: bool) -> None:
    at, events = 0.0, [chunk(0.0, role="assistant")] if role else []
    for gap in gaps:
        at += gap
        events.append(chunk(at, content="x"))
    record = read_events([*events, chunk(at + 1, finish="stop"), usage(at + 2, 1, tokens)])
    assert record.ttft is not None
    assert record.e2el is not None
    assert record.ttft <= record.e2el == at
    assert sum(record.gaps) == pytest.approx(record.e2el - record.ttft)
    assert len(record.gaps) == len(gaps) - 1
    if tokens < 2:
        assert record.tpot is None
    else:
        assert record.tpot is not None
        assert record.tpot * (tokens - 1) == pytest.approx(record.e2el - record.ttft)


@given(cuts=st.lists(st.integers(1, 400), max_size=12))
def test_how_the_bytes_are_cut_changes_no_output(cuts: list[int]) -> None:
    data = "".join(f"data: {chunk(0, content=word).data}\n\n" for word in ("ä", "b", "c")) + "data: [DONE]\n\n"
    raw, reader = data.encode(), EventReader()
    places = sorted({0, *(cut for cut in cuts if cut < len(raw)), len(raw)})
    for low, high in itertools.pairwise(places):
        reader.feed(raw[low:high], 1.0)
    reader.close()
    assert reader.faults == []
    assert read_events(reader.events).text == "äbc"


def test_values_leave_out_what_failed_or_was_given_up() -> None:
    good = Record(status=200, outputs=(0.1, 0.3), output_tokens=3)
    values = values_of([good, Record(status=500, error="no"), changed(good, left=True), changed(good, faults=("x",))])
    assert values == {
        "ttft_ms": [100.0],
        "tpot_ms": [pytest.approx(100.0)],
        "itl_ms": [pytest.approx(200.0)],
        "e2el_ms": [300.0],
    }


def test_goodput() -> None:
    good = Record(status=200, outputs=(0.1, 0.3), output_tokens=3)
    slow = Record(status=200, outputs=(0.6, 0.7), output_tokens=3)
    records = [good, slow, Record(status=503, error="busy"), changed(good, left=True)]
    share, rate = goodput(records, {"ttft_ms": 500.0, "tpot_ms": 150.0}, 2.0)
    assert share == pytest.approx(1 / 3), "a failure is no good request; one that was given up is none at all"
    assert rate == pytest.approx(0.5)
    assert goodput(records, {"ttft_ms": 50.0}, 2.0)[0] == 0.0


def changed(record: Record, **changes: Any) -> Record:
    return msgspec.structs.replace(record, **changes)
