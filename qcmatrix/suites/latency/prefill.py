"""LAT-05: reading a long prompt that nobody has read before."""

from __future__ import annotations

import random
import statistics
import uuid

from qcmatrix.suites.bench import CHAT, Bench
from qcmatrix.suites.declare import ONCE, Need, Tier, check
from qcmatrix.suites.latency.client import Ask, Run
from qcmatrix.suites.latency.measure import Form, run_workload
from qcmatrix.suites.latency.prompts import chat_counter, filled, fixed_length
from qcmatrix.suites.latency.scale import Shape, fitting

_SIZES = {
    "32k": {"title": "32 thousand tokens", "tokens": 32_000, "scaled": 512},
    "128k": {"title": "128 thousand tokens", "tokens": 128_000, "scaled": 1024},
    "200k": {"title": "200 thousand tokens", "tokens": 200_000, "scaled": 2048},
}


@check(
    "LAT-05",
    suite="latency",
    profiles=("latency-interactive",),
    core=False,
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=1024,
    sources=("https://docs.vllm.ai/en/v0.33.0/configuration/optimization/",),
    variants=_SIZES,
)
def cold_prefill(bench: Bench, variant: dict[str, int]) -> None:
    """A long prompt, cold, one at a time.

    Five chats of random words, each new to the cache, answered with one token. Measured: TTFT, and the tokens of the
    prompt over it (``prefill_tokens_per_second``, median), tokenizing included.

    Gated: every reply whole, its prompt as long as asked and not out of the cache; the card's budgets for LAT-05.
    """
    shape = fitting(
        bench.subject,
        Shape(tokens_in=variant["tokens"], tokens_out=1, requests=5, warm_up=1),
        Shape(tokens_in=variant["scaled"], tokens_out=1, requests=2, warm_up=0),
    )
    prompt = filled(chat_counter(bench), shape.tokens_in)
    rng = random.Random(uuid.uuid4().int)  # noqa: S311 - words, not secrets

    def make(many: int) -> list[Ask]:
        fields = fixed_length(bench, 1, uuid.uuid4().hex)
        return [
            Ask(path=CHAT, body={**fields, "messages": [{"role": "user", "content": prompt.text(rng)}]})
            for _ in range(many)
        ]

    def told(run: Run) -> None:
        speeds = [(each.prompt_tokens or 0) / each.ttft for each in run.records if each.ttft]
        bench.figures["prefill_tokens_per_second"] = round(statistics.median(speeds), 1) if speeds else None

    # The chat template's first words are the same in all of them: a block or two of the cache.
    run_workload(
        bench,
        f"LAT-05.{_name_of(variant)}",
        shape,
        make,
        Form(tokens_in=prompt.tokens, tokens_out=1, cold=True),
        timeout=1800.0,
        then=told,
    )


def _name_of(variant: dict[str, int]) -> str:
    return next(name for name, each in _SIZES.items() if each is variant)
