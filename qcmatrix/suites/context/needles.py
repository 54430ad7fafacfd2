"""LC-03 and LC-04: what stands in a long text is found."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.context.fitting import fresh, length_of, patience, pieces_for, salt
from qcmatrix.suites.context.texts import hidden, needle, needles, variable_chain
from qcmatrix.suites.declare import ONCE, Need, Rate, Tier, check

__all__ = ["DEPTHS", "Asked", "recall", "single"]

_RULER = "https://arxiv.org/abs/2404.06654"
_RULER_CODE = "https://github.com/NVIDIA/RULER"
_LADDER = (8_000, 32_000, 64_000, 128_000, 200_000, 250_000)
_HARDER = (32_000, 128_000)
DEPTHS = (0.1, 0.5, 0.9)
_ROOM = 128
"""Tokens kept for the template, the question and the answer."""
_TRIALS = 2
_RECALL = 0.95
_EFFECTIVE = 0.856
"""RULER calls a length effective up to which a model scores at least this."""
_KEYS = 8
_HOPS = 4

Asked = tuple[str, str, str]
"""A text, what is asked of it, and a pattern that a right answer holds."""


@check(
    "LC-03",
    suite="context",
    profiles=("long-256k", "long-1m"),
    tier=Tier.LONG,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=8_192,
    sources=(_RULER, _RULER_CODE),
)
def ladder(bench: Bench) -> Rate:
    """A random number in a long text is found, at every length and depth.

    One sentence with a random number in random prose of 8k, 32k, 64k, 128k, 200k and 250k tokens, as far as the
    context reaches, at a depth of 10, 50 and 90 %, twice each; the grid of recalls is in the figures. At least 95 % are
    found: a trained model finds all, and a fault of the cache, of a kernel or of the rotary table loses them from some
    length on.
    """
    limit = length_of(bench)
    rungs = [length for length in _LADDER if length + _ROOM <= limit]
    return recall(bench, rungs, single, threshold=_RECALL)


@check(
    "LC-04.keys",
    suite="context",
    profiles=("long-256k", "long-1m"),
    tier=Tier.LONG,
    core=False,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=8_192,
    sources=(_RULER, _RULER_CODE),
)
def keys(bench: Bench) -> Rate:
    """The right one of eight numbers is found.

    Eight places with a number each are spread over the text, one of them is asked for (RULER's multi-key retrieval), at
    32k and 128k tokens, or 8k where the context is shorter. The threshold is RULER's for an effective length.
    """
    return recall(bench, _harder(bench), _one_of_many, threshold=_EFFECTIVE)


@check(
    "LC-04.variables",
    suite="context",
    profiles=("long-256k", "long-1m"),
    tier=Tier.LONG,
    core=False,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=8_192,
    sources=(_RULER, _RULER_CODE),
)
def variables(bench: Bench) -> Rate:
    """All variables that hold a value are found, through assignments from one another.

    A chain of four assignments is spread over the text; all names are asked for (RULER's variable tracking), at the
    lengths of LC-04.keys and with its threshold.
    """
    return recall(bench, _harder(bench), _chain, threshold=_EFFECTIVE)


def recall(
    bench: Bench,
    lengths: Sequence[int],
    make: Callable[[Bench, random.Random, int, float], Asked],
    *,
    threshold: float,
    depths: Sequence[float] = DEPTHS,
    trials: int = _TRIALS,
) -> Rate:
    """Ask at every length and depth; the grid goes into the figures as ``found of asked``, by ``tokens@depth``."""
    rng = fresh(bench)
    cells = [(length, depth) for length in lengths for depth in depths for _ in range(trials)]
    seeds = [rng.random() for _ in cells]

    def trial(number: int) -> str:
        length, depth = cells[number]
        own = random.Random(seeds[number])  # noqa: S311 - texts, not secrets
        text, question, pattern = make(bench, own, length, depth)
        prompt = f"Read this text.\n\n{text}\n{question}"
        answer = bench.chat(prompt, stream=False, max_tokens=64, timeout=patience(length), **salt())
        bench.expect(answer.status == 200, "HTTP 200", f"HTTP {answer.status}: {answer.error[:300]}")
        found = re.search(pattern, answer.content, re.DOTALL) is not None
        return "" if found else f"{length} tokens, depth {depth:.0%}: {answer.content[:120]!r}"

    # Two at a time: more long prompts than that only wait for one another, and their caches displace each other.
    seen = bench.at_once(trial, range(len(cells)), most=2)
    grid: dict[str, list[int]] = {}
    for (length, depth), miss in zip(cells, seen, strict=True):
        cell = grid.setdefault(f"{length}@{depth:.0%}", [0, 0])
        cell[0] += not miss
        cell[1] += 1
    bench.figures["recall"] = {name: f"{found} of {asked}" for name, (found, asked) in grid.items()}
    misses = tuple(miss for miss in seen if miss)
    return Rate(passes=len(seen) - len(misses), trials=len(seen), threshold=threshold, misses=misses[:5])


def single(bench: Bench, rng: random.Random, length: int, depth: float) -> Asked:
    """One number in prose."""
    fact = needle(rng)
    text = hidden(pieces_for(bench, length - _ROOM, rng), [(depth, fact.sentence)])
    return text, fact.question, fact.key


def _one_of_many(bench: Bench, rng: random.Random, length: int, depth: float) -> Asked:
    facts = needles(rng, _KEYS)
    wanted = facts[0]
    others = [(rng.random(), other.sentence) for other in facts[1:]]
    text = hidden(pieces_for(bench, length - _ROOM - 24 * _KEYS, rng), [(depth, wanted.sentence), *others])
    return text, wanted.question, wanted.key


def _chain(bench: Bench, rng: random.Random, length: int, depth: float) -> Asked:
    chain = variable_chain(rng, _HOPS)
    places = sorted({depth, *(rng.random() for _ in range(_HOPS))})[:_HOPS]
    spread = list(zip(places, chain.sentences, strict=True))
    text = hidden(pieces_for(bench, length - _ROOM - 24 * _HOPS, rng), spread)
    question = f"Name every variable that holds the value {chain.value}. Answer with the names only."
    return text, question, "".join(f"(?=.*{name})" for name in chain.names)


def _harder(bench: Bench) -> list[int]:
    limit = length_of(bench)
    return [length for length in _HARDER if length + _ROOM <= limit] or [8_000]
