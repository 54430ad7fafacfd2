"""Chat and completion replies put together as a client does it: adding up what it gets, mending nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from qcmatrix.exchange.wire import Reply, Streamed
from qcmatrix.probe.replay.judge import Call, Heard, heard

__all__ = ["Answer", "Completion", "chat_streamed", "chat_whole", "completion_streamed", "completion_whole"]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The first choice of a chat reply."""

    status: int
    streamed: bool
    reply: Mapping[str, Any]
    """In the form in which the probe's replay judges one (:func:`qcmatrix.probe.replay.judge.judge`)."""
    content: str = ""
    calls: tuple[Call, ...] = ()
    finish: str | None = None
    stop_reason: Any = None
    usage: Mapping[str, Any] | None = None
    faults: tuple[str, ...] = ()
    """What is wrong with the form: of the stream, of its chunks, of the deltas of calls."""
    error: str = ""
    """Of another status than 200: the body."""
    seconds: float = 0.0
    first_output: float | None = None
    """Seconds to the first piece that carries text or a part of a call; a chunk with a role only does not count."""
    last_output: float | None = None
    argument_times: tuple[float, ...] = ()
    """When each piece of arguments came."""
    name_times: tuple[float, ...] = ()
    """When each call's name came."""
    chunks: tuple[Mapping[str, Any], ...] = ()
    """Of a stream: all of them."""

    @property
    def heard(self) -> Heard:
        """As the probe's replay hears it."""
        return heard(self.reply)


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The first choice of a completion."""

    status: int
    streamed: bool
    text: str = ""
    finish: str | None = None
    stop_reason: Any = None
    usage: Mapping[str, Any] | None = None
    faults: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0
    first_output: float | None = None
    last_output: float | None = None
    output_times: tuple[float, ...] = ()
    """When each piece of text came."""


def chat_whole(reply: Reply) -> Answer:
    """A chat reply that was not streamed."""
    body = reply.json
    if reply.status != 200 or not isinstance(body, dict):
        return Answer(
            status=reply.status,
            streamed=False,
            reply={"crash": {"type": f"HTTP {reply.status}", "text": reply.text[:300]}},
            error=reply.text,
            seconds=reply.seconds,
        )
    faults: list[str] = []
    choice, message = _choice(body, "message", faults)
    calls = message.get("tool_calls") or []
    told = {
        "content": message.get("content"),
        "calls": [
            {
                "id": call.get("id"),
                "name": (call.get("function") or {}).get("name"),
                "arguments": (call.get("function") or {}).get("arguments"),
            }
            for call in calls
        ],
        "finish": choice.get("finish_reason"),
    }
    if message.get("role") != "assistant":
        faults.append(f"role {message.get('role')!r}")
    made = {"message": told}
    got = heard(made)
    return Answer(
        status=200,
        streamed=False,
        reply=made,
        content=got.content,
        calls=got.calls,
        finish=got.finish,
        stop_reason=choice.get("stop_reason"),
        usage=body.get("usage"),
        faults=(*faults, *got.faults),
        seconds=reply.seconds,
    )


def chat_streamed(stream: Streamed) -> Answer:
    """A streamed chat reply."""
    if stream.status != 200:
        return Answer(
            status=stream.status,
            streamed=True,
            reply={"crash": {"type": f"HTTP {stream.status}", "text": stream.text[:300]}},
            error=stream.text,
            seconds=stream.seconds,
        )
    faults = list(stream.faults)
    deltas: list[Any] = []
    usage: Mapping[str, Any] | None = None
    first: float | None = None
    last: float | None = None
    argument_times: list[float] = []
    name_times: list[float] = []
    roles = 0
    finished = False
    stop_reason: Any = None
    chunks = []
    for event in stream.events:
        chunk = event.json
        if not isinstance(chunk, dict):
            continue
        chunks.append(chunk)
        if "error" in chunk:
            deltas.append([None, [], None])
            faults.append(f"an error inside the stream: {str(chunk['error'])[:200]}")
            continue
        if isinstance(chunk.get("usage"), dict):
            usage = chunk["usage"]
        choices = chunk.get("choices")
        if not choices:
            if choices is None or not isinstance(chunk.get("usage"), dict):
                faults.append("a chunk without choices and without usage")
            continue
        choice = choices[0]
        delta = choice.get("delta") or {}
        parts = [_part(part) for part in delta.get("tool_calls") or []]
        roles += 1 if delta.get("role") else 0
        if finished:
            faults.append("a choice after its finish reason")
        finish = choice.get("finish_reason")
        finished = finished or finish is not None
        stop_reason = choice.get("stop_reason") if choice.get("stop_reason") is not None else stop_reason
        content = delta.get("content")
        deltas.append([content, parts, finish])
        if content or parts:
            first = event.at if first is None else first
            last = event.at
        argument_times += [event.at for part in parts if part[4]]
        name_times += [event.at for part in parts if part[3]]
    if roles != 1 and not stream.left:
        faults.append(f"the role comes {roles} times")
    if not finished and not stream.left:
        faults.append("no finish reason")
    made: dict[str, Any] = {"deltas": deltas}
    got = heard(made)
    return Answer(
        status=200,
        streamed=True,
        reply=made,
        content=got.content,
        calls=got.calls,
        finish=got.finish,
        stop_reason=stop_reason,
        usage=usage,
        faults=(*dict.fromkeys(faults), *got.faults),
        seconds=stream.seconds,
        first_output=first,
        last_output=last,
        argument_times=tuple(argument_times),
        name_times=tuple(name_times),
        chunks=tuple(chunks),
    )


def completion_whole(reply: Reply) -> Completion:
    """A completion that was not streamed."""
    body = reply.json
    if reply.status != 200 or not isinstance(body, dict):
        return Completion(status=reply.status, streamed=False, error=reply.text, seconds=reply.seconds)
    faults: list[str] = []
    choice, _ = _choice(body, None, faults)
    return Completion(
        status=200,
        streamed=False,
        text=choice.get("text") or "",
        finish=choice.get("finish_reason"),
        stop_reason=choice.get("stop_reason"),
        usage=body.get("usage"),
        faults=tuple(faults),
        seconds=reply.seconds,
    )


def completion_streamed(stream: Streamed) -> Completion:
    """A streamed completion."""
    if stream.status != 200:
        return Completion(status=stream.status, streamed=True, error=stream.text, seconds=stream.seconds)
    faults = list(stream.faults)
    pieces: list[str] = []
    times: list[float] = []
    usage: Mapping[str, Any] | None = None
    finish: str | None = None
    stop_reason: Any = None
    for event in stream.events:
        chunk = event.json
        if not isinstance(chunk, dict):
            continue
        if "error" in chunk:
            faults.append(f"an error inside the stream: {str(chunk['error'])[:200]}")
            continue
        if isinstance(chunk.get("usage"), dict):
            usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            if finish is not None:
                faults.append("a choice after its finish reason")
            if choice.get("text"):
                pieces.append(choice["text"])
                times.append(event.at)
            finish = choice.get("finish_reason") or finish
            stop_reason = choice.get("stop_reason") if choice.get("stop_reason") is not None else stop_reason
    if finish is None and not stream.left:
        faults.append("no finish reason")
    return Completion(
        status=200,
        streamed=True,
        text="".join(pieces),
        finish=finish,
        stop_reason=stop_reason,
        usage=usage,
        faults=tuple(dict.fromkeys(faults)),
        seconds=stream.seconds,
        first_output=times[0] if times else None,
        last_output=times[-1] if times else None,
        output_times=tuple(times),
    )


def _choice(body: Mapping[str, Any], inner: str | None, faults: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    choices: Sequence[Any] = body.get("choices") or ()
    if len(choices) != 1 or not isinstance(choices[0], dict):
        faults.append(f"{len(choices)} choices")
        return {}, {}
    choice = choices[0]
    message = choice.get(inner) if inner else {}
    if inner and not isinstance(message, dict):
        faults.append(f"no {inner} in the choice")
        message = {}
    return choice, message or {}


def _part(part: Mapping[str, Any]) -> list[Any]:
    function = part.get("function") or {}
    return [part.get("index"), part.get("id"), part.get("type"), function.get("name"), function.get("arguments")]
