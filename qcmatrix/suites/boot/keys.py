"""API-08: the API key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.exchange.wire import Reply, Wire
from qcmatrix.suites.bench import CHAT, COMPLETIONS, Bench
from qcmatrix.suites.declare import ONCE, NotApplicable, check

__all__: list[str] = []

_SECURITY = "https://docs.vllm.ai/en/v0.33.0/usage/security/"
_OPENAI = "https://platform.openai.com/docs/guides/error-codes"
_ASKS: tuple[tuple[str, Mapping[str, Any] | None], ...] = (
    ("/v1/models", None),
    (CHAT, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}),
    (COMPLETIONS, {"prompt": "hi", "max_tokens": 1}),
)
_KEYS: Mapping[str, Mapping[str, Any]] = {
    "none": {"title": "without a key", "key": None},
    "wrong": {"title": "with a wrong key", "key": "not-the-key"},
}


@check(
    "API-08", suite="boot", profiles=("chat-api",), modes=ONCE, tokens=0, sources=(_OPENAI, _SECURITY), variants=_KEYS
)
def refused(bench: Bench, case: Mapping[str, Any]) -> None:
    """Nobody is served without the key.

    A server that was given an API key answers 401 to the models, a chat and a completion that come without it or with
    another one. Not covered: vLLM guards ``/v1`` only; ``/metrics``, ``/tokenize`` and others stay open.
    """
    with_key = _stranger(bench, case["key"])
    try:
        for path, body in _ASKS:
            reply = _sent(with_key, path, bench.subject.model, body)
            bench.expect(reply.status == 401, f"HTTP 401 of {path}", f"HTTP {reply.status}: {reply.text[:200]}")
    finally:
        with_key.close()


@check("API-08.probe", suite="boot", profiles=("chat-api",), modes=ONCE, tokens=0, sources=(_SECURITY,))
def probe(bench: Bench) -> None:
    """/health needs no key.

    Load balancers and Kubernetes ask without one; a guarded probe takes a healthy server out of service.
    """
    without = _stranger(bench, None)
    try:
        reply = without.get("/health")
    finally:
        without.close()
    bench.expect(reply.status == 200, "HTTP 200", f"HTTP {reply.status}: {reply.text[:200]}")


def _stranger(bench: Bench, key: str | None) -> Wire:
    if not bench.subject.has_key:
        raise NotApplicable("the server wants no API key")
    return Wire(bench.subject.root, api_key=key, timeout=bench.wire.timeout, keep=bench.exchanges.append)


def _sent(wire: Wire, path: str, model: str, body: Mapping[str, Any] | None) -> Reply:
    return wire.get(path) if body is None else wire.post(path, {"model": model, **body})
