"""What the chunks of a stream look like: calls in deltas, order, form, usage (TC-27, TC-42, TC-43, TC-44)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.exchange.chat import Answer, chat_streamed
from qcmatrix.suites.bench import CHAT, Bench
from qcmatrix.suites.declare import ONCE, Mode, Need, NotApplicable, check
from qcmatrix.suites.tools.clients import expect_client_agrees
from qcmatrix.suites.tools.offered import (
    CHAT_API,
    CORE,
    TOOL_CALLING,
    expect_calls,
    offer,
    said,
    upstream,
    written,
)

__all__ = ["delta_shape", "hygiene", "ids_are_unique", "usage_of_streams", "usage_of_whole_replies"]

_TWO = "Both.\n" + written("read_file", {"path": "a.py"}) + "\n" + written("edit", {"path": "b", "old": "1", "new": ""})
_PROSE = "One, two, three: a plain answer."
_STREAM_CHUNK = "https://developers.openai.com/api/reference/resources/chat/subresources/completions/streaming-events"


@check(
    "TC-27",
    suite="tools",
    profiles=CORE,
    modes=(Mode.STREAM,),
    needs=(Need.TOOLS, Need.FORCING),
    sources=(*upstream(44098), _STREAM_CHUNK),
)
def delta_shape(bench: Bench) -> None:
    """Id, type and name of a call come once, on the first delta of its index.

    Later deltas bring only pieces of the arguments, which add up to a JSON object; indices count up from 0 and a call
    is not touched any more once the next one has begun. `openai`'s accumulator adds texts up, so that an id that is
    repeated becomes a long wrong one there.
    """
    answer = bench.chat("Go on.", tools=offer("read_file", "edit"), tool_choice="auto", **bench.say(_TWO))
    wanted: list[tuple[str, Mapping[str, Any]]] = [
        ("read_file", {"path": "a.py"}),
        ("edit", {"path": "b", "old": "1", "new": ""}),
    ]
    expect_calls(bench, answer, wanted)
    begun = -1
    for delta in answer.reply["deltas"]:
        for index, own_id, kind, name, _ in delta[1]:
            if index == begun:
                bench.expect(not own_id and not name, "only arguments in later deltas", delta[1])
                bench.expect(kind in (None, "", "function"), "no other type in later deltas", delta[1])
                continue
            bench.expect(index == begun + 1, f"index {begun + 1} next", delta[1])
            bench.expect(own_id and name and kind == "function", "id, type `function` and name at first", delta[1])
            begun = index
    expect_client_agrees(bench, answer)


@check(
    "TC-42.unique",
    suite="tools",
    profiles=CORE,
    modes=ONCE,
    needs=(Need.TOOLS, Need.FORCING),
    sources=("https://github.com/MoonshotAI/K2-Vendor-Verifier", _STREAM_CHUNK),
)
def ids_are_unique(bench: Bench) -> None:
    """No two calls share an id, within a turn or across turns.

    Clients key results by the id alone. Five turns of two calls each are asked for, streamed and whole, the last one a
    second turn of the first conversation; all ten ids must differ and none be empty.
    """
    text = written("ping", {}) + "\n" + written("bare", {})
    body = {"tools": offer("ping", "bare"), "tool_choice": "auto", **bench.say(text)}
    answers = bench.at_once(lambda n: bench.chat(f"Turn {n}.", stream=n % 2 == 0, **body), range(4))
    for answer in answers:
        expect_calls(bench, answer, [("ping", {}), ("bare", {})])
    for answer in answers[:1]:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.calls
        ]
        results = [{"role": "tool", "tool_call_id": call.id, "content": "done"} for call in answer.calls]
        user = {"role": "user", "content": "Again."}
        later = bench.chat(
            [user, {"role": "assistant", "content": None, "tool_calls": calls}, *results, user], stream=False, **body
        )
        expect_calls(bench, later, [("ping", {}), ("bare", {})])
        answers = [*answers, later]
    ids = [call.id for answer in answers for call in answer.calls]
    bench.expect(all(ids) and len(set(ids)) == len(ids), f"{len(ids)} ids that all differ", ids)


@check(
    "TC-44",
    suite="tools",
    profiles=(*CHAT_API, *CORE),
    modes=(Mode.STREAM,),
    needs=(Need.TOOLS, Need.FORCING),
    sources=(*upstream(19662, 35705), _STREAM_CHUNK),
    variants={
        "text": {"title": "of plain text", "text": _PROSE},
        "calls": {"title": "of two calls", "text": _TWO},
        "empty": {"title": "that max_tokens ends at once", "text": _PROSE, "max_tokens": 1},
    },
)
def hygiene(bench: Bench, given: Mapping[str, Any]) -> None:
    """A clean stream.

    Its type is `text/event-stream`; every line is `data:` and JSON; `[DONE]` comes once and last; all chunks are
    `chat.completion.chunk` of one id, one time and the model that was asked for; the role comes once, first; the finish
    reason is null until the last chunk with a choice, and nothing of a choice comes after it.
    """
    body = {
        "model": bench.subject.model,
        "messages": [{"role": "user", "content": "Go on."}],
        "temperature": 0,
        "stream": True,
        "tools": offer("read_file", "edit"),
        "tool_choice": "auto",
        **bench.say(given["text"]),
        **({"max_tokens": given["max_tokens"]} if "max_tokens" in given else {}),
    }
    stream = bench.wire.stream(CHAT, body)
    answer = chat_streamed(stream)
    bench.expect_ok(answer)
    bench.expect("text/event-stream" in stream.content_type, "content type text/event-stream", stream.content_type)
    for name, wanted in (("object", "chat.completion.chunk"), ("model", bench.subject.model)):
        seen = {str(chunk.get(name)) for chunk in answer.chunks}
        bench.expect(seen == {wanted}, f"{name} {wanted} in every chunk", sorted(seen))
    for name in ("id", "created"):
        seen = {str(chunk.get(name)) for chunk in answer.chunks}
        bench.expect(len(seen) == 1 and "None" not in seen, f"one {name} in all chunks", sorted(seen))
    _choices_in_order(bench, answer)


def _choices_in_order(bench: Bench, answer: Answer) -> None:
    choices = [choice for chunk in answer.chunks for choice in chunk.get("choices") or ()]
    bench.expect(choices, "chunks with a choice", answer.chunks)
    first = choices[0].get("delta") or {}
    bench.expect(first.get("role") == "assistant", "the role assistant in the first chunk", first)
    later = [each for each in choices[1:] if (each.get("delta") or {}).get("role")]
    bench.expect(not later, "the role once", later)
    early = [each for each in choices[:-1] if each.get("finish_reason") is not None]
    bench.expect(not early, "no finish reason before the last choice", early)
    bench.expect(all(each.get("index") == 0 for each in choices), "index 0 of the only choice", choices)


@check(
    "TC-43.stream",
    suite="tools",
    profiles=CHAT_API,
    modes=(Mode.STREAM,),
    sources=(TOOL_CALLING.replace("features/tool_calling", "serving/openai_compatible_server"), _STREAM_CHUNK),
    variants={
        "asked": {"title": "asked for by include_usage", "include": True},
        "not-asked": {"title": "not asked for", "include": False},
    },
)
def usage_of_streams(bench: Bench, given: Mapping[str, Any]) -> None:
    """The usage of a stream.

    With `stream_options.include_usage` it comes exactly once, in a last chunk whose choices are `[]`, and counts what
    the same request counts when it is not streamed. Without it no chunk has any, unless the server was started with
    `--enable-force-include-usage`.
    """
    body: dict[str, Any] = {"max_tokens": 6, "ignore_eos": True}
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if given["include"] else {}
    streamed = bench.chat("Count.", **body, **options)
    bench.expect_ok(streamed)
    with_usage = [chunk for chunk in streamed.chunks if chunk.get("usage") is not None]
    if not given["include"]:
        if with_usage and _forces_usage(bench):
            raise NotApplicable("the server was started with --enable-force-include-usage")
        bench.expect(not with_usage, "no usage (--enable-force-include-usage aside)", with_usage)
        return
    bench.expect(len(with_usage) == 1, "usage in exactly one chunk", with_usage)
    bench.expect(streamed.chunks[-1] is with_usage[0], "usage in the last chunk", streamed.chunks[-1])
    bench.expect(with_usage[0].get("choices") == [], "choices [] beside the usage", with_usage[0])
    whole = bench.chat("Count.", stream=False, **body)
    bench.expect_ok(whole)
    _expect_counts(bench, streamed, 6)
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    one, two = ([(answer.usage or {}).get(name) for name in names] for answer in (streamed, whole))
    bench.expect(one == two, f"the counts of the reply that is not streamed, {two}", one)


@check("TC-43.whole", suite="tools", profiles=CHAT_API, modes=(Mode.WHOLE,), sources=(_STREAM_CHUNK,))
def usage_of_whole_replies(bench: Bench) -> None:
    """A reply that is not streamed has its usage: prompt, completion and their sum.

    Six tokens are asked for with `ignore_eos`, so the completion counts six.
    """
    answer = bench.chat("Count.", max_tokens=6, ignore_eos=True)
    bench.expect_ok(answer)
    _expect_counts(bench, answer, 6)


def _expect_counts(bench: Bench, answer: Answer, completion: int) -> None:
    usage = answer.usage or {}
    prompt, made, total = (usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    bench.expect(isinstance(prompt, int) and prompt > 0, "a count of prompt tokens", usage or said(answer))
    bench.expect(made == completion, f"{completion} completion tokens", usage)
    bench.expect(isinstance(prompt, int) and total == prompt + completion, "their sum in total_tokens", usage)


def _forces_usage(bench: Bench) -> bool:
    command = getattr(bench.subject.entry, "command", "")
    return "--enable-force-include-usage" in str(command)
