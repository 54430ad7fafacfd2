"""LAT-00: the shape that the vLLM recipe for the 480B model was measured with."""

from __future__ import annotations

import random
import statistics
import uuid

from qcmatrix.suites.bench import COMPLETIONS, Bench
from qcmatrix.suites.declare import ONCE, Need, NotApplicable, Tier, Wrong, check
from qcmatrix.suites.latency.bench_serve import bench_serve, find_vllm
from qcmatrix.suites.latency.client import Ask, Run
from qcmatrix.suites.latency.measure import Form, run_workload
from qcmatrix.suites.latency.prompts import filled, fixed_length, text_counter
from qcmatrix.suites.latency.record import values_of
from qcmatrix.suites.latency.scale import Shape, fitting, scaled_why

_RECIPE = "https://docs.vllm.ai/projects/recipes/en/latest/Qwen/Qwen3-Coder-480B-A35B.html"
FULL = Shape(tokens_in=2048, tokens_out=1024, concurrency=10, requests=100)
SCALED = Shape(tokens_in=128, tokens_out=12, concurrency=4, requests=6, warm_up=2)


@check(
    "LAT-00",
    suite="latency",
    profiles=("latency-interactive",),
    core=False,
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=512,
    sources=(_RECIPE,),
)
def seed_shape(bench: Bench) -> None:
    """The recipe's own benchmark: 2048 in, 1024 out, 10 at a time, 100 prompts.

    Raw completions of random words, streamed, answered to the full length. Where the entry carries the figures that
    its source measured (TTFT and TPOT, median; output tokens a second), both stand side by side in the result, with
    their ratio; that gates nothing, for the source does not say which card it was.

    Gated: every reply whole and of exactly the asked length; the card's budgets for LAT-00.
    """
    shape = fitting(bench.subject, FULL, SCALED)
    prompt = filled(text_counter(bench), shape.tokens_in)
    rng = random.Random(uuid.uuid4().int)  # noqa: S311 - words, not secrets

    def make(many: int) -> list[Ask]:
        salt = uuid.uuid4().hex
        fields = fixed_length(bench, shape.tokens_out, salt)
        return [Ask(path=COMPLETIONS, body={**fields, "prompt": prompt.text(rng)}) for _ in range(many)]

    run_workload(
        bench,
        "LAT-00",
        shape,
        make,
        Form(tokens_in=prompt.tokens, tokens_out=shape.tokens_out),
        then=lambda run: against_entry(bench, run),
    )


@check(
    "LAT-00.bench",
    suite="latency",
    profiles=("latency-interactive",),
    core=False,
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=512,
    sources=("https://docs.vllm.ai/en/v0.33.0/benchmarking/cli/", _RECIPE),
)
def bench_serve_agrees(bench: Bench) -> None:
    """vllm bench serve with the same shape: a cross-check, run only where QCMATRIX_VLLM_BENCH asks for it.

    ``1`` takes the vLLM that serves, where it is ours; any other value is the path of a ``vllm`` program. Its JSON goes
    into the figures beside LAT-00's. Its definitions changed between releases, so its figures are not gated.

    Gated: it ends, no request fails, and it got as many tokens as it asked for.
    """
    vllm = find_vllm(bench.subject)
    if vllm is None:
        raise NotApplicable("QCMATRIX_VLLM_BENCH is not set to 1 (with a server of ours) or to the path of a vllm")
    shape = fitting(bench.subject, FULL, SCALED)
    told = bench_serve(vllm, bench, shape)
    bench.figures.update(scaled=scaled_why(bench.subject) or False, shape=shape.told, vllm_bench=told)
    bench.expect(told.get("failed") in (0, None), "no request that failed", f"{told.get('failed')} failed")
    bench.expect(
        told.get("completed") == shape.requests, f"{shape.requests} requests completed", f"{told.get('completed')}"
    )
    tokens = shape.requests * shape.tokens_out
    if told.get("total_output_tokens") != tokens:
        raise Wrong(f"{tokens} output tokens (ignore_eos)", f"{told.get('total_output_tokens')}")


def against_entry(bench: Bench, run: Run) -> None:
    """Put the figures of ``run`` beside those that the entry's source measured, where it did."""
    measured = getattr(bench.subject.entry, "measured", None)
    if measured is None or scaled_why(bench.subject):
        return
    values = values_of(run.records)
    tokens = sum(record.output_tokens or 0 for record in run.records)
    ours = {
        "ttft_median_ms": statistics.median(values.get("ttft_ms") or [0.0]),
        "tpot_median_ms": statistics.median(values.get("tpot_ms") or [0.0]),
        "output_tokens_per_second": tokens / run.seconds if run.seconds else 0.0,
    }
    bench.figures["against_entry"] = {
        name: {"source": theirs, "here": round(here, 3), "ratio": round(here / theirs, 4)}
        for name, here in ours.items()
        if (theirs := getattr(measured, name))
    }
