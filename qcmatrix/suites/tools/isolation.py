"""Many requests at once, and one that is given up (TC-48)."""

from __future__ import annotations

import time

from qcmatrix.exchange.sse import Event
from qcmatrix.suites.bench import CHAT, Bench
from qcmatrix.suites.declare import Mode, Need, NotApplicable, check
from qcmatrix.suites.tools.offered import CORE, expect_calls, offer, written

__all__ = ["hang_up", "no_cross_talk"]

_STREAMS = 16
_RUNNING = "vllm:num_requests_running"
_PATIENCE = 10.0
"""Seconds. The server looks whether the client is still there once per step of the engine."""


@check(
    "TC-48",
    suite="tools",
    profiles=CORE,
    modes=(Mode.STREAM,),
    needs=(Need.TOOLS, Need.FORCING),
    sources=("https://github.com/vllm-project/vllm/blob/v0.33.0/tests/tool_use/test_parallel_tool_calls.py",),
)
def no_cross_talk(bench: Bench) -> None:
    """Sixteen requests at once, each with its own word.

    Each reply holds its own word and no other, and no two calls share an id. Parsers keep state per request; one that
    is shared mixes calls up under load only.
    """
    words = [f"{bench.rng.getrandbits(32):08x}" for _ in range(_STREAMS)]
    tools = offer("read_file")

    def ask(word: str) -> str:
        text = written("read_file", {"path": word})
        answer = bench.chat(f"Read {word}.", tools=tools, tool_choice="auto", **bench.say(text))
        expect_calls(bench, answer, [("read_file", {"path": word})])
        return answer.calls[0].id

    ids = bench.at_once(ask, words)
    bench.expect(len(set(ids)) == _STREAMS, f"{_STREAMS} ids that all differ", ids)


@check(
    "TC-48.hang-up",
    suite="tools",
    profiles=CORE,
    modes=(Mode.STREAM,),
    needs=(Need.TOOLS, Need.FORCING, Need.ALONE),
    sources=("https://docs.vllm.ai/en/v0.33.0/design/metrics/",),
)
def hang_up(bench: Bench) -> None:
    """A client that hangs up in the middle of a call frees its place.

    Within ten seconds `vllm:num_requests_running` is what it was before, and the server answers the next request. An
    editor gives up at every key that is pressed: requests that go on without a reader fill the server.
    """
    before = bench.metric(_RUNNING)
    if before is None:
        raise NotApplicable(f"no {_RUNNING} in /metrics")
    long = written("write", {"path": "a.py", "content": "0123456789" * 120})
    seen = 0

    def leave(event: Event) -> bool:
        nonlocal seen
        seen += '"arguments"' in event.data
        return seen >= 2 or '"finish_reason":"tool_calls"' in event.data

    body = {
        "model": bench.subject.model,
        "messages": [{"role": "user", "content": "Go on."}],
        "temperature": 0,
        "stream": True,
        "tools": offer("write"),
        "tool_choice": "auto",
        **bench.say(long),
    }
    stream = bench.wire.stream(CHAT, body, leave=leave)
    bench.expect(stream.status == 200 and stream.left, "a stream that can be left", f"HTTP {stream.status}")
    started = time.perf_counter()
    running: float | None = None
    while time.perf_counter() - started < _PATIENCE:
        running = bench.metric(_RUNNING)
        if running is not None and running <= before:
            break
        time.sleep(0.1)
    bench.figures["freed_after_s"] = round(time.perf_counter() - started, 2)
    still = running is None or running > before
    bench.expect(not still, f"{before:.0f} requests running after {_PATIENCE:.0f} s", f"{running} requests running")
    answer = bench.chat("Go on.", tools=offer("ping"), tool_choice="auto", **bench.say(written("ping", {})))
    expect_calls(bench, answer, [("ping", {})])
