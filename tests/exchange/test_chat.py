from __future__ import annotations

import json
from typing import Any

import pytest

from qcmatrix.exchange.chat import chat_streamed, chat_whole, completion_streamed
from qcmatrix.exchange.sse import Event
from qcmatrix.exchange.wire import Reply, Streamed


def streamed(*chunks: Any, faults: tuple[str, ...] = ()) -> Streamed:
    events = tuple(Event(float(number), json.dumps(chunk)) for number, chunk in enumerate(chunks))
    return Streamed(
        status=200, events=events, faults=faults, done=True, content_type="text/event-stream", text="", seconds=9.0
    )


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(index: int, **more: Any) -> list[dict[str, Any]]:
    return [{"index": index, **more}]


ROLE = chunk(role="assistant", content="")


def test_a_stream_is_added_up_and_timed() -> None:
    answer = chat_streamed(
        streamed(
            ROLE,
            chunk(content="So: "),
            chunk(tool_calls=call(0, id="a", type="function", function={"name": "edit"})),
            chunk(tool_calls=call(0, function={"arguments": '{"x": '})),
            chunk(tool_calls=call(0, function={"arguments": "1}"})),
            chunk(finish="tool_calls"),
            {"choices": [], "usage": {"completion_tokens": 7}},
        )
    )
    assert (answer.content, answer.finish, answer.faults) == ("So: ", "tool_calls", ())
    assert [(each.id, each.name, each.arguments) for each in answer.calls] == [("a", "edit", '{"x": 1}')]
    assert (answer.first_output, answer.last_output) == (1.0, 4.0)
    assert (answer.name_times, answer.argument_times) == ((2.0,), (3.0, 4.0))
    assert answer.usage == {"completion_tokens": 7}


@pytest.mark.parametrize(
    ("chunks", "fault"),
    [
        ([ROLE, chunk(content="a")], "no finish reason"),
        ([chunk(content="a"), chunk(finish="stop")], "the role comes 0 times"),
        ([ROLE, ROLE, chunk(finish="stop")], "the role comes 2 times"),
        ([ROLE, chunk(finish="stop"), chunk(content="late")], "after its finish reason"),
        ([ROLE, {"error": {"message": "boom"}}, chunk(finish="stop")], "an error inside the stream"),
        ([ROLE, {"choices": []}, chunk(finish="stop")], "without choices and without usage"),
        (
            [ROLE, chunk(tool_calls=call(0, function={"name": "f"})), chunk(finish="stop")],
            "begins without an id",
        ),
    ],
)
def test_what_is_wrong_with_the_chunks_is_said(chunks: list[Any], fault: str) -> None:
    assert any(fault in each for each in chat_streamed(streamed(*chunks)).faults)


def test_an_error_is_no_answer() -> None:
    reply = Reply(status=400, text='{"error": {}}', headers={}, seconds=0.1)
    assert (chat_whole(reply).status, chat_whole(reply).error) == (400, '{"error": {}}')


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": 3}]}])
def test_a_malformed_reply_has_faults_and_raises_nothing(body: Any) -> None:
    assert chat_whole(Reply(status=200, text=json.dumps(body), headers={}, seconds=0.1)).faults


def test_a_completion_is_added_up() -> None:
    answer = completion_streamed(
        streamed(
            {"choices": [{"text": "x = ", "finish_reason": None}]},
            {"choices": [{"text": "1", "finish_reason": "stop"}]},
        )
    )
    assert (answer.text, answer.finish, answer.output_times, answer.faults) == ("x = 1", "stop", (0.0, 1.0), ())
