"""What one streamed request took: the definitions, as a pure function over its events.

Pinned here, so that a figure means the same whatever vLLM release was measured (its own client changed what it counts
between releases, https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/benchmarks/lib/endpoint_request_func.py):

- an *output* is a chunk that carries text, reasoning, or a part of a tool call of the first choice; a chunk with the
  role only, an empty one, the finish reason and the usage are none;
- **TTFT**: sent to the first output; **E2EL**: sent to the last; **ITL**: the gaps between outputs;
- **TPOT**: (E2EL - TTFT) / (output tokens - 1), the tokens as the usage tells them;
- **TTFTC**: sent to the first name of a tool call; **ARG-GAP**: the longest silence inside a call, from its name to
  its first piece of arguments and from piece to piece.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from qcmatrix.exchange.sse import Event

__all__ = ["METRICS", "Record", "goodput", "read_events", "values_of"]

METRICS = ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms", "ttftc_ms", "arg_gap_ms")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Times are seconds since it was sent unless said otherwise; ``None``: it did not come."""

    sent: float = 0.0
    """Seconds since the run began."""
    status: int | None = None
    error: str = ""
    """Why there is no reply, or the body of another status than 200."""
    faults: tuple[str, ...] = ()
    """What is wrong with the form of the stream."""
    outputs: tuple[float, ...] = ()
    named: float | None = None
    arg_gap: float | None = None
    """Seconds."""
    text: str = ""
    name: str = ""
    """Of the first call."""
    arguments: str = ""
    """Of the first call, as they came."""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    """Of the prompt, out of the prefix cache; ``None``: the server does not tell."""
    output_tokens: int | None = None
    finish: str | None = None
    left: bool = False
    """We hung up before its end, as planned: nothing of it is measured."""

    @property
    def ok(self) -> bool:
        """Status 200, a well-formed stream, and at least one output."""
        return self.status == 200 and not self.error and not self.faults and bool(self.outputs)

    @property
    def ttft(self) -> float | None:
        """Seconds to the first output."""
        return self.outputs[0] if self.outputs else None

    @property
    def e2el(self) -> float | None:
        """Seconds to the last output."""
        return self.outputs[-1] if self.outputs else None

    @property
    def gaps(self) -> tuple[float, ...]:
        """Seconds between outputs."""
        return tuple(after - before for before, after in itertools.pairwise(self.outputs))

    @property
    def tpot(self) -> float | None:
        """Seconds per output token but the first; ``None`` for an answer of one token, or without usage."""
        if not self.outputs or self.output_tokens is None or self.output_tokens < 2:
            return None
        return (self.outputs[-1] - self.outputs[0]) / (self.output_tokens - 1)


def read_events(events: Sequence[Event], faults: Iterable[str] = (), **more: Any) -> Record:
    """The record of a stream with status 200; ``more`` are further fields of it.

    Nothing is mended: what has not the form of a chat or completion stream is a fault.
    """
    found = list(faults)
    outputs: list[float] = []
    text: list[str] = []
    calls: dict[Any, list[float]] = {}
    said: dict[Any, list[str]] = {}
    names: dict[Any, str] = {}
    named: float | None = None
    finish: str | None = None
    usage: Mapping[str, Any] = {}
    for event in events:
        chunk = event.json
        if not isinstance(chunk, dict):
            continue
        if "error" in chunk:
            found.append(f"an error inside the stream: {str(chunk['error'])[:200]}")
            continue
        if isinstance(chunk.get("usage"), dict):
            usage = chunk["usage"]
        choice = _first(chunk.get("choices"))
        if choice is None:
            continue
        piece, parts = _carried(choice)
        if piece:
            text.append(piece)
        for part in parts:
            function: Any = part.get("function") if isinstance(part.get("function"), dict) else {}
            index = part.get("index")
            times = calls.setdefault(index, [])
            if function.get("name"):
                names.setdefault(index, str(function["name"]))
                named = event.at if named is None else named
                times.append(event.at)
            if function.get("arguments"):
                times.append(event.at)
                said.setdefault(index, []).append(str(function["arguments"]))
        if piece or parts:
            outputs.append(event.at)
        if choice.get("finish_reason") is not None:
            finish = str(choice["finish_reason"])
    if finish is None and not more.get("left"):
        found.append("no finish reason")
    silences = [after - before for times in calls.values() for before, after in itertools.pairwise(times)]
    first = next(iter(calls), None)
    details = usage.get("prompt_tokens_details")
    return Record(
        status=200,
        faults=tuple(dict.fromkeys(found)),
        outputs=tuple(outputs),
        named=named,
        arg_gap=max(silences, default=None),
        text="".join(text),
        name=names.get(first, ""),
        arguments="".join(said.get(first, ())),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
        output_tokens=_count(usage.get("completion_tokens")),
        finish=finish,
        **more,
    )


def values_of(records: Iterable[Record]) -> dict[str, list[float]]:
    """Milliseconds by metric: one value per request that is whole, gaps between outputs (``itl_ms``) pooled over all.

    A metric that no request has is left out.
    """
    found: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for record in records:
        if record.left or not record.ok:
            continue
        for metric, seconds in (
            ("ttft_ms", record.ttft),
            ("tpot_ms", record.tpot),
            ("e2el_ms", record.e2el),
            ("ttftc_ms", record.named),
            ("arg_gap_ms", record.arg_gap),
        ):
            if seconds is not None:
                found[metric].append(seconds * 1000)
        found["itl_ms"] += [gap * 1000 for gap in record.gaps]
    return {metric: values for metric, values in found.items() if values}


def goodput(records: Sequence[Record], most: Mapping[str, float], seconds: float) -> tuple[float, float]:
    """Share of the requests that meet every limit of ``most`` (metric to ms; per request), and how many a second.

    A request that failed meets none; one that was cancelled on purpose is left out. ``seconds``: how long they took
    together.
    """
    counted = [record for record in records if not record.left]
    good = 0
    for record in counted:
        own = {name: values[0] for name, values in values_of([record]).items() if name != "itl_ms"}
        good += record.ok and all(own.get(metric, 0.0) <= limit for metric, limit in most.items())
    return (good / len(counted) if counted else 0.0), (good / seconds if seconds > 0 else 0.0)


def _first(choices: Any) -> dict[str, Any] | None:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _carried(choice: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Text (or reasoning) and parts of calls of a chunk's choice."""
    if isinstance(choice.get("text"), str):
        return choice["text"], []
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return "", []
    words = (delta.get(key) for key in ("content", "reasoning", "reasoning_content"))
    parts = delta.get("tool_calls")
    return (
        next((word for word in words if isinstance(word, str) and word), ""),
        [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else [],
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
