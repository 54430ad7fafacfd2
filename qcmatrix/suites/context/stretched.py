"""LC-06: what a YaRN launch adds, and what it costs short texts."""

from __future__ import annotations

import json
import random

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.boot.asked import entry_of
from qcmatrix.suites.context.fitting import length_of
from qcmatrix.suites.context.needles import recall, single
from qcmatrix.suites.declare import ONCE, Need, NotApplicable, Rate, Tier, Wrong, check
from qcmatrix.suites.runner import wilson

__all__ = ["questions"]

_YARN = "https://docs.vllm.ai/en/v0.33.0/features/context_extension/"
_CARD = "https://huggingface.co/Qwen/Qwen3-Coder-480B-A35B-Instruct"
_PAPER = "https://arxiv.org/abs/2309.00071"
_BEYOND = (1.15, 2.0, 3.0)
"""Lengths in parts of the native one; 302k tokens and more of 262,144."""
_ROOM = 256
_RECALL = 0.95
_SHORT = 40
_SHORT_ID = "LC-06.short"


@check(
    "LC-06.needle",
    suite="context",
    profiles=("long-1m",),
    tier=Tier.LONG,
    modes=ONCE,
    needs=(Need.TRAINED, Need.YARN),
    tokens=1_024,
    sources=(_YARN, _PAPER),
)
def beyond(bench: Bench) -> Rate:
    """A random number is found in a text that is longer than the native context.

    As LC-03, at 1.15, 2 and 3 times the original length that YaRN was asked for and at the whole served length. A
    server whose scaling is not in effect starts, answers short prompts well, and finds nothing here.
    """
    asked = entry_of(bench).rope
    native = asked.original_max_position_embeddings if asked is not None else None
    if native is None:
        raise NotApplicable("the command does not say which length is the original one")
    limit = length_of(bench) - _ROOM
    lengths = [length for part in _BEYOND if (length := int(part * native)) < 0.97 * limit]
    if limit <= native:
        raise NotApplicable(f"the served {limit + _ROOM} tokens do not go beyond the native {native}")
    return recall(bench, [*lengths, limit], single, threshold=_RECALL, trials=1)


@check(
    _SHORT_ID,
    suite="context",
    profiles=("long-256k", "long-1m"),
    tier=Tier.BEHAVIOUR,
    core=False,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=1_024,
    sources=(_CARD, _YARN),
)
def short(bench: Bench) -> Rate:
    """Short prompts are answered as well as by the twin without YaRN.

    Forty short questions with one right answer each, the same in every run. vLLM's YaRN is static: it scales short
    texts too, and Qwen's cards warn of it. Where the results of the entry's twin are there, the rate must not be lower
    than the twin's: the 95 % intervals must touch. Elsewhere it is recorded, for the twin to be compared with.
    """
    asked = questions()

    def trial(number: int) -> str:
        question, wanted = asked[number % _SHORT]
        answer = bench.chat(f"{question} Answer with the result only.", stream=False, max_tokens=48)
        bench.expect(answer.status == 200, "HTTP 200", f"HTTP {answer.status}: {answer.error[:300]}")
        return "" if _bare(wanted) in _bare(answer.content) else f"{question} -> {answer.content[:80]!r}, not {wanted}"

    rate = bench.rate(trial, _SHORT, 0.0, most=8)
    bench.figures["short_score"] = rate.passes / rate.trials
    twin = bench.subject.twin.get(_SHORT_ID)
    if twin is not None and twin.passes is not None and twin.trials:
        bench.figures["twin_short_score"] = twin.passes / twin.trials
        least = wilson(twin.passes, twin.trials)[0]
        if wilson(rate.passes, rate.trials)[1] < least:
            seen = f"{rate.passes} of {rate.trials}; such as: {rate.misses[0] if rate.misses else ''}"
            raise Wrong(f"about the twin's {twin.passes} of {twin.trials}", seen)
    return rate


def _bare(text: str) -> str:
    """Without spaces, and without the commas that group digits."""
    return "".join(text.split()).replace(",", "")


def questions() -> list[tuple[str, str]]:
    """The same forty everywhere: sums, sorting, what a line of Python prints, a value out of JSON."""
    rng = random.Random(6)  # noqa: S311 - cases, not secrets
    made: list[tuple[str, str]] = []
    for _ in range(_SHORT // 4):
        first, second = rng.randrange(100, 1000), rng.randrange(100, 1000)
        made.append((f"What is {first} + {second}?", str(first + second)))
        numbers = rng.sample(range(10, 100), 5)
        made.append((f"Sort ascending, separated by semicolons: {numbers}.", ";".join(str(n) for n in sorted(numbers))))
        stop, step = rng.randrange(6, 15), rng.randrange(2, 4)
        code = f"print(sum(range(0, {stop}, {step})))"
        made.append((f"What does this Python print? `{code}`", str(sum(range(0, stop, step)))))
        port = rng.randrange(1_025, 65_535)
        text = json.dumps({"host": "db1", "port": port, "ssl": {"on": True, "port": port + 1}})
        made.append((f"What is the value of ssl.port in {text}?", str(port + 1)))
    return made
