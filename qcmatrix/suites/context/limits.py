"""LC-01 and LC-02: the limit is where the server says that it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.exchange.chat import Answer, Completion
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.context.fitting import exact_text, fresh, length_of, patience, salt, single_token, some_ids
from qcmatrix.suites.declare import ONCE, Tier, check

__all__: list[str] = []

_PROFILES = ("chat-api", "long-256k", "long-1m")
_TOKENIZE = "https://docs.vllm.ai/en/v0.33.0/serving/openai_compatible_server/"
_PARAMS = "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/renderers/params.py"
_UPPER_BOUND = "https://github.com/vllm-project/vllm/issues/42474"
_CLAMPED = "https://github.com/vllm-project/vllm/pull/57035"
_ROUTES: Mapping[str, Mapping[str, Any]] = {
    "chat": {"title": "chat", "chat": True},
    "completions": {"title": "completions", "chat": False},
}
_DEAR_ROUTES: Mapping[str, Mapping[str, Any]] = {
    "chat": {"title": "chat, streamed", "chat": True, "stream": True},
    "completions": {"title": "completions, whole", "chat": False, "stream": False},
}
"""Where a whole context is computed, minutes at 1M tokens: each route in one mode."""
_ROOM = 64
_OUTPUT = 8


@check(
    "LC-01",
    suite="context",
    profiles=_PROFILES,
    tier=Tier.LONG,
    modes=ONCE,
    tokens=1024,
    sources=(_TOKENIZE,),
    variants=_DEAR_ROUTES,
)
def accepts(bench: Bench, route: Mapping[str, Any]) -> None:
    """A prompt that nearly fills the context is served.

    ``max_model_len`` less 64 tokens by the count of ``/tokenize``, random text, nothing of it cached: status 200, and
    ``usage.prompt_tokens`` is that count, so nothing was cut off.
    """
    total = length_of(bench) - _ROOM
    text = exact_text(bench, total, fresh(bench), chat=route["chat"])
    answer = _ask(bench, route, text, total, max_tokens=_OUTPUT)
    bench.expect_ok(answer)
    _counted(bench, answer, total)


@check(
    "LC-02.over", suite="context", profiles=_PROFILES, tier=Tier.LONG, tokens=1024, sources=(_PARAMS,), variants=_ROUTES
)
def rejects(bench: Bench, route: Mapping[str, Any]) -> None:
    """One token more than the context is refused, with the limit named.

    ``max_model_len`` plus one token: HTTP 400 whose message names ``max_model_len``, no 500 and no answer over a
    prompt that was cut; behind it the server is healthy and serves.
    """
    limit = length_of(bench)
    text = exact_text(bench, limit - 1, fresh(bench), chat=route["chat"]) + single_token(bench) * 2
    _refused(bench, _ask(bench, route, text, limit, max_tokens=1), limit)
    _alive(bench)


@check(
    "LC-02.full",
    suite="context",
    profiles=_PROFILES,
    tier=Tier.LONG,
    core=False,
    tokens=1024,
    sources=(_PARAMS, _UPPER_BOUND),
    variants=_ROUTES,
)
def rejects_full(bench: Bench, route: Mapping[str, Any]) -> None:
    """A prompt that leaves no room for a token is refused, with the limit named.

    Exactly ``max_model_len`` tokens of prompt and ``max_tokens: 1``: HTTP 400 whose message names ``max_model_len``.
    One that speaks of the client's ``max_tokens`` instead sends its author looking in the wrong place.
    """
    limit = length_of(bench)
    text = exact_text(bench, limit - 1, fresh(bench), chat=route["chat"]) + single_token(bench)
    _refused(bench, _ask(bench, route, text, limit, max_tokens=1), limit)
    _alive(bench)


@check(
    "LC-02.room",
    suite="context",
    profiles=_PROFILES,
    tier=Tier.LONG,
    modes=ONCE,
    tokens=1024,
    sources=(_PARAMS, _UPPER_BOUND, _CLAMPED),
    variants=_DEAR_ROUTES,
)
def output_over(bench: Bench, route: Mapping[str, Any]) -> None:
    """More output than there is room for is refused, or ends at the limit.

    The prompt leaves 8 tokens and ``max_tokens`` asks for 32. Older releases answer 400 and name the limit; newer ones
    cut ``max_tokens`` down. Then the whole prompt must have been used, no more than 8 tokens may come, and
    ``finish_reason`` must be ``length``, so that a client sees that the answer is not whole.
    """
    limit = length_of(bench)
    total = limit - _OUTPUT
    text = exact_text(bench, total, fresh(bench), chat=route["chat"])
    answer = _ask(bench, route, text, total, max_tokens=4 * _OUTPUT, ignore_eos=True)
    if answer.status == 200:
        bench.expect_ok(answer)
        _counted(bench, answer, total)
        came = answer.usage.get("completion_tokens") if isinstance(answer.usage, Mapping) else None
        bench.expect(came == _OUTPUT, f"{_OUTPUT} tokens of output, as there is room for", came)
        bench.expect(answer.finish == "length", "finish reason length", answer.finish)
    else:
        _refused(bench, answer, limit)
    _alive(bench)


def _ask(bench: Bench, route: Mapping[str, Any], text: str, tokens: int, **fields: Any) -> Answer | Completion:
    streams = route.get("stream", bench.streams)
    asked = {**fields, **salt(), "stream": streams, "timeout": patience(tokens)}
    if streams:
        asked["stream_options"] = {"include_usage": True}
    return bench.chat(text, **asked) if route["chat"] else bench.complete(text, **asked)


def _counted(bench: Bench, answer: Answer | Completion, total: int) -> None:
    told = answer.usage.get("prompt_tokens") if isinstance(answer.usage, Mapping) else None
    bench.expect(told == total, f"usage of {total} prompt tokens", told)


def _refused(bench: Bench, answer: Answer | Completion, limit: int) -> None:
    seen = f"HTTP {answer.status}: {answer.error[:400]}"
    bench.expect(answer.status == 400, "HTTP 400", seen)
    bench.expect(str(limit) in answer.error.replace(",", ""), f"a message that names the limit {limit}", seen)


def _alive(bench: Bench) -> None:
    health = bench.wire.get("/health")
    bench.expect(health.status == 200, "a healthy server behind it", f"HTTP {health.status} of /health")
    # a server that reads a long prompt of another check answers when it has read it
    wait = patience(bench.subject.max_model_len or 0)
    after = bench.complete(some_ids(bench, bench.rng)(8), stream=False, max_tokens=1, timeout=wait)
    bench.expect(after.status == 200, "a server that serves behind it", f"HTTP {after.status}: {after.error[:200]}")
