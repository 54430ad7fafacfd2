"""LC-07: an answer from the prefix cache is the answer without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from qcmatrix.suites.bench import COMPLETIONS, Bench
from qcmatrix.suites.boot.asked import asked_by
from qcmatrix.suites.context.fitting import fresh, length_of, patience, salt, some_ids
from qcmatrix.suites.declare import ONCE, Need, NotApplicable, Tier, check

__all__ = ["Said", "said_by", "where_parted"]

_PROFILES = ("long-256k", "long-1m")
_GARBLED = "https://github.com/vllm-project/vllm-ascend/issues/5269"
_CACHING = "https://docs.vllm.ai/en/v0.33.0/features/automatic_prefix_caching/"
_REPRODUCIBLE = "https://docs.vllm.ai/en/v0.33.0/usage/reproducibility/"
_LONGEST = 100_000
_ROOM = 64
_COMPARED = 32
_RIVALS = 5
_NEAR = 0.15
"""Natural logarithms of a probability: two tokens so near one another may change places with the batch's rounding
(BF16 has 8 bits: 0.06 at the logits' usual size, twice)."""
_WARM = 3
_FASTER = 0.3


class Said(msgspec.Struct, frozen=True):
    """A completion, token by token."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    rivals: tuple[Mapping[str, float], ...]
    cached: int | None
    """Prompt tokens that came from the cache; ``None``: the server does not tell."""
    prompt_tokens: int | None


@check("LC-07.same", suite="context", profiles=_PROFILES, tier=Tier.LONG, modes=ONCE, sources=(_GARBLED, _CACHING))
def same(bench: Bench) -> None:
    """The same prompt, cold and from the cache, is answered with the same tokens.

    100k random tokens, or as many as the context holds, once with a fresh ``cache_salt`` and three times again, greedy.
    The first 32 tokens are the same. vLLM promises no bit-equal logits for other batches, so two tokens that are nearly
    as likely (0.15 in the logarithm, on both sides) may part the answers; behind such a place nothing is compared, and
    the figures say so. Wrong blocks behind a hit give other tokens by far.
    """
    length = min(_LONGEST, length_of(bench) - _ROOM)
    body = _body(bench, length)
    cold, *warm = (said_by(bench, body, length) for _ in range(1 + _WARM))
    bench.figures |= {"tokens": length, "cached_tokens": [each.cached for each in (cold, *warm)]}
    ties = []
    for each in warm:
        parted = where_parted(cold, each)
        bench.expect(not isinstance(parted, str), "the tokens of the cold answer", parted)
        ties += [parted] if isinstance(parted, int) else []
    if ties:
        bench.figures["parted_by_a_tie_at"] = ties


@check("LC-07.cached", suite="context", profiles=_PROFILES, tier=Tier.LONG, core=False, modes=ONCE, sources=(_CACHING,))
def cached(bench: Bench) -> None:
    """A prompt that comes again is told to come from the cache.

    With ``--enable-prompt-tokens-details`` the usage of the second answer has ``cached_tokens`` over 0 and no more than
    the prompt, that of the first none. Not covered: a server without that option, or without prefix caching.
    """
    if _off(bench):
        raise NotApplicable("prefix caching is switched off")
    length = min(4_096, length_of(bench) - _ROOM)
    body = _body(bench, length)
    cold, warm = said_by(bench, body, length), said_by(bench, body, length)
    if cold.cached is None and warm.cached is None and not _details_asked(bench):
        raise NotApplicable("the server does not tell cached tokens: start it with --enable-prompt-tokens-details")
    bench.figures["cached_tokens"] = [cold.cached, warm.cached]
    bench.expect(not cold.cached, "no cached tokens of a new prompt", cold.cached)
    few = warm.cached or 0
    bench.expect(0 < few <= length, f"1 to {length} cached tokens of the same prompt", warm.cached)


@check(
    "LC-07.faster",
    suite="context",
    profiles=_PROFILES,
    tier=Tier.PERFORMANCE,
    core=False,
    modes=ONCE,
    needs=(Need.ALONE,),
    tokens=8_192,
    sources=(_CACHING,),
)
def faster(bench: Bench) -> None:
    """A prompt that comes again is answered in a third of the time.

    The time to the first token of the prompt of LC-07.same, cold, against the best of three from the cache: no more
    than 0.3 of it. Not covered: a server without prefix caching.
    """
    if _off(bench):
        raise NotApplicable("prefix caching is switched off")
    length = min(_LONGEST, length_of(bench) - _ROOM)
    body = _body(bench, length)
    times = []
    for _ in range(1 + _WARM):
        answer = bench.complete(body["prompt"], stream=True, **_fields(body), max_tokens=2, timeout=patience(length))
        bench.expect_ok(answer)
        bench.expect(answer.first_output is not None, "a streamed token", "none")
        times.append(answer.first_output or 0.0)
    cold, warm = times[0], min(times[1:])
    bench.figures |= {"tokens": length, "ttft_cold_ms": round(1e3 * cold, 1), "ttft_warm_ms": round(1e3 * warm, 1)}
    bench.expect(warm <= _FASTER * cold, f"at most {_FASTER} of {cold:.3f} s", f"{warm:.3f} s")


def said_by(bench: Bench, body: Mapping[str, Any], length: int) -> Said:
    """Ask, and take the reply apart."""
    reply = bench.wire.post(COMPLETIONS, dict(body), timeout=patience(length))
    whole = reply.json if reply.status == 200 and isinstance(reply.json, dict) else {}
    choices = whole.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    told = choice.get("logprobs")
    usage = whole.get("usage")
    fine = (
        isinstance(told, dict)
        and isinstance(usage, dict)
        and all(isinstance(told.get(name), list) for name in ("tokens", "token_logprobs", "top_logprobs"))
        and len(told["tokens"]) == len(told["token_logprobs"]) == len(told["top_logprobs"])
        and all(isinstance(each, dict) for each in told["top_logprobs"])
    )
    seen = f"HTTP {reply.status}: {reply.text[:300]}"
    bench.expect(fine, "HTTP 200 with tokens, their logprobs and their rivals", seen)
    assert isinstance(told, dict)  # noqa: S101 - expected above
    assert isinstance(usage, dict)  # noqa: S101
    details = usage.get("prompt_tokens_details")
    few = details.get("cached_tokens") if isinstance(details, dict) else None
    bench.expect(usage.get("prompt_tokens") == length, f"{length} prompt tokens", usage)
    return Said(
        tuple(told["tokens"]),
        tuple(told["token_logprobs"]),
        tuple(told["top_logprobs"]),
        few if isinstance(few, int) else None,
        usage.get("prompt_tokens"),
    )


def where_parted(one: Said, other: Said) -> str | int | None:
    """Where ``other`` says something else than ``one``: in words, or the place where a tie parted them.

    ``None``: nowhere. A tie: in both answers the two tokens' logarithms lie within 0.15.
    """
    for place, (mine, its) in enumerate(zip(one.tokens, other.tokens, strict=False)):
        if mine == its:
            continue
        if _near(one, place, its) and _near(other, place, mine):
            return place
        return f"token {place} is {its!r} ({other.logprobs[place]:.2f}) instead of {mine!r} ({one.logprobs[place]:.2f})"
    if len(one.tokens) != len(other.tokens):
        return f"{len(other.tokens)} tokens instead of {len(one.tokens)}"
    return None


def _near(said: Said, place: int, token: str) -> bool:
    told = said.rivals[place].get(token)
    return told is not None and abs(told - said.logprobs[place]) <= _NEAR


def _body(bench: Bench, length: int) -> dict[str, Any]:
    return {
        "model": bench.subject.model,
        "prompt": some_ids(bench, fresh(bench))(length),
        "max_tokens": _COMPARED,
        "ignore_eos": True,
        "temperature": 0,
        "repetition_penalty": 1.0,
        "logprobs": _RIVALS,
        **salt(),
    }


def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("ignore_eos", "repetition_penalty", "cache_salt")}


def _off(bench: Bench) -> bool:
    return bench.subject.entry is not None and asked_by(bench.subject.entry).given("enable_prefix_caching") is False


def _details_asked(bench: Bench) -> bool:
    return bench.subject.entry is not None and bool(asked_by(bench.subject.entry).given("enable_prompt_tokens_details"))
