"""Results of calls, sent back: the model uses them and does not ask again (TC-38)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import ONCE, Need, Rate, Tier, check
from qcmatrix.suites.tools.behaviour import ask, ill
from qcmatrix.suites.tools.offered import CORE, said
from qcmatrix.suites.tools.prompts import tool

__all__ = ["uses_results"]

_ONE = {
    "title": "one result",
    "ask": "Read owner.txt and tell me who owns the project.",
    "results": {"owner.txt": "owner: Ottoline Brandt"},
    "words": ("Ottoline",),
}
_TWO = {
    "title": "two results, in order",
    "ask": "Read first.txt and second.txt and tell me the number in each, the first one first.",
    "results": {"first.txt": "number: 6174", "second.txt": "number: 1089"},
    "words": ("6174", "1089"),
}


@check(
    "TC-38.behaviour",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=(Need.TOOLS, Need.TRAINED),
    sources=("https://github.com/vllm-project/vllm/blob/v0.33.0/tests/tool_use/test_tool_calls.py",),
    variants={"one": _ONE, "two": _TWO},
)
def uses_results(bench: Bench, given: Mapping[str, Any]) -> Rate:
    """The answer uses the results of the calls.

    The conversation holds the user's question, the calls and their results. The model must answer with the words of
    the results, in order, without calling again; finish reason `stop`.
    """
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "read_file", "arguments": f'{{"path": "{path}"}}'}}
        for n, path in enumerate(given["results"])
    ]
    results = [
        {"role": "tool", "tool_call_id": f"call_{n}", "content": text}
        for n, text in enumerate(given["results"].values())
    ]
    messages = [
        {"role": "user", "content": given["ask"]},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *results,
    ]

    def trial(number: int) -> str:
        answer = ask(bench, number, messages, [tool("read_file"), tool("list_files")])
        places = [answer.content.find(word) for word in given["words"]]
        fine = not answer.calls and answer.finish == "stop" and places[0] >= 0 and places == sorted(places)
        return ill(answer) or ("" if fine else said(answer))

    return bench.rate(trial, 10, 0.9)
