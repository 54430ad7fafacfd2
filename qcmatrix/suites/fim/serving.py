"""Contract: what an autocompletion costs the server: requests that are given up, prefixes that come again."""

from __future__ import annotations

import re
import time

from qcmatrix.exchange.sse import Event
from qcmatrix.exchange.wire import WireError
from qcmatrix.suites.bench import COMPLETIONS, Bench
from qcmatrix.suites.declare import Mode, Need, NotApplicable, check
from qcmatrix.suites.fim.asking import send
from qcmatrix.suites.fim.payloads import psm, raw

_METRICS = "https://docs.vllm.ai/en/v0.33.0/usage/metrics/"
_CACHED = "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/entrypoints/openai/completion/serving.py"
_RUNNING = "vllm:num_requests_running"
_QUERIES = "vllm:prefix_cache_queries_total"
_ENGINE = re.compile(_RUNNING + r'\{[^}]*engine="(\d+)"')
_IDLE_SECONDS = 10.0
_FREE_SECONDS = 3.0
"""Three times what the catalogue asks for, as the gauge itself comes late."""
_LONG = 1500
"""Tokens: some seconds of work on any card."""
_SILENCE = 0.7
"""Seconds until a client gives up that waits for a whole reply."""


@check("FIM-17", suite="fim", profiles=("fim-raw",), needs=(Need.ALONE,), tokens=2048, sources=(_METRICS,))
def cancellation(bench: Bench) -> None:
    """A completion that its client has given up is not worked on any longer.

    Asked: a long completion; the connection is closed after the first piece of a stream, or before a whole reply is
    there. Must hold: ``vllm:num_requests_running`` is back at 0 in a second or so (three at the most; the figure
    ``freed_s`` says when). Editors give up most of what they ask, a letter later.
    """
    if bench.metric(_RUNNING) is None:
        raise NotApplicable(f"/metrics does not tell {_RUNNING}")
    if not _falls_idle(bench, _IDLE_SECONDS):
        raise NotApplicable("other requests are running")
    body = {"model": bench.subject.model, "prompt": "def add(", "max_tokens": _LONG, "ignore_eos": True}
    if bench.streams:
        stream = bench.wire.stream(COMPLETIONS, {**body, "stream": True}, leave=_has_text)
        bench.expect(stream.left, "a piece of text", f"HTTP {stream.status}: {stream.text or 'none'}")
    else:
        try:
            reply = bench.wire.post(COMPLETIONS, body, timeout=_SILENCE)
        except WireError:
            pass
        else:
            bench.expect(reply.status == 200, "HTTP 200", f"HTTP {reply.status}: {reply.text}")
            raise NotApplicable(f"{_LONG} tokens came in less than {_SILENCE} s")
    started = time.perf_counter()
    freed = _falls_idle(bench, _FREE_SECONDS)
    bench.figures["freed_s"] = round(time.perf_counter() - started, 3)
    bench.expect(
        freed, f"no request running {_FREE_SECONDS:.0f} s after hanging up", f"{bench.metric(_RUNNING)} running"
    )


@check("FIM-20", suite="fim", profiles=("fim-raw",), core=False, modes=(Mode.ONCE,), tokens=4096, sources=(_CACHED,))
def prefix_is_reused(bench: Bench) -> None:
    """What stands before the cursor is read once.

    Asked: three completions of one file while the cursor moves on. Must hold: the second and third take tokens from the
    prefix cache, and not fewer than the one before. The suffix comes behind the prefix and is read anew each time.

    Said only where the server tells it (``--enable-prompt-tokens-details``) and has one prefix cache: of several
    engines (data parallelism) each has its own, and a request goes to any.
    """
    engines = set(_ENGINE.findall(bench.wire.get("/metrics").text))
    if len(engines) > 1:
        raise NotApplicable(f"{len(engines)} engines, each with a prefix cache of its own")
    nonce = f"{bench.rng.getrandbits(64):016x}"
    lines = [f"def f{number}(value):\n    return value + {number}\n" for number in range(70)]
    before = f"# {nonce}\n{''.join(lines)}"
    cached = []
    for line in ("", "total = f1(", "total = f1(2)\nprint("):
        reply = send(bench, raw(psm(before + line, "\n\nmain()\n"), max_tokens=1))
        bench.expect_ok(reply)
        details = (reply.usage or {}).get("prompt_tokens_details")
        if not isinstance(details, dict) or not isinstance(details.get("cached_tokens"), int):
            raise NotApplicable("usage does not tell cached_tokens: --enable-prompt-tokens-details")
        cached.append(details["cached_tokens"])
    if bench.metric(_QUERIES) == 0:
        raise NotApplicable("the prefix cache is switched off")
    bench.figures["cached_tokens"] = cached
    bench.expect(0 < cached[1] <= cached[2], "cached tokens that do not fall", cached)


def _falls_idle(bench: Bench, seconds: float) -> bool:
    limit = time.perf_counter() + seconds
    while bench.metric(_RUNNING):
        if time.perf_counter() > limit:
            return False
        time.sleep(0.05)
    return True


def _has_text(event: Event) -> bool:
    chunk = event.json
    choices = (chunk.get("choices") if isinstance(chunk, dict) else None) or [{}]
    return bool(choices[0].get("text"))
