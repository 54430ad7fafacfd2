"""LAT-02 and LAT-07: a chat of a thousand tokens, at fixed concurrency and at rising rates."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from qcmatrix.suites.bench import CHAT, Bench
from qcmatrix.suites.declare import ONCE, Need, Tier, check
from qcmatrix.suites.latency.client import Ask, Run
from qcmatrix.suites.latency.gate import budgets_for
from qcmatrix.suites.latency.measure import Form, client_for, hold_form, run_workload
from qcmatrix.suites.latency.prompts import Filled, chat_counter, filled, fixed_length
from qcmatrix.suites.latency.record import goodput, values_of
from qcmatrix.suites.latency.scale import Shape, fitting, scaled_why
from qcmatrix.suites.latency.spread import summary

LIMITS: Mapping[str, float] = {"ttft_ms": 500.0, "tpot_ms": 30.0}
"""What a request must meet to count as good where the card has no budgets of its own: MLPerf's interactive limits for
an 8B chat model."""
GOOD_SHARE = 0.95
FASTEST = 64.0
"""Requests a second; the sweep goes no further."""
_MLPERF = (
    "https://github.com/mlcommons/inference_policies/blob/848b9ab3478d02898549fe1baa2ec49421fa99ba/inference_rules.adoc"
)

FULL = Shape(tokens_in=1024, tokens_out=256, requests=200)
SCALED = Shape(tokens_in=128, tokens_out=8, requests=4, warm_up=2)


@check(
    "LAT-02",
    suite="latency",
    profiles=("latency-interactive",),
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=512,
    sources=(_MLPERF,),
    variants={
        "c1": {"title": "one at a time", "concurrency": 1},
        "c4": {"title": "four at a time", "concurrency": 4},
        "c16": {"title": "sixteen at a time", "concurrency": 16},
    },
)
def chat(bench: Bench, variant: dict[str, int]) -> None:
    """Chat, a thousand tokens in, 256 out.

    200 chats of one turn of random words, answered to the full length, streamed; one at a time only 60 of them (no 95th
    percentile then). Goodput is the share of the requests that meet the card's budgets for LAT-02, or 500 ms to the
    first token and 30 ms for each further one.

    Gated: every reply whole and of exactly the asked length; the card's budgets for LAT-02.
    """
    shape = msgspec.structs.replace(fitting(bench.subject, FULL, SCALED), concurrency=variant["concurrency"])
    if not scaled_why(bench.subject):
        shape = msgspec.structs.replace(shape, requests=60 if shape.concurrency == 1 else shape.requests)
    else:
        shape = msgspec.structs.replace(shape, requests=max(shape.requests, shape.concurrency))
    prompt = filled(chat_counter(bench), shape.tokens_in)
    limits = _limits(bench)

    def told(run: Run) -> None:
        share, rate = goodput(run.records, limits, run.seconds)
        bench.figures["goodput"] = {"limits": limits, "share": round(share, 4), "per_second": round(rate, 4)}

    run_workload(
        bench,
        f"LAT-02.c{shape.concurrency}",
        shape,
        lambda many: _chats(bench, prompt, shape, many),
        Form(tokens_in=prompt.tokens, tokens_out=shape.tokens_out),
        then=told,
    )


@check(
    "LAT-07",
    suite="latency",
    profiles=("latency-interactive",),
    core=False,
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=512,
    sources=(_MLPERF,),
)
def saturation(bench: Bench) -> None:
    """How many chats a second it can take: the rate at which 95 % are still good.

    LAT-02's chats arrive at random (Poisson), at rates that double until fewer than 95 % of them meet LAT-02's limits,
    then twice at the rate between the last good one and the first that was not. 30 seconds of each, 20 requests at
    least. Reported, with the goodput of each rate.

    Gated: the form of the replies at the lowest rate. A failure at a higher one is a request that is not good.
    """
    shape = fitting(bench.subject, FULL, SCALED)
    small = bool(scaled_why(bench.subject))
    prompt = filled(chat_counter(bench), shape.tokens_in)
    limits = _limits(bench)
    client = client_for(bench)
    form = Form(tokens_in=prompt.tokens, tokens_out=shape.tokens_out)
    warm = _chats(bench, prompt, shape, shape.warm_up)
    hold_form(bench, warm, client.closed(warm, 4).records, form)
    steps: list[dict[str, Any]] = []

    def good_at(rate: float) -> bool:
        many = shape.requests if small else max(20, round(rate * 30))
        asks = _chats(bench, prompt, shape, many)
        run = client.timed(asks, list(itertools.accumulate(bench.rng.expovariate(rate) for _ in asks)))
        if not steps:
            hold_form(bench, asks, run.records, form)
        share, per_second = goodput(run.records, limits, run.seconds)
        steps.append(
            {
                "rate": rate,
                "requests": many,
                "good": round(share, 4),
                "goodput_per_second": round(per_second, 4),
                "metrics": summary(values_of(run.records)),
            }
        )
        return share >= GOOD_SHARE

    rate, most = (2.0, 4.0) if small else (0.5, FASTEST)
    low, high = 0.0, 0.0
    while rate <= most:
        if good_at(rate):
            low = rate
        else:
            high = rate
            if not small:
                break
        rate *= 2
    for _ in range(2 if high and low and not small else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if good_at(middle) else (low, middle)
    bench.figures.update(
        scaled=scaled_why(bench.subject) or False,
        shape=shape.told,
        limits=dict(limits),
        steps=steps,
        sustained_per_second=low or None,
        saturated=bool(high),
    )


def _chats(bench: Bench, prompt: Filled, shape: Shape, many: int) -> list[Ask]:
    rng = random.Random(uuid.uuid4().int)  # noqa: S311 - words, not secrets
    fields = fixed_length(bench, shape.tokens_out, uuid.uuid4().hex)
    return [
        Ask(path=CHAT, body={**fields, "messages": [{"role": "user", "content": prompt.text(rng)}]})
        for _ in range(many)
    ]


def _limits(bench: Bench) -> dict[str, float]:
    """By metric the tightest budget for the card; without any, :data:`LIMITS`."""
    entry = bench.subject.entry
    own: dict[str, float] = {}
    for budget in budgets_for(entry.budgets if entry is not None else (), bench.subject.gpu, "LAT-02"):
        if budget.metric in LIMITS:
            own[budget.metric] = min(budget.most, own.get(budget.metric, budget.most))
    return own or dict(LIMITS)
