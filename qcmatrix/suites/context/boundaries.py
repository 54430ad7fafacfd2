"""LC-08: lengths at which a prompt is cut into chunks and blocks."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.boot.asked import asked_by
from qcmatrix.suites.boot.settings import attempt_of
from qcmatrix.suites.context.fitting import fresh, length_of, patience, pieces_for, salt, some_ids
from qcmatrix.suites.context.needles import Asked, recall
from qcmatrix.suites.context.texts import hidden, needle
from qcmatrix.suites.declare import ONCE, Need, NotApplicable, Rate, Tier, check

__all__ = ["block_size", "boundaries", "cache_config"]

_PROFILES = ("long-256k", "long-1m")
_GARBAGE = "https://github.com/vllm-project/vllm/issues/10298"
_CHUNKED = "https://docs.vllm.ai/en/v0.33.0/configuration/optimization/"
_USUAL_CHUNKS = (2_048, 8_192)
"""``max_num_batched_tokens`` where nobody tells it: vLLM's defaults for a server, by card."""
_USUAL_BLOCK = 16
_ROOM = 16
_OUTPUT = 2
_RECALL = 0.95


@check("LC-08.lengths", suite="context", profiles=_PROFILES, tier=Tier.LONG, modes=ONCE, sources=(_GARBAGE, _CHUNKED))
def lengths(bench: Bench) -> None:
    """Prompts just around the sizes of chunks and blocks are served whole.

    Random prompts of one token less, exactly, and one more than once and three times ``max_num_batched_tokens`` and
    the KV block size: each is answered 200, its ``usage.prompt_tokens`` is its length, and the tokens come that were
    asked for. Where the chunk size is not known, the usual ones are taken.
    """
    asked = boundaries(_chunks(bench), block_size(bench), length_of(bench) - _ROOM)
    bench.figures["lengths"] = list(asked)
    ids = some_ids(bench, fresh(bench))
    prompts = [ids(length) for length in asked]

    def ask(prompt: list[int]) -> None:
        length = len(prompt)
        fields = {"max_tokens": _OUTPUT, "ignore_eos": True, "timeout": patience(length), **salt()}
        answer = bench.complete(prompt, stream=False, **fields)
        bench.expect(
            answer.status == 200, f"HTTP 200 of {length} tokens", f"HTTP {answer.status}: {answer.error[:200]}"
        )
        bench.expect_ok(answer)
        usage = answer.usage if isinstance(answer.usage, Mapping) else {}
        seen = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
        bench.expect(seen == (length, _OUTPUT), f"usage of {length} and {_OUTPUT} tokens", seen)

    bench.at_once(ask, prompts, most=4)


@check(
    "LC-08.needle",
    suite="context",
    profiles=_PROFILES,
    tier=Tier.LONG,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=4_096,
    sources=(_GARBAGE,),
)
def straddling(bench: Bench) -> Rate:
    """A number that stands where two chunks meet is found.

    A prompt of about three chunks of ``max_num_batched_tokens`` (two, where the context is short) with the sentence of
    LC-03 at the places where one chunk ends and the next begins: what is computed in another step than its neighbours
    must still be seen.
    """
    limit = length_of(bench) - 256
    chunk = max((size for size in _chunks(bench) if 2 * size <= limit), default=None)
    if chunk is None:
        raise NotApplicable("the context does not hold two chunks")
    total = min(3 * chunk, limit)
    edges = [edge for edge in (chunk, 2 * chunk) if edge < total - 64]
    offsets = (-24, 0, 24)
    depths = [(edge + offset) / total for edge in edges for offset in offsets]
    bench.figures["chunk"] = chunk
    return recall(bench, [total], _at_edge, threshold=_RECALL, depths=depths, trials=1)


def boundaries(chunks: tuple[int, ...], block: int, most: int) -> tuple[int, ...]:
    """The lengths at and beside multiples of ``chunks`` and of ``block``, up to ``most``."""
    found = {
        times * size + beside
        for size in (*chunks, block)
        for times in (1, 3)
        for beside in (-1, 0, 1)
        if 1 <= times * size + beside <= most
    }
    return tuple(sorted(found))


def cache_config(bench: Bench) -> dict[str, str]:
    """The labels of ``vllm:cache_config_info`` in ``/metrics``; empty: there is none."""
    reply = bench.wire.get("/metrics")
    match = re.search(r"^vllm:cache_config_info\{(.*)\} ", reply.text, re.MULTILINE) if reply.status == 200 else None
    return dict(re.findall(r'(\w+)="([^"]*)"', match[1])) if match is not None else {}


def block_size(bench: Bench) -> int:
    """Tokens of one KV block, as ``/metrics`` tells it, else the usual 16."""
    told = cache_config(bench).get("block_size", "")
    return int(told) if told.isdigit() and int(told) > 0 else _USUAL_BLOCK


def _chunks(bench: Bench) -> tuple[int, ...]:
    entry, server = bench.subject.entry, bench.subject.server
    given = asked_by(entry).given("max_num_batched_tokens") if entry is not None else None
    if isinstance(given, int):
        return (given,)
    attempt = attempt_of(server.log) if server is not None else None
    told = attempt.readings.get("batched_tokens", ()) if attempt is not None else ()
    return (int(told[0].value),) if told else _USUAL_CHUNKS


def _at_edge(bench: Bench, rng: random.Random, length: int, depth: float) -> Asked:
    fact = needle(rng)
    text = hidden(pieces_for(bench, length - 128, rng), [(depth, fact.sentence)])
    return text, fact.question, fact.key
