"""LC-10: a long answer over a long text does not fall apart."""

from __future__ import annotations

import random
from collections import Counter

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.context.fitting import fresh, length_of, patience, pieces_for, salt
from qcmatrix.suites.context.texts import code_file
from qcmatrix.suites.declare import ONCE, Need, Rate, Tier, check

__all__ = ["broken"]

_QWEN = "https://github.com/QwenLM/Qwen3.8/issues/115"
_SPARK = "https://github.com/eugr/spark-vllm-docker/issues/115"
_LONGEST = 128_000
_OUTPUT = 1_000
_ROOM = 256
_TRIALS = 3
_RATE = 0.95
_GRAM = 20
_REPEATS = 2
_LEAST_WORDS = 40
_LEAST_ASCII = 0.9


@check(
    "LC-10",
    suite="context",
    profiles=("long-256k", "long-1m"),
    tier=Tier.LONG,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=8_192,
    sources=(_QWEN, _SPARK),
)
def degeneration(bench: Bench) -> Rate:
    """A thousand tokens over 128k of code do not end in a loop or in another script.

    A dump of random Python files of 128k tokens, or as many as the context holds, and the task to explain in English
    prose how one would test such a code base. No run of 20 words comes more than twice, at least nine characters of ten
    are ASCII, and there is an answer of 40 words at all. Such loops were seen with FP8 KV caches and lost rotary bases.
    """
    rng = fresh(bench)
    length = min(_LONGEST, length_of(bench) - _OUTPUT - _ROOM)
    seeds = [rng.random() for _ in range(_TRIALS)]
    bench.figures["tokens"] = length

    def trial(number: int) -> str:
        own = random.Random(seeds[number % _TRIALS])  # noqa: S311 - texts, not secrets
        dump = "".join(pieces_for(bench, length, own, code_file))
        prompt = f"{dump}\nExplain in English prose, in detail and without code, how you would test this code base."
        answer = bench.chat(prompt, stream=False, max_tokens=_OUTPUT, timeout=patience(length), **salt())
        bench.expect(answer.status == 200, "HTTP 200", f"HTTP {answer.status}: {answer.error[:300]}")
        return broken(answer.content)

    return bench.rate(trial, _TRIALS, _RATE, most=2)


def broken(text: str) -> str:
    """What shows that ``text`` fell apart; empty: nothing does."""
    words = text.split()
    if len(words) < _LEAST_WORDS:
        return f"{len(words)} words only: {text[:80]!r}"
    grams = Counter(tuple(words[start : start + _GRAM]) for start in range(len(words) - _GRAM + 1))
    worst, times = max(grams.items(), key=lambda each: each[1])
    if times > _REPEATS:
        return f"{_GRAM} words come {times} times: {' '.join(worst)[:120]!r}"
    share = sum(character.isascii() for character in text) / len(text)
    return f"{share:.0%} of the characters are ASCII: {text[:80]!r}" if share < _LEAST_ASCII else ""
