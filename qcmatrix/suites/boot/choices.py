"""API-05 and API-06: several choices, and the probabilities of tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qcmatrix.suites.bench import CHAT, COMPLETIONS, Bench
from qcmatrix.suites.declare import check

__all__: list[str] = []

_CHAT = "https://platform.openai.com/docs/api-reference/chat/create"
_RAW = "https://platform.openai.com/docs/api-reference/completions/create"
_ROUTES: Mapping[str, Mapping[str, Any]] = {
    "chat": {"title": "chat", "path": CHAT, "asks": {"messages": [{"role": "user", "content": "Say hi."}]}},
    "completions": {"title": "completions", "path": COMPLETIONS, "asks": {"prompt": "hi"}},
}
_TOP = 2


@check("API-05", suite="boot", profiles=("chat-api",), core=False, sources=(_CHAT, _RAW), variants=_ROUTES)
def several(bench: Bench, route: Mapping[str, Any]) -> None:
    """n = 2 gives two choices.

    With sampling, ``n: 2`` answers with the indices 0 and 1, each ended once with a finish reason; a streamed chunk
    says whose it is.
    """
    body = {**route["asks"], "n": 2, "temperature": 1.0, "max_tokens": 4}
    ends = [
        (choice.get("index"), choice["finish_reason"]) for choice in _asked(bench, route["path"], body) if _ends(choice)
    ]
    indices = sorted(index for index, _ in ends if isinstance(index, int))
    bench.expect(indices == [0, 1] == sorted({*indices}), "choices 0 and 1, each ended once", ends)


@check("API-06.off", suite="boot", profiles=("chat-api",), core=False, sources=(_CHAT, _RAW), variants=_ROUTES)
def probabilities_off(bench: Bench, route: Mapping[str, Any]) -> None:
    """No logprobs come unless they are asked for.

    Their default is off: they cost time, and multiply the size of a stream.
    """
    for choice in _asked(bench, route["path"], {**route["asks"], "max_tokens": 2}):
        bench.expect(choice.get("logprobs") is None, "no logprobs", choice.get("logprobs"))


@check("API-06.chat", suite="boot", profiles=("chat-api",), core=False, sources=(_CHAT,))
def probabilities_of_chat(bench: Bench) -> None:
    """A chat's logprobs hold every token with its rivals.

    ``logprobs: true, top_logprobs: 2`` gives as many entries as tokens, each with its token, a logarithm of a
    probability, its bytes, and two rivals that are no less likely one behind the other.
    """
    body = {"logprobs": True, "top_logprobs": _TOP, "max_tokens": 3, "ignore_eos": True, **_plain()}
    entries: list[Any] = []
    for choice in _asked(bench, CHAT, {**_ROUTES["chat"]["asks"], **body}):
        told = choice.get("logprobs")
        entries += (told.get("content") or []) if isinstance(told, dict) else []
    bench.expect(len(entries) == 3, "an entry for each of 3 tokens", entries)
    for entry in entries:
        rivals = entry.get("top_logprobs") if isinstance(entry, dict) else None
        fine = (
            isinstance(entry, dict)
            and isinstance(entry.get("token"), str)
            and _is_logarithm(entry.get("logprob"))
            and isinstance(entry.get("bytes"), list)
            and isinstance(rivals, list)
            and len(rivals) == _TOP
            and all(isinstance(each, dict) and _is_logarithm(each.get("logprob")) for each in rivals)
        )
        bench.expect(fine, "token, logprob, bytes and two rivals", entry)
        assert isinstance(rivals, list)  # noqa: S101 - expected above
        bench.expect(rivals[0]["logprob"] >= rivals[1]["logprob"], "the likelier rival first", rivals)


@check("API-06.completions", suite="boot", profiles=("chat-api",), core=False, sources=(_RAW,))
def probabilities_of_completion(bench: Bench) -> None:
    """A completion's logprobs hold every token.

    ``logprobs: 2`` gives lists of tokens, their logarithms, their rivals and their places in the text, of one length:
    that of the completion.
    """
    body = {"prompt": "hi", "logprobs": _TOP, "max_tokens": 3, "ignore_eos": True, **_plain()}
    lists: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for choice in _asked(bench, COMPLETIONS, body):
        told = choice.get("logprobs")
        for name, kept in lists.items():
            kept += (told.get(name) or []) if isinstance(told, dict) else []
    bench.expect(all(len(each) == 3 for each in lists.values()), "4 lists of 3 tokens", lists)
    fine = all(_is_logarithm(value) for value in lists["token_logprobs"])
    bench.expect(fine, "logarithms of probabilities", lists["token_logprobs"])


def _asked(bench: Bench, path: str, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All choices of the reply, of a stream those of all chunks.

    No ``seed``: on vLLM's CPU build one ends the engine where a sampled prompt is computed in two steps (0.32.0).
    """
    whole = {"model": bench.subject.model, **body}
    if bench.streams:
        stream = bench.wire.stream(path, {**whole, "stream": True})
        bench.expect(stream.status == 200, "HTTP 200", f"HTTP {stream.status}: {stream.text[:300]}")
        bench.expect(not stream.faults, "a well-formed stream", "; ".join(stream.faults))
        chunks: list[Any] = stream.chunks
    else:
        reply = bench.wire.post(path, whole)
        bench.expect(reply.status == 200, "HTTP 200", f"HTTP {reply.status}: {reply.text[:300]}")
        chunks = [reply.json]
    choices: list[Mapping[str, Any]] = [
        choice
        for chunk in chunks
        if isinstance(chunk, dict)
        for choice in chunk.get("choices") or ()
        if isinstance(choice, dict)
    ]
    bench.expect(choices, "choices", chunks)
    return choices


def _plain() -> dict[str, Any]:
    return {"temperature": 0, "repetition_penalty": 1.0}


def _ends(choice: Mapping[str, Any]) -> bool:
    return choice.get("finish_reason") is not None


def _is_logarithm(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value <= 1e-6
