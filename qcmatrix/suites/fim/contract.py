"""Contract: the completions endpoint as fill-in clients use it; any model, the text is forced."""

from __future__ import annotations

from typing import Any

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Mode, Need, check
from qcmatrix.suites.fim.asking import plain_gap, send
from qcmatrix.suites.fim.gap import load_gaps
from qcmatrix.suites.fim.payloads import README, chat, psm, raw

_COMPLETIONS = "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/entrypoints/openai/completion/protocol.py"
_SERVING = "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/entrypoints/openai/completion/serving.py"
_API = "https://platform.openai.com/docs/api-reference/completions/create"
_ADDED = "https://github.com/QwenLM/Qwen3-Coder/issues/13"
_DROPPED = "https://github.com/vllm-project/vllm/pull/46875"
_CONTINUE_LINES = "https://github.com/continuedev/continue/tree/main/core/autocomplete/postprocessing"
_TEXTS = {
    "tabs": "\tif ready:\n\t\tstart()\n\t\treturn\t# now",
    "crlf": "first()\r\n    second()\r\n",
    "leading-line-feed": "\n    return value",
    "trailing-line-feeds": "return value\n\n",
    "indentation": "        return value\n    # less",
    "trailing-spaces": "value = 1  \n    ",
    "spaces-only": "    ",
    "line-feed-only": "\n",
    "unicode": 'name = "Zoë 北京 🌍"\u00a0# \u2028',
}


@check("FIM-04", suite="fim", profiles=("fim-raw",), sources=(_SERVING, _API))
def suffix_field(bench: Bench) -> None:
    """A ``suffix`` is refused in clear words, or honoured, and never ignored.

    Asked: ``prompt`` and ``suffix`` of the completions endpoint. Must hold: HTTP 400 with a message that names
    ``suffix``; or HTTP 200 and a longer prompt than without it. A suffix that is ignored in silence gives completions
    that repeat what stands behind the cursor.
    """
    asked: dict[str, Any] = {"max_tokens": 2}
    if bench.streams:
        asked["stream_options"] = {"include_usage": True}
    reply = bench.complete("def add(first, second):\n    ", suffix="\n    return total\n", **asked)
    bench.figures["suffix"] = "refused" if reply.status == 400 else f"HTTP {reply.status}"
    if reply.status == 400:
        bench.expect("suffix" in reply.error, "a message that names `suffix`", reply.error)
        return
    bench.expect_ok(reply)
    without = bench.complete("def add(first, second):\n    ", **asked)
    counts = [(each.usage or {}).get("prompt_tokens") for each in (reply, without)]
    honoured = all(isinstance(count, int) for count in counts) and counts[0] > counts[1]  # type: ignore[operator]
    bench.expect(honoured, "HTTP 400, or more prompt tokens with the suffix than without", f"{counts} prompt tokens")


@check("FIM-04.null", suite="fim", profiles=("fim-raw",), needs=(Need.FORCING,), sources=(_API,))
def suffix_null(bench: Bench) -> None:
    """A ``suffix`` of null is as if it were not there.

    Asked: a completion whose ``suffix`` is null, as typed clients send what is not set. Must hold: HTTP 200.
    """
    body = {"model": bench.subject.model, "prompt": "x = ", "suffix": None, "max_tokens": 16, **bench.say("1")}
    reply = bench.wire.post("/v1/completions", body)
    bench.expect(reply.status == 200, "HTTP 200", f"HTTP {reply.status}: {reply.text}")


@check(
    "FIM-13",
    suite="fim",
    profiles=("fim-raw",),
    needs=(Need.FORCING,),
    sources=(_CONTINUE_LINES,),
    variants=_TEXTS,
)
def whitespace(bench: Bench, text: str) -> None:
    """Whitespace arrives as the model says it.

    Asked: the raw form, the model made to say a text. Must hold: exactly that text, to the last space. What a client
    then does with leading line feeds is its own: Continue strips them for names with ``qwen3`` in them.
    """
    gap = plain_gap(load_gaps())
    reply = send(bench, raw(psm(gap.prefix, gap.suffix)), stream=bench.streams, **bench.say(text))
    bench.expect_ok(reply)
    bench.expect(reply.text == text, repr(text), repr(reply.text))


@check("FIM-13.chat", suite="fim", profiles=("fim-raw",), core=False, needs=(Need.FORCING,), sources=(README,))
def whitespace_in_chat(bench: Bench) -> None:
    """Whitespace arrives as the model says it, in a chat message too.

    Asked: the chat form, the model made to say a text with line feeds around it. Must hold: exactly that text.
    """
    text = "\n\tif ready:\r\n\t\tstart()  \n\n"
    reply = send(bench, chat(plain_gap(load_gaps())), stream=bench.streams, **bench.say(text))
    bench.expect_ok(reply)
    bench.expect(reply.text == text, repr(text), repr(reply.text))


@check(
    "FIM-14",
    suite="fim",
    profiles=("fim-raw",),
    needs=(Need.FORCING,),
    sources=(_ADDED,),
    variants={
        "fim-suffix": "<|fim_suffix|>",
        "fim-middle": "<|fim_middle|>",
        "im-end": "<|im_end|>",
        "endoftext": "<|endoftext|>",
        "file-sep": "<|file_sep|>",
        "tool-call": "<tool_call>",
    },
)
def marker_in_user_code(bench: Bench, marker: str) -> None:
    """A marker in the user's own file does no harm to the server, and arrives as text where the model spells it.

    Asked: the raw form with a file that holds the marker in a string, the model made to spell the same string. Must
    hold: HTTP 200, the text to its last letter, and the server healthy afterwards.

    The figure ``marker_tokens`` says what the tokenizer makes of it: 1, the marker itself, for which there is no
    escape, so a prompt with it is ambiguous and what a model answers to it is not judged.
    """
    gap = plain_gap(load_gaps())
    ids = bench.tokenize(marker, add_special_tokens=False)
    bench.figures["marker_tokens"] = len(ids)
    own = f'MARK = "{marker}"\n'
    text = f'return "{marker}"'
    request = raw(psm(own + gap.prefix, gap.suffix + own))
    reply = send(bench, request, stream=bench.streams, stop=None, **_spelled(bench, text, ids))
    bench.expect_ok(reply)
    bench.expect(reply.text == text, repr(text), repr(reply.text))
    health = bench.wire.get("/health")
    bench.expect(health.status == 200, "a healthy server afterwards", f"HTTP {health.status}")


@check(
    "FIM-14",
    suite="fim",
    profiles=("fim-raw",),
    core=False,
    needs=(Need.FORCING,),
    sources=(_ADDED, _DROPPED),
    variants={
        "chat-fim-suffix": "<|fim_suffix|>",
        "chat-im-end": "<|im_end|>",
        "chat-endoftext": "<|endoftext|>",
    },
)
def marker_in_chat(bench: Bench, marker: str) -> None:
    """A marker that the model spells in a chat message arrives as text, streamed and whole.

    Asked: the chat form with a file that holds the marker in a string, the model made to spell the same string letter
    by letter, as when it is asked about a chat template. Must hold: HTTP 200 and the text to its last letter.
    """
    own = f'MARK = "{marker}"\n'
    text = f'return "{marker}"'
    ids = bench.tokenize(marker, add_special_tokens=False)
    reply = bench.chat(f"What does this file do?\n{own}", max_tokens=64, **_spelled(bench, text, ids))
    bench.expect_ok(reply)
    bench.expect(reply.content == text, repr(text), repr(reply.content))


@check("FIM-16", suite="fim", profiles=("fim-raw",), modes=(Mode.ONCE,), needs=(Need.FORCING,), sources=(_API,))
def streamed_is_whole(bench: Bench) -> None:
    """A streamed completion adds up to the whole one.

    Asked: the same request whole and streamed, the model made to say a text with line feeds, tabs and letters of
    several bytes. Must hold: the same text, finish reason and usage. Whether a model left to itself says the same twice
    is FIM-16.greedy.
    """
    gap = plain_gap(load_gaps())
    said = bench.say('\tname = "Zoë 北京 🌍"\n\treturn name\n')
    request = raw(psm(gap.prefix, gap.suffix))
    whole = send(bench, request, **said)
    streamed = send(bench, request, stream=True, stream_options={"include_usage": True}, **said)
    for reply in (whole, streamed):
        bench.expect_ok(reply)
    bench.expect(streamed.text == whole.text, f"the whole text {whole.text!r}", repr(streamed.text))
    bench.expect(streamed.finish == whole.finish, f"finish_reason {whole.finish}", streamed.finish)
    counts = [
        {name: (reply.usage or {}).get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
        for reply in (whole, streamed)
    ]
    bench.expect(counts[0] == counts[1], f"the usage {counts[0]}", counts[1])


@check("FIM-21", suite="fim", profiles=("fim-raw",), needs=(Need.FORCING,), sources=(_COMPLETIONS, _API))
def usage(bench: Bench) -> None:
    """A completion's usage counts what was read and said.

    Asked: the raw form, with ``include_usage`` where it is streamed. Must hold: ``prompt_tokens`` is what ``/tokenize``
    makes of the prompt, ``completion_tokens`` from one to a token a letter and the end, ``total_tokens`` their sum.
    """
    gap = plain_gap(load_gaps())
    prompt, text = psm(gap.prefix, gap.suffix), "total += value"
    options = {"stream_options": {"include_usage": True}} if bench.streams else {}
    reply = send(bench, raw(prompt), stream=bench.streams, **options, **bench.say(text))
    bench.expect_ok(reply)
    told = reply.usage or {}
    read, said = told.get("prompt_tokens"), told.get("completion_tokens")
    count = len(bench.tokenize(prompt))
    bench.expect(read == count, f"{count} prompt tokens", told)
    bench.expect(isinstance(said, int) and 1 <= said <= len(text) + 1, f"1 to {len(text) + 1} tokens", told)
    bench.expect(told.get("total_tokens") == count + (said or 0), "a total that is the sum", told)


@check("FIM-22", suite="fim", profiles=("fim-raw",), modes=(Mode.ONCE,), sources=(_COMPLETIONS, _API))
def sixteen_tokens(bench: Bench) -> None:
    """A completion without ``max_tokens`` is sixteen tokens long.

    Asked: a completion without ``max_tokens`` of a model that may not end. Must hold: 16 tokens, ``finish_reason``
    length. Clients that leave it out get a torn line: FIM needs an explicit ``max_tokens``.
    """
    reply = bench.complete("def add(first, second):\n", ignore_eos=True)
    bench.expect_ok(reply)
    count = (reply.usage or {}).get("completion_tokens")
    bench.expect((count, reply.finish) == (16, "length"), "16 tokens, finish_reason length", (count, reply.finish))


def _spelled(bench: Bench, text: str, ids: list[int]) -> dict[str, Any]:
    """Fields that make the model say ``text`` letter by letter where it could say it with the token of ``ids``."""
    bias = {"logit_bias": {str(ids[0]): -100}} if len(ids) == 1 else {}
    return {**bench.say(text), **bias}
