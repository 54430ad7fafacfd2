"""One workload: warm up, measure, look at the form, put the figures down, hold the budgets against them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from qcmatrix.exchange.wire import Exchange, WireError
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Wrong
from qcmatrix.suites.latency.client import Ask, Client, Run
from qcmatrix.suites.latency.gate import broken_twice, budgets_for
from qcmatrix.suites.latency.record import Record, values_of
from qcmatrix.suites.latency.scale import Shape, scaled_why
from qcmatrix.suites.latency.spread import summary, thinned

__all__ = ["Form", "client_for", "hold_form", "put_down", "run_workload"]


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What every reply of a workload must be."""

    tokens_in: int | None = None
    """Of the prompt, as ``/tokenize`` counts it; ``None``: any number."""
    tokens_out: int | None = None
    """Exactly so many; ``None``: not more than asked for."""
    cold: bool = False
    """Nothing of the prompt may come from the cache."""
    more: Callable[[Record], str] = lambda _: ""
    """What else is wrong with it; empty: nothing."""


def client_for(bench: Bench, timeout: float = 600.0) -> Client:
    """The measuring client for the server of ``bench``."""
    return Client(bench.subject.root, headers=bench.wire.authorization, timeout=timeout)


def run_workload(
    bench: Bench,
    check: str,
    shape: Shape,
    make: Callable[[int], Sequence[Ask]],
    form: Form,
    *,
    timeout: float = 600.0,
    then: Callable[[Run], None] = lambda _: None,
) -> Run:
    """Warm up and measure ``make(number of requests)``; the figures go into ``bench``, ``then`` may add to them.

    A budget of the card that is broken is measured once more. Scaled down, only the form is judged.

    Raises:
        Wrong: a reply is not of the form, or a budget is broken twice.
        WireError: no reply at all.
    """
    client = client_for(bench, timeout)
    if shape.warm_up:
        warm = make(shape.warm_up)
        hold_form(bench, warm, client.closed(warm, shape.concurrency).records, form)

    def measured() -> Run:
        asks = make(shape.requests)
        run = client.closed(asks, shape.concurrency)
        hold_form(bench, asks, run.records, form)
        return run

    run = measured()
    put_down(bench, shape, run)
    then(run)
    entry = bench.subject.entry
    budgets = () if scaled_why(bench.subject) or entry is None else entry.budgets
    again: list[Run] = []

    def once_more() -> dict[str, list[float]]:
        again.append(measured())
        return values_of(again[0].records)

    verdicts, broken = broken_twice(values_of(run.records), budgets_for(budgets, bench.subject.gpu, check), once_more)
    if verdicts:
        bench.figures["budgets"] = [verdict.told for verdict in verdicts]
    if again:
        bench.figures["rerun"] = {"metrics": summary(values_of(again[0].records))}
    if broken:
        raise Wrong(
            "; ".join(f"{each.budget.metric} {each.budget.quantile} <= {each.budget.most:g} ms" for each in broken),
            f"in two runs wholly above it; the second: {'; '.join(map(str, broken))}",
        )
    return run


def put_down(bench: Bench, shape: Shape, run: Run) -> None:
    """The figures of ``run``: what it was, how it is spread, and the values that a later run is compared with."""
    values = values_of(run.records)
    whole = [record for record in run.records if not record.left]
    tokens = sum(record.output_tokens or 0 for record in whole)
    bench.figures.update(
        scaled=scaled_why(bench.subject) or False,
        shape=shape.told,
        requests=len(whole),
        cancelled=len(run.records) - len(whole),
        seconds=round(run.seconds, 3),
        output_tokens=tokens,
        output_tokens_per_second=round(tokens / run.seconds, 2) if run.seconds else None,
        metrics=summary(values),
        samples={metric: thinned(each) for metric, each in values.items()},
    )
    cached = [record.cached_tokens for record in whole if record.cached_tokens is not None]
    if cached:
        bench.figures["cached_tokens_median"] = sorted(cached)[len(cached) // 2]


def hold_form(bench: Bench, asks: Sequence[Ask], records: Sequence[Record], form: Form) -> None:
    """Every reply must be whole and of the right length.

    Raises:
        Wrong: one is not; the first of them is kept as the exchange.
        WireError: none came at all.
    """
    wrong = [
        (ask, record, why) for ask, record in zip(asks, records, strict=True) if (why := _wrong(ask, record, form))
    ]
    if not wrong:
        return
    ask, record, (expected, observed) = wrong[0]
    bench.exchanges.append(_exchange(ask, record))
    if all(each.status is None for each in records):
        raise WireError(observed)
    raise Wrong(expected, f"{len(wrong)} of {len(records)} requests otherwise; the first: {observed}")


def _wrong(ask: Ask, record: Record, form: Form) -> tuple[str, str] | None:
    if record.left and not record.error and not record.faults:
        return None
    if record.status != 200 or record.error:
        return "HTTP 200 and a whole reply", f"HTTP {record.status}: {record.error[:300]}"
    if record.faults:
        return "a well-formed stream", "; ".join(record.faults)
    if not record.outputs:
        return "at least one output", f"none; finish reason {record.finish}"
    if record.output_tokens is None or record.prompt_tokens is None:
        return "usage with the tokens of prompt and answer", f"{record.prompt_tokens} and {record.output_tokens}"
    asked = ask.body.get("max_tokens")
    if form.tokens_out is not None and record.output_tokens != form.tokens_out:
        return f"{form.tokens_out} output tokens (ignore_eos)", f"{record.output_tokens}"
    if isinstance(asked, int) and record.output_tokens > asked:
        return f"at most {asked} output tokens", f"{record.output_tokens}"
    if not record.name and len(record.outputs) > record.output_tokens:  # a call's end may come in a chunk of its own
        return "a token in each output", f"{len(record.outputs)} outputs of {record.output_tokens} tokens"
    if form.tokens_in is not None and abs(record.prompt_tokens - form.tokens_in) > 2 + form.tokens_in // 100:
        return f"{form.tokens_in} prompt tokens, as /tokenize counts them", f"{record.prompt_tokens}"
    if form.cold and record.cached_tokens:
        return "nothing of a new prompt in the prefix cache", f"{record.cached_tokens} tokens cached"
    more = form.more(record)
    return ("the forced answer", more) if more else None


def _exchange(ask: Ask, record: Record) -> Exchange:
    said: dict[str, Any] = {"text": record.text, "name": record.name, "arguments": record.arguments}
    return Exchange(
        method="POST",
        path=ask.path,
        request=dict(ask.body),
        status=record.status,
        response=record.error or json.dumps({key: value[:4000] for key, value in said.items() if value}),
        times=tuple(round(at, 6) for at in record.outputs),
        seconds=round(record.e2el or 0.0, 6),
        error="; ".join(record.faults),
    )
