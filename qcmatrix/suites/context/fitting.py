"""Prompts of a length in tokens, on any tokenizer, with few calls of ``/tokenize``."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Callable, Sequence

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.context.texts import PieceMaker, prose_line
from qcmatrix.suites.declare import NotApplicable, Wrong

__all__ = ["exact_text", "fresh", "length_of", "patience", "pieces_for", "salt", "single_token", "some_ids"]

_SAMPLE = 48
_TRIES = 12
_UNITS = (" a", "x", ".", "\n")


def fresh(bench: Bench) -> random.Random:
    """A generator of its own for this run: a text that comes again is served from the prefix cache and tests nothing.

    What it was made with stands in the figures.
    """
    seed = f"{bench.seed}-{secrets.token_hex(6)}"
    bench.figures.setdefault("text_seed", seed)
    return random.Random(seed)  # noqa: S311 - texts, not secrets


def salt() -> dict[str, str]:
    """A field that keeps a request out of the prefix cache of all others (``cache_salt``)."""
    return {"cache_salt": secrets.token_hex(8)}


def length_of(bench: Bench) -> int:
    """``max_model_len``, tokens.

    Raises:
        NotApplicable: the server does not tell it.
    """
    if bench.subject.max_model_len is None:
        raise NotApplicable("the server does not tell its max_model_len")
    return bench.subject.max_model_len


_BEFORE = 4
"""Prompts of that length that may be read one after the other: checks are asked several at a time."""


def patience(tokens: int) -> float:
    """Seconds of silence to bear with a prompt of so many tokens: 500 tokens of prefill per second are slow, and other
    checks may have sent as long ones before."""
    return 120.0 + _BEFORE * tokens / 500


def pieces_for(bench: Bench, tokens: int, rng: random.Random, make: PieceMaker = prose_line) -> list[str]:
    """Pieces of filler of nearly ``tokens`` tokens together, and no more: by a sample, then one count of the whole."""
    sample = [make(rng) for _ in range(_SAMPLE)]
    each = max(0.5, len(bench.tokenize("".join(sample))) / _SAMPLE)
    pieces = _grown(sample, max(0, int(tokens / each)), rng, make)
    over = len(bench.tokenize("".join(pieces))) - tokens if pieces else 0
    return pieces[: len(pieces) - math.ceil(over / each) - 1] if over > 0 else pieces


def some_ids(bench: Bench, rng: random.Random) -> Callable[[int], list[int]]:
    """A maker of prompts as token ids, each of exactly the length that it is asked for."""
    pool = bench.tokenize("".join(prose_line(rng) for _ in range(200)))
    if not pool:
        raise Wrong("/tokenize answers with tokens", "none for a text of 200 lines")

    def ids(length: int) -> list[int]:
        start = rng.randrange(len(pool))
        turned = pool[start:] + pool[:start]
        return (turned * (length // len(turned) + 1))[:length]

    return ids


def single_token(bench: Bench) -> str:
    """A text of which each repetition is one token more.

    Raises:
        NotApplicable: none is known for this tokenizer.
    """
    for unit in _UNITS:
        few, more = (len(bench.tokenize(f"end{unit * count}")) for count in (8, 24))
        if more - few == 16:
            return unit
    raise NotApplicable("no text is known that is one token each time in this tokenizer")


def exact_text(bench: Bench, total: int, rng: random.Random, *, chat: bool, make: PieceMaker = prose_line) -> str:
    """A text of exactly ``total`` tokens by ``/tokenize``; with ``chat`` as one user turn through the chat template.

    Filler is cut to nearly the length by its average, what is left is padded with single tokens, and the whole is
    counted again until it is right: three or four calls with the whole text.

    Raises:
        Wrong: the tokenizer's counts lead nowhere.
    """

    def count(text: str) -> int:
        return len(bench.tokenize([{"role": "user", "content": text}] if chat else text))

    unit = single_token(bench)
    sample = [make(rng) for _ in range(_SAMPLE)]
    bare, with_sample = count(""), count("".join(sample))
    each = max(0.5, (with_sample - bare) / _SAMPLE)
    pieces = _grown(sample, int((total - bare) / each), rng, make)
    for _ in range(_TRIES):
        missing = total - count("".join(pieces))
        if 0 <= missing <= 3 * each:
            break
        change = math.floor(missing / each) if missing < 0 or missing > each else 0
        pieces = _grown(pieces, len(pieces) + change, rng, make)
    pad = max(0, missing)
    for _ in range(_TRIES):
        text = "".join(pieces) + unit * pad
        off = total - count(text)
        if off == 0:
            return text
        pad += off
        if pad < 0:
            pieces, pad = pieces[:-1], 0
    raise Wrong(f"a text of {total} tokens", f"the count stays {off} off")


def _grown(pieces: Sequence[str], count: int, rng: random.Random, make: PieceMaker) -> list[str]:
    return [*pieces[:count], *(make(rng) for _ in range(count - len(pieces)))]
