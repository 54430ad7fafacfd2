"""Sending a client's request as it is, and asking all gaps at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qcmatrix.exchange.chat import Completion
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import NotApplicable, Rate, Wrong
from qcmatrix.suites.fim.gap import Gap
from qcmatrix.suites.fim.payloads import CHAT, STOP_MARKERS, Request

__all__ = ["fill", "marker_ids", "plain_gap", "rate_of", "send", "stop_token_ids"]


def send(bench: Bench, request: Request, **more: Any) -> Completion:
    """``request`` with ``more`` fields; a chat reply is told as the completion that its content is.

    Nothing is added to what the client sends but the model's name.
    """
    fields = {"temperature": None, "seed": None, **request.body, **more}
    streams = bool(fields.pop("stream", False))
    if request.path == CHAT:
        answer = bench.chat(fields.pop("messages"), stream=streams, **fields)
        return Completion(
            status=answer.status,
            streamed=answer.streamed,
            text=answer.content,
            finish=answer.finish,
            stop_reason=answer.stop_reason,
            usage=answer.usage,
            faults=answer.faults,
            error=answer.error,
            seconds=answer.seconds,
        )
    return bench.complete(fields.pop("prompt"), stream=streams, **fields)


def marker_ids(bench: Bench, markers: Sequence[str]) -> dict[str, int]:
    """Each marker's token, by the server's own tokenizer.

    Raises:
        NotApplicable: the server does not tokenize for us, or one of them is not one token of this model.
    """
    found: dict[str, int] = {}
    for marker in markers:
        ids = bench.tokenize(marker, add_special_tokens=False)
        if len(ids) != 1:
            raise NotApplicable(f"{marker} is no token of this model ({len(ids)} tokens)")
        found[marker] = ids[0]
    return found


def stop_token_ids(bench: Bench) -> list[int]:
    """The ids that end a completion in the README's example, as this model has them."""
    return sorted(marker_ids(bench, STOP_MARKERS).values())


def fill(bench: Bench, gaps: Sequence[Gap], request: Callable[[Gap], Request], **more: Any) -> list[Completion]:
    """What the server puts into each gap.

    Raises:
        Wrong: a reply is no well-formed completion.
    """

    def ask(gap: Gap) -> Completion:
        return send(bench, request(gap), **more)

    replies = bench.at_once(ask, gaps)
    for reply in replies:
        bench.expect_ok(reply)
    return replies


def rate_of(
    gaps: Sequence[Gap],
    replies: Sequence[Completion],
    judge: Callable[[Gap, Completion], str],
    threshold: float,
) -> Rate:
    """How many ``replies`` the judge finds nothing wrong with."""
    if not gaps:
        raise Wrong("gaps to ask", "none")
    seen = [judge(gap, reply) for gap, reply in zip(gaps, replies, strict=True)]
    misses = tuple(each for each in seen if each)
    return Rate(passes=len(seen) - len(misses), trials=len(seen), threshold=threshold, misses=misses[:5])


def plain_gap(gaps: Sequence[Gap]) -> Gap:
    """One gap for checks that ask the wire and not the model."""
    return next(gap for gap in gaps if not gap.empty and not gap.files and not gap.marked)
