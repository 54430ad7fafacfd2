"""LC-05: a constant in a repository is found and reported by a tool call."""

from __future__ import annotations

import json
import random
from typing import Any

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.context.fitting import fresh, length_of, patience, pieces_for, salt
from qcmatrix.suites.context.texts import code_file, hidden
from qcmatrix.suites.declare import ONCE, Need, Rate, Tier, check

__all__: list[str] = []

_RULER = "https://arxiv.org/abs/2404.06654"
_LONGEST = 200_000
_ROOM = 640
"""Tokens kept for the tool, the question and the call."""
_TRIALS = 3
_RECALL = 0.95
_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "report_constant",
        "description": "Report the value of a constant.",
        "parameters": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "value": {"type": "integer"}},
            "required": ["name", "value"],
        },
    },
}


@check(
    "LC-05",
    suite="context",
    profiles=("long-256k", "long-1m"),
    tier=Tier.LONG,
    modes=ONCE,
    needs=(Need.TRAINED, Need.TOOLS),
    tokens=8_192,
    sources=(_RULER,),
)
def constant(bench: Bench) -> Rate:
    """A constant in a dump of a repository is reported by a tool call.

    200k tokens of random Python files, or as many as the context holds, one of them with a constant of a random name
    and value; the model is asked to report it with a tool. One call with that name and that value as an integer: what
    coding agents do all day, retrieval and tool calling together.
    """
    rng = fresh(bench)
    length = min(_LONGEST, length_of(bench) - _ROOM)
    seeds = [rng.random() for _ in range(_TRIALS)]
    bench.figures["tokens"] = length

    def trial(number: int) -> str:
        own = random.Random(seeds[number % _TRIALS])  # noqa: S311 - texts, not secrets
        name = f"MAX_{own.choice(('RETRY', 'QUEUE', 'BATCH', 'CACHE'))}_{own.randrange(100, 1000)}"
        value = own.randrange(10_000, 100_000)
        secret = f"# file: src/settings/limits_{own.randrange(100)}.py\n{name} = {value}\n\n"
        text = hidden(pieces_for(bench, length, own, code_file), [(own.uniform(0.1, 0.9), secret)])
        question = f"Report the value of the constant {name} with the tool report_constant."
        answer = bench.chat(
            f"{text}\n{question}",
            stream=False,
            tools=[_TOOL],
            tool_choice="auto",
            max_tokens=256,
            timeout=patience(length),
            **salt(),
        )
        bench.expect(answer.status == 200, "HTTP 200", f"HTTP {answer.status}: {answer.error[:300]}")
        if len(answer.calls) != 1 or answer.calls[0].name != "report_constant":
            return f"{len(answer.calls)} calls, text {answer.content[:120]!r}"
        told = _decoded(answer.calls[0].arguments)
        return "" if told == {"name": name, "value": value} else f"{told} instead of {name} = {value}"

    return bench.rate(trial, _TRIALS, _RECALL, most=2)


def _decoded(arguments: str | None) -> Any:
    try:
        return json.loads(arguments or "")
    except ValueError:
        return arguments
