"""API-09: how many tokens it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import check

__all__: list[str] = []

_CHAT = "https://platform.openai.com/docs/api-reference/chat/object"
_TOKENIZER = "https://docs.vllm.ai/en/v0.33.0/serving/openai_compatible_server/"
_PROMPT = "def add(a, b):\n    return a + b\n"
_TURNS = [{"role": "system", "content": "You answer briefly."}, {"role": "user", "content": "Say hi."}]
_MOST = 5
_CASES: Mapping[str, Mapping[str, Any]] = {
    "chat": {"title": "chat, max_tokens", "field": "max_tokens"},
    "chat-max-completion-tokens": {"title": "chat, max_completion_tokens", "field": "max_completion_tokens"},
    "completions": {"title": "completions", "field": "max_tokens"},
}


@check("API-09", suite="boot", profiles=("chat-api",), sources=(_CHAT, _TOKENIZER), variants=_CASES)
def counted(bench: Bench, case: Mapping[str, Any]) -> None:
    """Tokens are counted as the tokenizer counts, and no more come than were asked for.

    ``usage.prompt_tokens`` is the count of ``/tokenize`` for the same prompt (through the chat template for a chat);
    with ``ignore_eos`` exactly as many tokens come as the limit says, ``finish_reason`` is ``length``, and the total is
    the sum. Clients cut their history by these figures.
    """
    fields: dict[str, Any] = {case["field"]: _MOST, "ignore_eos": True}
    if bench.streams:
        fields["stream_options"] = {"include_usage": True}
    if case["title"] == "completions":
        told = bench.complete(_PROMPT, **fields)
        bench.expect_ok(told)
        usage, finish = told.usage, told.finish
        prompt = len(bench.tokenize(_PROMPT))
    else:
        answer = bench.chat(_TURNS, **fields)
        bench.expect_ok(answer)
        usage, finish = answer.usage, answer.finish
        prompt = len(bench.tokenize(_TURNS))
    wanted = {"prompt_tokens": prompt, "completion_tokens": _MOST, "total_tokens": prompt + _MOST}
    seen = {name: usage.get(name) for name in wanted} if isinstance(usage, Mapping) else usage
    bench.expect(seen == wanted, f"usage {wanted}", seen)
    bench.expect(finish == "length", "finish reason length", finish)
