"""LAT-01 and LAT-06: completing code as it is typed, alone and beside a long prefill."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from collections.abc import Iterator

import msgspec

from qcmatrix.suites.bench import CHAT, COMPLETIONS, Bench
from qcmatrix.suites.declare import ONCE, Need, Tier, Wrong, check
from qcmatrix.suites.latency.client import Ask, Run
from qcmatrix.suites.latency.measure import Form, client_for, hold_form, put_down, run_workload
from qcmatrix.suites.latency.prompts import FIM_STOPS, chat_counter, filled, fim_prompt, fixed_length
from qcmatrix.suites.latency.record import values_of
from qcmatrix.suites.latency.scale import Shape, fitting, scaled_why
from qcmatrix.suites.latency.spread import Quantile, ratio_of

_CHARACTERS_PER_TOKEN = 4  # of code, about; the usage of each reply says how many it was
CANCELLED = 0.3
"""Of all requests: an editor hangs up when the next key is pressed."""
RATIO_MOST = 3.0

FULL = Shape(tokens_in=1536, tokens_out=64, requests=200)
SCALED = Shape(tokens_in=64, tokens_out=8, requests=5, warm_up=2)
PREFILL = Shape(tokens_in=131_000, tokens_out=1, requests=200, concurrency=8)
SCALED_PREFILL = Shape(tokens_in=1024, tokens_out=1, requests=5, concurrency=2)


@check(
    "LAT-01",
    suite="latency",
    profiles=("latency-interactive",),
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=512,
    sources=(
        "https://github.com/continuedev/continue/blob/a59436d281607054128bff82f4acf8ec8364fc50/core/util/parameters.ts",
        "https://github.com/QwenLM/Qwen3-Coder#readme",
    ),
    variants={
        "c1": {"title": "one editor", "concurrency": 1},
        "c8": {"title": "eight editors", "concurrency": 8},
    },
)
def autocomplete(bench: Bench, variant: dict[str, int]) -> None:
    """Autocomplete replay.

    200 raw fill-in-the-middle prompts cut from our own source, 1 to 2 thousand tokens, answered with up to 64, each new
    to the prefix cache; 30 % of all requests besides are cancelled after one to four events, as an editor does.
    Measured of those that are not cancelled: TTFT, E2EL (the whole answer), TPOT, ITL.

    Gated: every reply whole; the card's budgets for LAT-01. What the model fills in is the fim suite's business.
    """
    shape = msgspec.structs.replace(fitting(bench.subject, FULL, SCALED), concurrency=variant["concurrency"])
    shape = msgspec.structs.replace(shape, requests=max(shape.requests, shape.concurrency))
    run_workload(bench, f"LAT-01.c{shape.concurrency}", shape, lambda many: editor(bench, shape, many), Form())


@check(
    "LAT-06",
    suite="latency",
    profiles=("latency-interactive",),
    core=False,
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=2048,
    sources=("https://docs.vllm.ai/en/v0.33.0/configuration/optimization/",),
)
def interference(bench: Bench) -> None:
    """Autocomplete beside a long prefill: at most three times as slow.

    LAT-01's requests, eight at a time, first alone, then while prompts of 128 thousand tokens are read one after the
    other. The ratio of the two 95th percentiles of E2EL, with its bootstrap interval.

    Gated: the interval lies wholly above 3, in two runs. Scaled down nothing but the form is.
    """
    shape = msgspec.structs.replace(fitting(bench.subject, FULL, SCALED), concurrency=8)
    long = fitting(bench.subject, PREFILL, SCALED_PREFILL)
    shape = msgspec.structs.replace(shape, concurrency=long.concurrency, requests=long.requests)
    client = client_for(bench, timeout=1800.0)
    prompt = filled(chat_counter(bench), long.tokens_in - 40).text(random.Random(bench.seed))  # noqa: S311

    def asked(*, loaded: bool) -> Run:
        asks = editor(bench, shape, shape.requests, cancelled=0.0)
        run = client.closed(asks, shape.concurrency, beside=_prefills(bench, prompt) if loaded else ())
        hold_form(bench, asks, run.records, Form())
        bad = [each for each in run.beside if not each.left and (each.status != 200 or each.error or each.faults)]
        if bad:
            raise Wrong("the long prompt is read", f"HTTP {bad[0].status}: {bad[0].error or bad[0].faults}"[:400])
        return run

    warm = editor(bench, shape, shape.warm_up, cancelled=0.0)
    hold_form(bench, warm, client.closed(warm, shape.concurrency).records, Form())
    alone = asked(loaded=False)
    loaded = asked(loaded=True)
    put_down(bench, shape, loaded)
    first = _ratio(loaded, alone, "p95")
    median = _ratio(loaded, alone, "p50")
    bench.figures.update(
        alone_samples=_samples(alone),
        prefills=len(loaded.beside),
        prefill_tokens=long.tokens_in,
        ratio_p95=_told(first),
        ratio_p50=_told(median),
    )
    if scaled_why(bench.subject) or first is None or first.low <= RATIO_MOST:
        return
    _settled(bench)  # the last long prompt was given up: what it leaves would slow the other side of the ratio
    again = asked(loaded=False)
    second = _ratio(asked(loaded=True), again, "p95")
    bench.figures["rerun"] = {"ratio_p95": _told(second)}
    if second is not None and second.low > RATIO_MOST:
        raise Wrong(
            f"E2EL p95 at most {RATIO_MOST:g} times that without a prefill beside it",
            f"{second.value:.1f} times (95 %: {second.low:.1f} to {second.high:.1f}), and {first.value:.1f} before",
        )


def editor(bench: Bench, shape: Shape, many: int, *, cancelled: float = CANCELLED) -> list[Ask]:
    """``many`` requests as an editor makes them, and so many besides that ``cancelled`` of all are given up."""
    rng = random.Random(uuid.uuid4().int)  # noqa: S311 - places in a file, not secrets
    besides = round(many * cancelled / (1 - cancelled))
    salt = uuid.uuid4().hex
    leave = [None] * many + [rng.randint(1, 4) for _ in range(besides)]
    rng.shuffle(leave)
    return [
        Ask(
            path=COMPLETIONS,
            body={
                "model": bench.subject.model,
                "prompt": fim_prompt(rng, _characters(bench, shape)),
                "max_tokens": shape.tokens_out,
                "temperature": 0.01,
                "repetition_penalty": 1.0,
                "stop_token_ids": list(FIM_STOPS),
                "stream": True,
                "stream_options": {"include_usage": True},
                "cache_salt": salt,
            },
            leave_after=after,
        )
        for after in leave
    ]


def _characters(bench: Bench, shape: Shape) -> int:
    return shape.tokens_in * (1 if scaled_why(bench.subject) else _CHARACTERS_PER_TOKEN)


def _prefills(bench: Bench, prompt: str) -> Iterator[Ask]:
    for _ in itertools.count():
        fields = fixed_length(bench, 1, uuid.uuid4().hex)
        # A new first word: where the server knows no salt, the cache still has none of it.
        messages = [{"role": "user", "content": f"{uuid.uuid4().hex} {prompt}"}]
        yield Ask(path=CHAT, body={**fields, "messages": messages})


def _settled(bench: Bench, most: float = 30.0) -> None:
    """Wait until nothing runs on the server, ``most`` seconds; a second where it does not tell."""
    kept = len(bench.exchanges)
    until = time.monotonic() + most
    while (running := bench.metric("vllm:num_requests_running")) and time.monotonic() < until:
        time.sleep(0.2)
    del bench.exchanges[kept:]
    if running is None:
        time.sleep(1.0)


def _ratio(loaded: Run, alone: Run, name: str) -> Quantile | None:
    values = [values_of(run.records).get("e2el_ms", []) for run in (loaded, alone)]
    return ratio_of(values[0], values[1], name)


def _samples(run: Run) -> dict[str, list[float]]:
    return {"e2el_ms": [round(value, 3) for value in values_of(run.records).get("e2el_ms", [])]}


def _told(ratio: Quantile | None) -> dict[str, float] | None:
    if ratio is None:
        return None
    return {"value": round(ratio.value, 3), "low": round(ratio.low, 3), "high": round(ratio.high, 3)}
