"""What the checks of tool calling must see, each fault as narrow as the law that it breaks."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from typing import Any

from qcmatrix.suites.declare import Mode
from tests.suites.proof import Proof
from tests.suites.proxy import Body, Fault

Told = dict[str, Any]
"""A reply as its parts: ``content``, ``calls`` (``id``, ``name``, ``arguments``), ``finish``."""
Change = Callable[[Body, Told], None]

WHOLE, STREAM = (Mode.WHOLE,), (Mode.STREAM,)


# --- replies taken apart and put together again, streamed or whole ---------------------------------------------------


def changed(name: str, change: Change, **more: Any) -> Fault:
    """The reply, with its parts changed; a stream comes in few pieces then."""
    return Fault(name=name, whole=_whole(change), events=_events(change), **more)


def _whole(change: Change) -> Callable[[str, Body, Any], Any]:
    def whole(_: str, body: Body, reply: Any) -> Any:
        if not reply.get("choices"):
            return reply
        choice = reply["choices"][0]
        message = choice["message"]
        calls = [{"id": c["id"], **c["function"]} for c in message.get("tool_calls") or ()]
        told = {"content": message.get("content") or "", "calls": calls, "finish": choice["finish_reason"]}
        change(body, told)
        message["content"] = told["content"] or None
        message["tool_calls"] = [_call(call) for call in told["calls"]]
        choice["finish_reason"] = told["finish"]
        return reply

    return whole


def _events(change: Change) -> Callable[[str, Body, Iterator[str]], Iterator[str]]:
    def events(_: str, body: Body, payloads: Iterator[str]) -> Iterator[str]:
        chunks = [json.loads(payload) for payload in payloads if payload != "[DONE]"]
        told: Told = {"content": "", "calls": [], "finish": None}
        for choice in (choice for chunk in chunks for choice in chunk.get("choices") or ()):
            told["content"] += choice["delta"].get("content") or ""
            told["finish"] = choice.get("finish_reason") or told["finish"]
            for part in choice["delta"].get("tool_calls") or ():
                if part["index"] == len(told["calls"]):
                    told["calls"].append({"id": part["id"], "name": part["function"]["name"], "arguments": ""})
                told["calls"][part["index"]]["arguments"] += part["function"].get("arguments") or ""
        change(body, told)
        base = {name: chunks[0][name] for name in ("id", "object", "created", "model")}
        deltas: list[Any] = [{"role": "assistant", "content": ""}, {"content": told["content"]}]
        for index, call in enumerate(told["calls"]):
            whole = _call(call)
            first = {**whole, "index": index, "function": {"name": call["name"], "arguments": ""}}
            deltas.append({"tool_calls": [first]})
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": call["arguments"]}}]})
        for delta in deltas:
            yield json.dumps({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        yield json.dumps({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": told["finish"]}]})
        yield from (json.dumps(chunk) for chunk in chunks if chunk.get("choices") == [])
        yield "[DONE]"

    return events


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": call["arguments"]}
    return {"id": call["id"], "type": "function", "function": function}


def on_values(change: Callable[[Any], Any]) -> Change:
    """Each argument of each call changed; ``...`` drops it."""

    def on_told(_: Body, told: Told) -> None:
        for call in told["calls"]:
            try:
                values = json.loads(call["arguments"])
            except ValueError:
                continue
            made = {name: change(value) for name, value in values.items()}
            call["arguments"] = json.dumps({name: value for name, value in made.items() if value is not ...})

    return on_told


def on_calls(**fields: Callable[[dict[str, Any]], Any]) -> Change:
    """Fields of each call changed."""

    def on_told(_: Body, told: Told) -> None:
        for call in told["calls"]:
            for name, change in fields.items():
                call[name] = change(call)

    return on_told


def _lose_last(_: Body, told: Told) -> None:
    del told["calls"][-1:]


def _end(**ends: str) -> Change:
    def on_told(_: Body, told: Told) -> None:
        told["finish"] = ends.get(told["finish"], told["finish"])

    return on_told


def _prose(change: Callable[[str], str]) -> Change:
    def on_told(_: Body, told: Told) -> None:
        told["content"] = change(told["content"])

    return on_told


def _share_ids(_: Body, told: Told) -> None:
    for call in told["calls"]:
        call["id"] = told["calls"][0]["id"]


def _count_ids(_: Body, told: Told) -> None:
    for number, call in enumerate(told["calls"]):
        call["id"] = f"call_{number}"


def _read(value: Any) -> Any:
    for kind in (json.loads, int):
        try:
            return kind(value) if isinstance(value, str) else value
        except ValueError:
            continue
    return value


def _write(value: Any) -> Any:
    return value if isinstance(value, str) else json.dumps(value)


def _each(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda value: change(value) if isinstance(value, str) else value


def _without_tags(text: str) -> str:
    return text.replace("<tool_call>", "").replace("</tool_call>", "").replace("<function=", "")


def _one_reply_for_all() -> Change:
    first: list[str] = []

    def on_told(_: Body, told: Told) -> None:
        for call in told["calls"]:
            first.append(call["arguments"])
            call["arguments"] = first[0]

    return on_told


def _closed(call: dict[str, Any]) -> str:
    try:
        json.loads(call["arguments"])
    except ValueError:
        return '{"path": "b"}'
    return str(call["arguments"])


REPLIES = (
    Proof(checks=("TC-01.single",), fault=changed("calls that end with stop", _end(tool_calls="stop"))),
    Proof(
        checks=("TC-02.preamble", "TC-02.no-newline", "TC-02.less-than"),
        fault=changed("a tag in the text", _prose(lambda text: text + "\n<tool_call>")),
    ),
    Proof(
        checks=("TC-03.three", "TC-03.no-*", "TC-04.*", "TC-20.no-opener", "TC-21.*", "TC-22.*", "TC-46.forced"),
        fault=changed("the last call is lost", _lose_last),
    ),
    Proof(checks=("TC-04.*",), fault=changed("two calls share an id", _share_ids)),
    Proof(checks=("TC-05.*",), fault=changed("empty arguments", on_calls(arguments=lambda _: ""))),
    Proof(
        checks=("TC-06.*", "TC-07.null-string", "TC-07.integer", "TC-09.array", "TC-09.one-of", "TC-10.*", "TC-11.*"),
        fault=changed("every value is text", on_values(_write)),
    ),
    Proof(
        checks=("TC-07.digits", "TC-08.*", "TC-09.string-or-null-digits"),
        fault=changed("texts that read as values are values", on_values(_read)),
    ),
    Proof(checks=("TC-12.*", "TC-13.*"), fault=changed("values that do not fit are dropped", on_values(lambda _: ...))),
    Proof(
        checks=("TC-14.indentation", "TC-14.trailing-newline", "TC-14.blank-lines", "TC-14.tabs"),
        fault=changed("white space at the ends is stripped", on_values(_each(str.strip))),
    ),
    Proof(
        checks=("TC-14.crlf",),
        fault=changed("line ends are made one", on_values(_each(lambda text: text.replace("\r\n", "\n")))),
    ),
    Proof(checks=("TC-14.empty",), fault=changed("empty texts are dropped", on_values(lambda text: text or ...))),
    Proof(checks=("TC-15.*",), fault=changed("angle brackets are escaped", on_values(_each(html.escape)))),
    Proof(
        checks=("TC-16.*",), fault=changed("texts are escaped twice", on_values(_each(lambda s: json.dumps(s)[1:-1])))
    ),
    Proof(
        checks=("TC-17.*", "TC-18.*", "TC-19.half-tag"),
        fault=changed("a value ends at <", on_values(_each(lambda text: text.partition("<")[0]))),
    ),
    Proof(
        checks=("TC-19.function-end", "TC-19.parameter-end", "TC-19.whole-call"),
        fault=changed("arguments break off", on_calls(arguments=lambda call: call["arguments"][:-1])),
    ),
    Proof(
        checks=("TC-24.words", "TC-24.function-tag", "TC-24.no-tools"),
        fault=changed("tags in prose are lost", _prose(_without_tags)),
    ),
    Proof(
        checks=("TC-25.think", "TC-25.ends-in-opener"),
        fault=changed("the last letter is held back", _prose(lambda text: text[:-1])),
    ),
    Proof(
        checks=("TC-26.*",),
        fault=Fault(
            name="streamed, calls and the last letter are lost",
            events=_events(lambda _, told: told.update(calls=told["calls"][:-1], content=told["content"][:-1])),
        ),
    ),
    Proof(checks=("TC-29",), fault=changed("arguments come in one piece", lambda *_: None)),
    Proof(checks=("TC-30.finish.*",), fault=changed("calls cut short end as whole ones", _end(length="tool_calls"))),
    Proof(checks=("TC-30.incomplete.*",), fault=changed("half a call is closed", on_calls(arguments=_closed))),
    Proof(
        checks=("TC-31.*",),
        fault=changed("other finish reasons", _end(stop="tool_calls", tool_calls="stop", length="stop")),
    ),
    Proof(checks=("TC-32.constrained",), fault=changed("the required call is lost", _lose_last)),
    Proof(checks=("TC-34.constrained",), fault=changed("another tool", on_calls(name=lambda _: "pick"))),
    Proof(checks=("TC-33.constrained.*",), fault=changed("values of other types", on_values(lambda _: [None]))),
    Proof(checks=("TC-37.*",), fault=changed("a made-up argument", on_calls(arguments=lambda _: '{"x": 1}'))),
    Proof(
        checks=("TC-42.names",),
        fault=changed("names are cleaned", on_calls(name=lambda call: call["name"].replace(".", "_"))),
    ),
    Proof(checks=("TC-42.unique",), fault=changed("ids count up in each reply", _count_ids)),
    Proof(
        checks=("TC-47.file",),
        fault=changed("a line is lost", on_calls(arguments=lambda call: call["arguments"].replace("x=7\\n", ""))),
    ),
    Proof(checks=("TC-48",), fault=changed("all get the first reply", _one_reply_for_all())),
)


# --- chunks, errors, requests ----------------------------------------------------------------------------------------


def _again(field: str) -> Callable[[str, Body, Iterator[str]], Iterator[str]]:
    """The id or the name of a call with each of its deltas."""

    def events(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str]:
        first: dict[int, str] = {}
        for payload in payloads:
            chunk = json.loads(payload) if payload != "[DONE]" else {}
            parts = [p for c in chunk.get("choices") or () for p in c["delta"].get("tool_calls") or ()]
            for part in parts:
                place = part if field == "id" else part["function"]
                place[field] = first.setdefault(part["index"], place.get(field) or "")
            yield json.dumps(chunk) if chunk else payload

    return events


def _arguments_as_objects(_: str, __: Body, reply: Any) -> Any:
    for call in reply["choices"][0]["message"].get("tool_calls") or ():
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return reply


def _without_done(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str]:
    return (payload for payload in payloads if payload != "[DONE]")


def _another_id(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str]:
    for number, payload in enumerate(payloads):
        yield payload if payload == "[DONE]" else json.dumps({**json.loads(payload), "id": f"chatcmpl-{number}"})


def _role_again(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str]:
    for payload in payloads:
        chunk = {} if payload == "[DONE]" else json.loads(payload)
        for choice in chunk.get("choices") or ():
            choice["delta"]["role"] = "assistant"
        yield json.dumps(chunk) if chunk else payload


def _without_usage_chunk(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str]:
    return (payload for payload in payloads if payload == "[DONE]" or json.loads(payload).get("choices") != [])


def _usage_beside_a_choice(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str]:
    for payload in payloads:
        chunk = {} if payload == "[DONE]" else json.loads(payload)
        if chunk.get("choices") == []:
            chunk["choices"] = [{"index": 0, "delta": {}, "finish_reason": None}]
        yield json.dumps(chunk) if chunk else payload


def _request(**fields: Any) -> Callable[[str, Body], Body]:
    return lambda _, body: {**body, **fields}


def _refusal(status: int, message: str = "no") -> Callable[[str, Body], tuple[int, str]]:
    return lambda *_: (status, json.dumps({"error": {"message": message, "type": "BadRequestError", "code": status}}))


def _long_conversation(_: str, body: Body) -> tuple[int, str] | None:
    return (500, "{}") if len(body.get("messages", ())) > 4 else None


def _squeeze(_: str, __: Body, reply: Any) -> Any:
    return {**reply, "prompt": " ".join(reply.get("prompt", "").split())}


def _sorted_parameters(_: str, body: Body) -> Body:
    for each in body.get("tools") or ():
        parameters = each["function"]["parameters"]
        parameters["properties"] = dict(sorted(parameters["properties"].items()))
    return body


def _more_and_more() -> Callable[[str, Body], tuple[int, str]]:
    asked: list[int] = []

    def answer(*_: Any) -> tuple[int, str]:
        asked.append(1)
        return 200, f"vllm:num_requests_running {len(asked)}\n"

    return answer


def _input_as_text(_: str, __: Body, reply: Any) -> Any:
    for block in reply.get("content") or ():
        if "input" in block:
            block["input"] = json.dumps(block["input"])
    return reply


def _input_twice(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str]:
    for payload in payloads:
        yield payload
        if "input_json_delta" in payload:
            yield json.dumps({**json.loads(payload), "delta": {"type": "input_json_delta", "partial_json": "{}"}})


def _no_items(_: str, __: Body, reply: Any) -> Any:
    return {**reply, "output": [item for item in reply["output"] if item["type"] != "function_call"]}


def _last_delta_lost(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str]:
    held = ""
    for payload in payloads:
        if '"response.function_call_arguments.delta"' in payload:
            if held:
                yield held
            held = payload
        else:
            yield payload


METRICS, TOKENS = ("/metrics",), ("/tokenize", "/detokenize")
CHUNKS = (
    Proof(checks=("TC-27",), fault=Fault(name="the id comes again", events=_again("id"))),
    Proof(checks=("TC-27.openai.*",), modes=STREAM, fault=Fault(name="the name comes again", events=_again("name"))),
    Proof(
        checks=("TC-27.openai.*",), modes=WHOLE, fault=Fault(name="arguments as objects", whole=_arguments_as_objects)
    ),
    Proof(checks=("TC-44.*",), fault=Fault(name="no [DONE]", events=_without_done)),
    Proof(checks=("TC-44.*",), fault=Fault(name="chunks of other ids", events=_another_id)),
    Proof(checks=("TC-44.*",), fault=Fault(name="the role comes again", events=_role_again)),
    Proof(checks=("TC-43.stream.asked",), fault=Fault(name="no usage chunk", events=_without_usage_chunk)),
    Proof(checks=("TC-43.stream.asked",), fault=Fault(name="usage beside a choice", events=_usage_beside_a_choice)),
    Proof(
        checks=("TC-43.stream.not-asked",),
        fault=Fault(name="usage unasked", request=_request(stream_options={"include_usage": True})),
    ),
    Proof(
        checks=("TC-43.whole",),
        fault=Fault(name="no usage", whole=lambda _, __, reply: {**reply, "usage": None}),
    ),
    Proof(checks=("TC-23.*", "TC-45.*"), fault=Fault(name="an error of 500", answer=_refusal(500))),
    Proof(checks=("TC-45.*",), fault=Fault(name="refused without a word", answer=_refusal(400, ""))),
    Proof(checks=("TC-40.*", "TC-41.*"), fault=Fault(name="a conversation refused", answer=_refusal(400))),
    Proof(checks=("TC-35.none",), fault=Fault(name="none is not looked at", request=_request(tool_choice="auto"))),
    Proof(
        checks=("TC-36.one-at-a-time",),
        fault=Fault(name="one at a time is not looked at", request=_request(parallel_tool_calls=True)),
    ),
    Proof(
        checks=("TC-39.indentation", "TC-39.nested", "TC-39.numbers", "TC-39.unicode", "TC-39.two-results"),
        fault=Fault(name="white space in the prompt is squeezed", whole=_squeeze, paths=TOKENS),
    ),
    Proof(checks=("TC-39.order",), fault=Fault(name="parameters are sorted", request=_sorted_parameters, paths=TOKENS)),
    Proof(checks=("TC-47.turns",), fault=Fault(name="long conversations break", answer=_long_conversation)),
    Proof(
        checks=("TC-48.hang-up",),
        fault=Fault(name="requests go on without a reader", answer=_more_and_more(), paths=METRICS),
    ),
    Proof(
        checks=("TC-49.messages",),
        fault=Fault(name="input that is no object", whole=_input_as_text, events=_input_twice, paths=("/v1/messages",)),
    ),
    Proof(
        checks=("TC-49.responses",),
        fault=Fault(name="call that is lost", whole=_no_items, events=_last_delta_lost, paths=("/v1/responses",)),
    ),
)

PROOFS: tuple[Proof, ...] = (*REPLIES, *CHUNKS)
