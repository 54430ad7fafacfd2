"""LAT-03 and LAT-04: an agent's turns, and long arguments of its tool calls."""

from __future__ import annotations

import json
import random
import uuid
from functools import partial
from typing import Any

import msgspec

from qcmatrix.suites.bench import CHAT, Bench
from qcmatrix.suites.declare import ONCE, Need, NotApplicable, Tier, Wrong, check
from qcmatrix.suites.latency.client import Ask, Run
from qcmatrix.suites.latency.cpu import api_cpu_seconds
from qcmatrix.suites.latency.measure import Form, client_for, hold_form, put_down, run_workload
from qcmatrix.suites.latency.prompts import filled, own_code, text_counter
from qcmatrix.suites.latency.record import Record
from qcmatrix.suites.latency.scale import Shape, fitting, scaled_why

TOOL = {
    "type": "function",
    "function": {
        "name": "write_file",
        "description": "Write a file.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
            "required": ["path", "content"],
        },
    },
}
_NAME = "write_file"
_PATH = "src/app.py"
_PARSER = "https://docs.vllm.ai/en/v0.33.0/features/tool_calling/"

PREFIX = Shape(tokens_in=30_500, tokens_out=900, requests=200)
SCALED_PREFIX = Shape(tokens_in=560, tokens_out=300, requests=1, warm_up=1)
NEW_TOKENS, SCALED_NEW_TOKENS = 500, 60
ARGUMENT, SCALED_ARGUMENT = 600, 8
"""Characters that the call of a turn writes."""

_TEMPLATE = 500
"""Tokens for the template, the tool and the tags of a call; more than any tokenizer of the family needs."""

SIZES = (1_000, 20_000, 200_000)
SCALED_SIZES = (40, 120)
FLAT_MOST = 3.0
"""CPU per kB from the second size to the third, over that from the first to the second; quadratic would be 10."""
_LEAST_CPU = 0.2
"""Seconds: below, the clock's ticks (10 ms) and the server's idle work are part of what is seen."""


@check(
    "LAT-03",
    suite="latency",
    profiles=("latency-interactive",),
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE, Need.TOOLS, Need.FORCING),
    tokens=1024,
    sources=(
        _PARSER,
        "https://github.com/mlcommons/inference_policies/blob/848b9ab3478d02898549fe1baa2ec49421fa99ba/inference_rules.adoc",
    ),
    variants={
        "c1": {"title": "one agent", "concurrency": 1},
        "c4": {"title": "four agents", "concurrency": 4},
    },
)
def agent_turn(bench: Bench, variant: dict[str, int]) -> None:
    """An agent's turn: 30 thousand tokens known from before, 500 new ones, a tool call out.

    All turns share a system prompt of random words, which the warm-up has left in the prefix cache; the user's turn is
    new each time, and the model is made to call a tool that writes 600 characters of code. Measured: TTFT (warm), TTFTC
    (first name of a call), ARG-GAP (longest silence inside the call). ``cached_tokens_median`` says whether the prefix
    really came from the cache, where the server tells (``--enable-prompt-tokens-details``). 60 turns of one agent, 200
    of four.

    Gated: the call arrives as it was said; the card's budgets for LAT-03. Forcing the text costs the sampler a little.
    """
    small = bool(scaled_why(bench.subject))
    shape = msgspec.structs.replace(
        fitting(bench.subject, PREFIX, SCALED_PREFIX, spare=_TEMPLATE), concurrency=variant["concurrency"]
    )
    if not small:
        shape = msgspec.structs.replace(shape, requests=60 if shape.concurrency == 1 else shape.requests)
    else:
        shape = msgspec.structs.replace(shape, requests=max(shape.requests, shape.concurrency))
    new = SCALED_NEW_TOKENS if small else NEW_TOKENS
    count = text_counter(bench)
    rng = random.Random(uuid.uuid4().int)  # noqa: S311 - words, not secrets
    prefix = filled(count, shape.tokens_in - new).text(rng)
    turn = filled(count, new)
    content = own_code(SCALED_ARGUMENT if small else ARGUMENT)
    salt = uuid.uuid4().hex  # one for the run: the prefix is to be found again

    def make(many: int) -> list[Ask]:
        return [
            Ask(
                path=CHAT,
                body=_call_body(
                    bench,
                    [{"role": "system", "content": prefix}, {"role": "user", "content": turn.text(rng)}],
                    content,
                    salt,
                    shape.tokens_out,
                ),
            )
            for _ in range(many)
        ]

    run_workload(bench, f"LAT-03.c{shape.concurrency}", shape, make, Form(more=partial(_not_as_said, content=content)))


@check(
    "LAT-04",
    suite="latency",
    profiles=("latency-interactive",),
    core=False,
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE, Need.TOOLS, Need.FORCING),
    tokens=1024,
    sources=(
        _PARSER,
        "https://github.com/vllm-project/vllm/issues/30439",
        "https://github.com/vllm-project/vllm/pull/45413",
    ),
)
def long_argument(bench: Bench) -> None:
    """A tool argument of 1, 20 and 200 kB: no long silence, and CPU that does not grow with its square.

    The model is made to write so much code through a tool. Measured per size: ARG-GAP, and the CPU time of the process
    that serves HTTP and parses calls. A parser that looks at the whole text again with each token costs time in the
    square of its length; users see a stream that gets slower and slower. A size that does not fit into the context is
    left out and named.

    Gated: the argument arrives as it was said; CPU per kB from 20 to 200 kB is at most three times that from 1 to 20;
    the card's budgets for LAT-04.
    """
    small = bool(scaled_why(bench.subject))
    client = client_for(bench, timeout=3600.0)
    count = text_counter(bench)
    limit = bench.subject.max_model_len
    sizes: list[dict[str, Any]] = []
    records: list[Record] = []
    left_out = []
    asked_for = SCALED_SIZES if small else SIZES
    warm_up = 0 if small else 1
    for size in (*asked_for[:warm_up], *asked_for):
        content = own_code(size)
        # Forced text need not come in the tokens that it is read in: random weights may spell it by single bytes.
        tokens = len(content.encode()) if Need.TRAINED not in bench.subject.has else count(content) * 5 // 4
        if limit is not None and tokens + 2 * _TEMPLATE > limit:
            left_out.append(size)
            continue
        messages = [{"role": "user", "content": "Write the file."}]
        ask = Ask(path=CHAT, body=_call_body(bench, messages, content, uuid.uuid4().hex, tokens + _TEMPLATE))
        before = api_cpu_seconds(bench)
        run = client.closed([ask], 1)
        after = api_cpu_seconds(bench)
        hold_form(bench, [ask], run.records, Form(more=partial(_not_as_said, content=content)))
        cpu = None if before is None or after is None else round(after - before, 3)
        record = run.records[0]
        records.append(record)
        sizes.append(
            {
                "bytes": len(content.encode()),
                "tokens": record.output_tokens,
                "cpu_s": cpu,
                "arg_gap_ms": None if record.arg_gap is None else round(record.arg_gap * 1000, 3),
                "seconds": round(run.seconds, 3),
            }
        )
    if not sizes:
        raise NotApplicable(f"not even {asked_for[0]} characters fit into {limit} tokens of context")
    shape = Shape(tokens_in=16, tokens_out=max(record.output_tokens or 0 for record in records), warm_up=warm_up)
    put_down(
        bench, shape, Run(records=tuple(records[warm_up:]), seconds=sum(each["seconds"] for each in sizes[warm_up:]))
    )
    growth = growth_of([(each["bytes"], each["cpu_s"]) for each in sizes[warm_up:]])
    bench.figures.update(
        sizes=sizes[warm_up:], left_out=left_out, cpu_growth=None if growth is None else round(growth, 3)
    )
    if not small and growth is not None and growth > FLAT_MOST:
        raise Wrong(
            f"CPU per kB of a longer argument at most {FLAT_MOST:g} times that of a shorter",
            f"{growth:.1f} times: {json.dumps(sizes[warm_up:])}",
        )


def growth_of(sizes: list[tuple[int, float | None]]) -> float | None:
    """CPU per byte from the second size to the third, over that from the first to the second.

    ``None``: not all three were measured, or the longest took too little CPU to tell.
    """
    known = [(size, cpu) for size, cpu in sizes if cpu is not None]
    if len(known) < 3 or known[2][1] < _LEAST_CPU:
        return None
    (one, first), (two, second), (three, third) = known[:3]
    slope = (third - second) / (three - two)
    # The clock ticks every 10 ms: less than a tick between the first two is taken for one.
    return slope / (max(second - first, 0.01) / (two - one))


def _call_body(bench: Bench, messages: list[dict[str, str]], content: str, salt: str, most: int) -> dict[str, Any]:
    said = (
        f"<tool_call>\n<function={_NAME}>\n<parameter=path>\n{_PATH}\n</parameter>\n"
        f"<parameter=content>\n{content}\n</parameter>\n</function>\n</tool_call>"
    )
    return {
        "model": bench.subject.model,
        "messages": messages,
        "tools": [TOOL],
        "tool_choice": "auto",
        "max_tokens": most,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "cache_salt": salt,
        **bench.say(said),
    }


def _not_as_said(record: Record, content: str) -> str:
    """What is wrong with the call; empty: it is what the model was made to say."""
    if record.name != _NAME:
        return f"a call of {record.name or 'nothing'}, text {record.text[:200]!r}"
    try:
        arguments = json.loads(record.arguments)
    except ValueError:
        return f"arguments that are no JSON: {record.arguments[-200:]!r}"
    if arguments != {"path": _PATH, "content": content}:
        got = arguments.get("content") if isinstance(arguments, dict) else None
        return f"other arguments: {len(str(got))} characters of {len(content)}: {record.arguments[:200]!r}"
    return ""
