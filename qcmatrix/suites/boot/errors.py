"""API-04: what is wrong with a request is said at once, in OpenAI's form, and harms nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.exchange.wire import Reply
from qcmatrix.suites.bench import CHAT, COMPLETIONS, Bench
from qcmatrix.suites.declare import Need, check

__all__: list[str] = []

_OPENAI = "https://platform.openai.com/docs/guides/error-codes"
_SHAPE = "https://github.com/vllm-project/vllm/issues/12886"
_LIMIT = "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/renderers/params.py"
_USER = [{"role": "user", "content": "Say hi."}]
_FIELDS = ("message", "type", "param", "code")

_CASES: Mapping[str, Mapping[str, Any]] = {
    "unknown-model": {
        "title": "a chat with a model that is not served is 404",
        "path": CHAT,
        "body": {"model": "no-such-model", "messages": _USER},
        "status": 404,
        "names": "no-such-model",
    },
    "unknown-model-completion": {
        "title": "a completion with a model that is not served is 404",
        "path": COMPLETIONS,
        "body": {"model": "no-such-model", "prompt": "hi"},
        "status": 404,
        "names": "no-such-model",
    },
    "broken-json": {"title": "a body that is no JSON is 400", "path": CHAT, "text": '{"model": "x", "messages": ['},
    "no-messages": {"title": "a chat without messages is 400", "path": CHAT, "body": {}, "names": "messages"},
    "messages-no-list": {
        "title": "messages that are no list are 400",
        "path": CHAT,
        "body": {"messages": "hi"},
        "names": "messages",
    },
    "max-tokens-no-number": {
        "title": "max_tokens that is no number is 400",
        "path": COMPLETIONS,
        "body": {"prompt": "hi", "max_tokens": "many"},
        "names": "max_tokens",
    },
    "stop-no-text": {
        "title": "a stop that is no text is 400",
        "path": CHAT,
        "body": {"messages": _USER, "stop": {"a": 1}, "max_tokens": 1},
        "names": "stop",
    },
    "temperature-negative": {
        "title": "a negative temperature is 400",
        "path": CHAT,
        "body": {"messages": _USER, "temperature": -1, "max_tokens": 1},
        "names": "temperature",
    },
    "top-p-over-one": {
        "title": "a top_p over 1 is 400",
        "path": COMPLETIONS,
        "body": {"prompt": "hi", "top_p": 2, "max_tokens": 1},
        "names": "top_p",
    },
    "n-zero": {
        "title": "n = 0 is 400",
        "path": CHAT,
        "body": {"messages": _USER, "n": 0, "max_tokens": 1},
        "names": "n",
    },
    "token-unknown": {
        "title": "a token id beyond the vocabulary is 400",
        "path": COMPLETIONS,
        "body": {"prompt": [2**31 - 2], "max_tokens": 1},
        "names": "token",
    },
    "top-logprobs-too-many": {
        "title": "more top_logprobs than the server allows are 400",
        "path": CHAT,
        "body": {"messages": _USER, "logprobs": True, "top_logprobs": 100_000, "max_tokens": 1},
        "names": "logprobs",
    },
}


@check("API-04", suite="boot", profiles=("chat-api",), tokens=0, sources=(_OPENAI, _SHAPE), variants=_CASES)
def refusal(bench: Bench, case: Mapping[str, Any]) -> None:
    """A bad request is refused in OpenAI's form.

    The status is the 4xx that OpenAI's clients turn into the right exception, also where a stream was asked for; the
    body is ``{"error": {"message", "type", "param", "code"}}`` and its message names what is wrong; the server answers
    ``/health`` behind it. A client that finds no ``error.message`` shows its user nothing.
    """
    if "text" in case:
        reply = bench.wire.post_text(case["path"], case["text"])
    else:
        body = {"model": bench.subject.model, **case["body"]}
        if bench.streams:
            body["stream"] = True
        reply = bench.wire.post(case["path"], body)
    said = expect_refused(bench, reply, case.get("status", 400))
    if "names" in case:
        bench.expect(case["names"].lower() in said.lower(), f"a message that names {case['names']}", said)


@check(
    "API-04.max-tokens-over",
    suite="boot",
    profiles=("chat-api",),
    needs=(Need.FORCING,),
    tokens=0,
    sources=(_OPENAI, _LIMIT),
)
def max_tokens_over(bench: Bench) -> None:
    """More max_tokens than the whole context is 400 and names the limit.

    Twice ``max_model_len`` can never be served, whatever the prompt; 400 with the length in the message tells the
    client's author, where a silent cut only shows as an answer that ends early. The answer is forced to one word, so
    that a server which takes the request does not go on for the whole context.
    """
    length = bench.subject.max_model_len or 1_048_576
    body = {"model": bench.subject.model, "messages": _USER, "max_tokens": 2 * length, **bench.say("ok")}
    if bench.streams:
        body["stream"] = True
    said = expect_refused(bench, bench.wire.post(CHAT, body), 400)
    if bench.subject.max_model_len is not None:
        bench.expect(str(length) in said.replace(",", ""), f"a message that names the limit {length}", said)


def expect_refused(bench: Bench, reply: Reply, status: int) -> str:
    """The reply is an error of that status in OpenAI's form, and the server is alive; the error's message."""
    seen = f"HTTP {reply.status}: {reply.text[:500]}"
    bench.expect(reply.status == status, f"HTTP {status}", seen)
    error = reply.json.get("error") if isinstance(reply.json, dict) else None
    shaped = isinstance(error, dict) and all(field in error for field in _FIELDS)
    bench.expect(shaped, 'a body {"error": {"message", "type", "param", "code"}}', seen)
    assert isinstance(error, dict)  # noqa: S101 - expected above
    message = error["message"]
    bench.expect(isinstance(message, str) and message and isinstance(error["type"], str), "words in the error", seen)
    alive = bench.wire.get("/health")
    bench.expect(alive.status == 200, "a healthy server behind it", f"HTTP {alive.status} of /health")
    return str(message)
