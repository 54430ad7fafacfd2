"""Requests that are wrong: refused with a 4xx and an error that a client can read, never a 500 (TC-45)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.suites.bench import CHAT, Bench
from qcmatrix.suites.declare import BOTH, check
from qcmatrix.suites.tools.offered import CHAT_API, named, offer

__all__ = ["wrong_requests"]

_SOURCES = (
    "https://github.com/vllm-project/vllm/blob/v0.33.0/tests/entrypoints/openai/test_completion_with_function_calling.py",
    "https://developers.openai.com/api/docs/guides/error-codes",
)

_WRONG: dict[str, dict[str, Any]] = {
    "tools-empty": {"title": "an empty list of tools", "body": {"tools": []}},
    "tools-no-list": {"title": "tools that are a word", "body": {"tools": "ping"}},
    "tool-without-function": {"title": "a tool without its function", "body": {"tools": [{"type": "function"}]}},
    "tool-without-name": {
        "title": "a tool without a name",
        "body": {"tools": [{"type": "function", "function": {"parameters": {"type": "object"}}}]},
    },
    "parameters-no-object": {
        "title": "parameters that are a word",
        "body": {"tools": [{"type": "function", "function": {"name": "a", "parameters": "none"}}]},
    },
    "unknown-named-tool": {
        "title": "a tool_choice that names a tool that is not offered",
        "body": {"tools": offer("ping"), "tool_choice": named("pong")},
    },
    "choice-without-tools": {"title": "tool_choice required without tools", "body": {"tool_choice": "required"}},
    "choice-unknown-word": {
        "title": "a tool_choice that is none",
        "body": {"tools": offer("ping"), "tool_choice": "maybe"},
    },
    "choice-without-name": {
        "title": "a tool_choice without a name",
        "body": {"tools": offer("ping"), "tool_choice": {"type": "function", "function": {}}},
    },
    "messages-missing": {"title": "no messages", "body": {"messages": None}},
    "messages-empty": {"title": "an empty conversation", "body": {"messages": []}},
    "messages-no-list": {"title": "messages that are a word", "body": {"messages": "Go on."}},
    "unknown-model": {"title": "a model that is not served", "body": {"model": "no-such-model"}},
    "negative-temperature": {"title": "a temperature below 0", "body": {"temperature": -1}},
    "max-tokens-negative": {"title": "max_tokens below 0", "body": {"max_tokens": -1}},
}
"""``None`` takes a field of the request away."""


@check("TC-45", suite="tools", profiles=CHAT_API, modes=BOTH, sources=_SOURCES, variants=_WRONG)
def wrong_requests(bench: Bench, given: Mapping[str, Any]) -> None:
    """Refused with a readable error.

    The status is 4xx, also when a stream is asked for, and the body is OpenAI's: an `error` with a `message`, from
    which clients make their own. A 500 says that the server broke; a 200 that it took what it cannot do.
    """
    body = {
        "model": bench.subject.model,
        "messages": [{"role": "user", "content": "Go on."}],
        "max_tokens": 4,
        **({"stream": True} if bench.streams else {}),
        **given["body"],
    }
    reply = bench.wire.post(CHAT, {name: value for name, value in body.items() if value is not None})
    bench.expect(400 <= reply.status < 500, "HTTP 4xx", f"HTTP {reply.status}: {reply.text[:300]}")
    decoded = reply.json
    error = decoded.get("error") if isinstance(decoded, dict) else None
    bench.expect(isinstance(error, dict) and error.get("message"), "an `error` with a `message`", reply.text[:300])
