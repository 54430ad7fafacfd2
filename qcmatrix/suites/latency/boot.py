"""LAT-08: from starting the program to the first token."""

from __future__ import annotations

from qcmatrix.suites.bench import CHAT, Bench
from qcmatrix.suites.declare import ONCE, Need, NotApplicable, Tier, check
from qcmatrix.suites.latency.client import Ask
from qcmatrix.suites.latency.measure import Form, client_for, hold_form
from qcmatrix.suites.latency.prompts import fixed_length


@check(
    "LAT-08",
    suite="latency",
    profiles=("latency-interactive",),
    core=False,
    tier=Tier.PERFORMANCE,
    modes=ONCE,
    needs=(Need.ALONE, Need.OWN_SERVER),
    tokens=256,
    sources=("https://docs.vllm.ai/en/v0.33.0/serving/openai_compatible_server/",),
)
def boot(bench: Bench) -> None:
    """How long from starting the program to ready, and from there to a first token.

    The seconds to ready are what starting the server took in this run; the first token is that of a short chat asked
    now, when other checks may have warmed the server up. Reported; their sum is what a restart costs at least.

    Gated: the short chat is answered.
    """
    seconds = getattr(bench.subject.server, "boot_seconds", None)
    if not isinstance(seconds, (int, float)):
        raise NotApplicable("the server was not started by us")
    fields = fixed_length(bench, 1, bench.rng.randbytes(8).hex())
    ask = Ask(path=CHAT, body={**fields, "messages": [{"role": "user", "content": "Hello"}]})
    run = client_for(bench).closed([ask], 1)
    hold_form(bench, [ask], run.records, Form(tokens_out=1))
    first = run.records[0].ttft or 0.0
    bench.figures.update(
        boot_seconds=round(float(seconds), 3),
        first_token_seconds=round(first, 4),
        sum_seconds=round(float(seconds) + first, 3),
    )
