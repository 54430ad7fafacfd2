"""The same tool through the other doors: Anthropic's `/v1/messages` and OpenAI's `/v1/responses` (TC-49)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qcmatrix.exchange.sse import Event
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Need, NotApplicable, Wrong, check
from qcmatrix.suites.tools.offered import CORE, arguments_of, upstream, written

__all__ = ["anthropic_messages", "openai_responses"]

_TRIES = 4
_MESSAGES = "/v1/messages"
_RESPONSES = "/v1/responses"
_LEVEL = {"type": "object", "properties": {"level": {"type": "integer", "enum": [1, 2]}}, "required": ["level"]}
_PATH = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


@check(
    "TC-49.messages",
    suite="tools",
    profiles=CORE,
    core=False,
    needs=(Need.TOOLS,),
    sources=(*upstream(55495), "https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls"),
)
def anthropic_messages(bench: Bench) -> None:
    """A call through Anthropic's Messages API.

    The tool is named by `tool_choice`, as this surface takes no forced text. One `tool_use` block with an id, the
    tool's name and an `input` that is an object (streamed: pieces of JSON that add up to one), and the stop reason
    `tool_use`.
    """
    body = {
        "model": bench.subject.model,
        "max_tokens": 300,
        "messages": [{"role": "user", "content": "Set the level."}],
        "tools": [{"name": "set_level", "description": "Set it.", "input_schema": _LEVEL, "strict": True}],
        "tool_choice": {"type": "tool", "name": "set_level", "disable_parallel_tool_use": True},
        # An untrained model comes to an end only when it draws; this surface knows no seed.
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": -1,
    }
    blocks: list[dict[str, Any]] = []
    reason: Any = None
    for _ in range(_TRIES):
        blocks, reason = _message_streamed(bench, body) if bench.streams else _message_whole(bench, body)
        if reason != "max_tokens":
            break
    else:
        raise NotApplicable(f"the model did not come to an end in 300 tokens, {_TRIES} times over")
    uses = [block for block in blocks if block.get("type") == "tool_use"]
    bench.expect(len(uses) == 1 and uses[0].get("name") == "set_level", "one tool_use of set_level", blocks)
    bench.expect(isinstance(uses[0].get("id"), str) and uses[0]["id"], "an id", uses)
    bench.expect(isinstance(uses[0].get("input"), dict), "an input that is an object", uses)
    bench.expect(reason == "tool_use", "stop reason tool_use", reason)


def _message_whole(bench: Bench, body: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    reply = bench.wire.post(_MESSAGES, body)
    _expect_there(bench, reply.status, reply.text)
    message = reply.json
    content = message.get("content") if isinstance(message, dict) else None
    bench.expect(isinstance(content, list), "a message with a list as content", reply.text[:300])
    bench.expect(message.get("role") == "assistant", "role assistant", reply.text[:300])
    return [block for block in content or () if isinstance(block, dict)], message.get("stop_reason")


def _message_streamed(bench: Bench, body: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    events = _named_events(bench, _MESSAGES, body)
    kinds = [event.get("type") for event in events if event.get("type") != "ping"]
    bench.expect(kinds[:1] == ["message_start"] and kinds[-1:] == ["message_stop"], "message_start to _stop", kinds)
    blocks: dict[Any, dict[str, Any]] = {}
    pieces: dict[Any, str] = {}
    reason: Any = None
    for event in events:
        delta = event.get("delta")
        index = event.get("index")
        match event.get("type"):
            case "content_block_start" if isinstance(event.get("content_block"), dict):
                bench.expect(index == len(blocks), f"block {len(blocks)} next", event)
                blocks[index] = dict(event["content_block"])
            case "content_block_delta" if isinstance(delta, dict):
                bench.expect(index in blocks, "a delta of a block that has begun", event)
                pieces[index] = pieces.get(index, "") + str(delta.get("partial_json") or "")
            case "message_delta" if isinstance(delta, dict):
                reason = delta.get("stop_reason") or reason
    for index, block in blocks.items():
        if block.get("type") == "tool_use":
            block["input"] = arguments_of(pieces.get(index) or "{}")
    return list(blocks.values()), reason


@check(
    "TC-49.responses",
    suite="tools",
    profiles=CORE,
    core=False,
    needs=(Need.TOOLS, Need.FORCING),
    releases=("0.27.0", None),
    sources=(*upstream(55495), "https://developers.openai.com/api/docs/guides/function-calling"),
)
def openai_responses(bench: Bench) -> None:
    """A call through OpenAI's Responses API.

    The text is forced, a sentence and a call. One `function_call` item with a `call_id`, the tool's name and arguments
    that are the JSON of the call; the sentence in a message before it; the status `completed`. Streamed, the deltas of
    the arguments must add up to the same.

    Asked from 0.27 on: whether older releases force a text here was not looked at.
    """
    text = "I will look.\n" + written("read_file", {"path": "a.py"})
    body = {
        "model": bench.subject.model,
        "input": "Go on.",
        "tools": [{"type": "function", "name": "read_file", "description": "Read a file.", "parameters": _PATH}],
        "tool_choice": "auto",
        "temperature": 0,
        "max_output_tokens": 400,
        **bench.say(text),
    }
    response, deltas = _response_streamed(bench, body) if bench.streams else _response_whole(bench, body)
    items = [item for item in response.get("output") or () if isinstance(item, dict)]
    calls = [item for item in items if item.get("type") == "function_call"]
    bench.expect(len(calls) == 1 and calls[0].get("name") == "read_file", "one call of read_file", items)
    bench.expect(isinstance(calls[0].get("call_id"), str) and calls[0]["call_id"], "a call_id", calls)
    bench.expect(arguments_of(calls[0].get("arguments")) == {"path": "a.py"}, 'arguments {"path": "a.py"}', calls)
    bench.expect(items.index(calls[0]) > 0 and "I will look." in str(items[0]), "the sentence before the call", items)
    bench.expect(response.get("status") == "completed", "status completed", response.get("status"))
    if deltas is not None:
        bench.expect(arguments_of(deltas) == {"path": "a.py"}, "deltas that add up to the arguments", deltas)


def _response_whole(bench: Bench, body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    reply = bench.wire.post(_RESPONSES, body)
    _expect_there(bench, reply.status, reply.text)
    response = reply.json
    bench.expect(isinstance(response, dict), "a response", reply.text[:300])
    return dict(response), None


def _response_streamed(bench: Bench, body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    events = _named_events(bench, _RESPONSES, body)
    ends = [event for event in events if event.get("type") == "response.completed"]
    bench.expect(len(ends) == 1 and ends[0] is events[-1], "response.completed once and last", [*events[-1:]])
    deltas = [
        str(event.get("delta") or "")
        for event in events
        if event.get("type") == "response.function_call_arguments.delta"
    ]
    response = ends[0].get("response")
    if not isinstance(response, dict):
        raise Wrong("the response in the last event", repr(ends)[:300])
    return response, "".join(deltas)


def _named_events(bench: Bench, path: str, body: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The events of a stream in which each has its name on a line of its own, which chat streams have not."""
    stream = bench.wire.stream(path, {**body, "stream": True})
    _expect_there(bench, stream.status, stream.text)
    faults = [text for text in stream.faults if "is no data: event:" not in text and text != "no [DONE] at the end"]
    bench.expect(not faults, "a well-formed stream", faults)
    events = [event for event in map(_decoded, stream.events) if event]
    errors = [event for event in events if event.get("type") == "error"]
    bench.expect(events and not errors, "events without an error", errors or "no event")
    return events


def _decoded(event: Event) -> dict[str, Any]:
    decoded = event.json
    return decoded if isinstance(decoded, dict) else {}


def _expect_there(bench: Bench, status: int, text: str) -> None:
    if status in (404, 405, 501):
        raise NotApplicable(f"the server has no such route (HTTP {status})")
    bench.expect(status == 200, "HTTP 200", f"HTTP {status}: {text[:300]}")
