"""Calls that max_tokens cuts short (TC-30)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.exchange.chat import Answer
from qcmatrix.exchange.wire import Reply
from qcmatrix.suites.bench import CHAT, Bench
from qcmatrix.suites.declare import BOTH, Need, NotApplicable, check
from qcmatrix.suites.tools.offered import CORE, arguments_of, function, said, upstream, written

__all__ = ["cut_finish", "cut_incomplete"]

_TOOL = "write_to_file"
_TOOLS = [function(_TOOL, {"path": {"type": "string"}, "content": {"type": "string"}})]
_FIRST = written(_TOOL, {"path": "a", "content": "1"})
_CALL = written(_TOOL, {"path": "b", "content": "8103726459" * 2})

_VALUE = {"title": "inside a value", "text": _CALL, "after": "<parameter=content>\n81", "span": 16}
_BETWEEN = {"title": "between two parameters", "text": _CALL, "after": "</parameter>", "span": 12}
_NAME = {"title": "inside the name", "text": "So.\n" + _CALL, "after": "<function=", "span": 12}
_SECOND = {
    "title": "inside a value of the second of two calls",
    "text": f"{_FIRST}\n{_CALL}",
    "after": "b\n</parameter>\n<parameter=content>\n81",
    "span": 16,
    "whole": 1,
}


@check(
    "TC-30.finish",
    suite="tools",
    profiles=CORE,
    modes=BOTH,
    needs=(Need.TOOLS, Need.FORCING),
    sources=upstream(9053),
    variants={"in-value": _VALUE, "in-name": _NAME, "second-call": _SECOND},
)
def cut_finish(bench: Bench, given: Mapping[str, Any]) -> None:
    """The finish reason of a call cut short.

    The reply ends by `max_tokens` in the middle of a call. The finish reason must be `length`: by it alone can a client
    tell that what it got is not what the model meant to write. `tool_calls` makes it run the call.
    """
    answer = _cut(bench, given)
    bench.expect(answer.finish == "length", "finish reason length", said(answer))


@check(
    "TC-30.incomplete",
    suite="tools",
    profiles=CORE,
    core=False,
    modes=BOTH,
    needs=(Need.TOOLS, Need.FORCING),
    sources=upstream(9053),
    variants={"in-value": _VALUE, "between-parameters": _BETWEEN},
)
def cut_incomplete(bench: Bench, given: Mapping[str, Any]) -> None:
    """No call that looks complete where it was cut short.

    The arguments of the call that was cut must be no JSON object (or the call not be there): else a client that does
    not look at the finish reason writes half a file. Calls before it stay whole. vLLM does not promise this, so it is
    no core check.
    """
    answer = _cut(bench, given)
    whole = [call for call in answer.calls if isinstance(arguments_of(call.arguments), dict)]
    bench.expect(len(whole) == given.get("whole", 0), f"{given.get('whole', 0)} whole calls", said(answer))


def _cut(bench: Bench, given: Mapping[str, Any]) -> Answer:
    text = str(given["text"])
    low = text.index(given["after"]) + len(given["after"])
    body = {"tools": _TOOLS, "tool_choice": "auto", **bench.say(text)}
    tokens = _tokens_to(bench, body, text, low, low + given["span"])
    answer = bench.chat("Go on.", max_tokens=tokens, **body)
    bench.expect(answer.status == 200, "HTTP 200", f"HTTP {answer.status}: {answer.error}")
    errors = [fault for fault in answer.faults if "error" in fault]
    bench.expect(not errors, "no error inside the stream", errors)
    return answer


def _tokens_to(bench: Bench, body: Mapping[str, Any], text: str, low: int, high: int) -> int:
    """How many tokens of this model's writing of ``text`` end between the characters ``low`` and ``high``.

    Models cut a text into tokens in their own way, so this one is asked for its way first.
    """
    asked = {
        "model": bench.subject.model,
        "messages": [{"role": "user", "content": "Go on."}],
        "temperature": 0,
        "seed": bench.seed,
        "logprobs": True,
        **body,
    }
    written_so_far, ends = "", []
    for token in _tokens(bench.wire.post(CHAT, asked)):
        written_so_far += token
        ends.append(len(written_so_far))
    if not written_so_far.startswith(text):
        raise NotApplicable("its logprobs do not show the tokens of the text")
    fitting = [number for number, end in enumerate(ends, 1) if low <= end <= high]
    if not fitting:
        raise NotApplicable(f"no token of this model ends in {text[low:high]!r}")
    return fitting[len(fitting) // 2]


def _tokens(reply: Reply) -> list[str]:
    body: Any = reply.json
    try:
        return [str(each["token"]) for each in body["choices"][0]["logprobs"]["content"]]
    except (KeyError, IndexError, TypeError):
        return []
