"""What shows that the latency checks can fail. Budgets need a card: test_latency_workload.py breaks them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec

from qcmatrix.suites.bench import Subject
from qcmatrix.suites.declare import Need
from tests.suites.proof import Proof
from tests.suites.proxy import Body, Fault, on_chunks

ALL = ("LAT-00", "LAT-01.*", "LAT-02.*", "LAT-03.*", "LAT-04", "LAT-05.*", "LAT-06", "LAT-07", "LAT-08")
EXACT = ("LAT-00", "LAT-02.*", "LAT-05.*", "LAT-07")
CALLS = ("LAT-03.*", "LAT-04")


def _every_other() -> Callable[[str, Body], tuple[int, str] | None]:
    turns = itertools.count()

    def answer(_: str, body: Body) -> tuple[int, str] | None:
        return (500, '{"error": {"message": "lost", "code": 500}}') if next(turns) % 2 == 0 else None

    return answer


def _usage(change: Callable[[Body], Any]) -> Callable[[Body], Body | None]:
    """Usage changed in place; the chunk is dropped where ``change`` says ``False``."""

    def chunk(body: Body) -> Body | None:
        return body if not body.get("usage") or change(body["usage"]) is not False else None

    return chunk


def _cut(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str | bytes]:
    yield from itertools.islice(payloads, 2)


def _loses_a_piece(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str | bytes]:
    """The fourth piece of the call does not come."""
    seen = 0
    for payload in payloads:
        if payload != "[DONE]":
            chunk = json.loads(payload)
            choices = chunk.get("choices") or [{}]
            parts = (choices[0].get("delta") or {}).get("tool_calls")
            seen += bool(parts)
            if parts and seen == 4:
                continue
        yield payload


def _no_outputs(chunk: Body) -> Body:
    for choice in chunk.get("choices") or ():
        if "text" in choice:
            choice["text"] = ""
        if "delta" in choice:
            choice["delta"] = {key: value for key, value in choice["delta"].items() if key == "role"}
    return chunk


def _refuses_long(_: str, body: Body) -> tuple[int, str] | None:
    return (503, '{"error": {"message": "busy", "code": 503}}') if body.get("max_tokens") == 1 else None


def _started(subject: Subject) -> Subject:
    """Somebody started the server, and knows how long that took."""
    server = subject.server or SimpleNamespace(boot_seconds=30.0)
    return msgspec.structs.replace(subject, server=server, has=subject.has | {Need.OWN_SERVER})


PROOFS: tuple[Proof, ...] = (
    Proof(
        checks=tuple(each for each in ALL if each != "LAT-08"),
        fault=Fault(name="every other request is answered with 500", answer=_every_other()),
    ),
    Proof(
        checks=("LAT-08",),
        fault=Fault(name="all requests are answered with 500", answer=lambda _, __: (500, '{"error": {}}')),
        known=_started,
    ),
    Proof(known=_started, checks=ALL, fault=Fault(name="no usage", events=on_chunks(_usage(lambda _: False)))),
    Proof(known=_started, checks=ALL, fault=Fault(name="the stream ends early", events=_cut)),
    Proof(known=_started, checks=ALL, fault=Fault(name="no output in any chunk", events=on_chunks(_no_outputs))),
    Proof(
        checks=(*EXACT, "LAT-08"),
        known=_started,
        fault=Fault(
            name="a token too few is counted",
            events=on_chunks(_usage(lambda usage: usage.update(completion_tokens=usage["completion_tokens"] - 1))),
        ),
    ),
    Proof(
        checks=EXACT,
        fault=Fault(
            name="half of the prompt is counted",
            events=on_chunks(_usage(lambda usage: usage.update(prompt_tokens=usage["prompt_tokens"] // 2))),
        ),
    ),
    Proof(
        checks=("LAT-05.*",),
        fault=Fault(
            name="the prompt is out of the cache",
            events=on_chunks(
                _usage(lambda usage: usage.update(prompt_tokens_details={"cached_tokens": usage["prompt_tokens"] - 16}))
            ),
        ),
    ),
    Proof(checks=CALLS, fault=Fault(name="a piece of the call is lost", events=_loses_a_piece)),
    Proof(checks=("LAT-06",), fault=Fault(name="long prompts are refused", answer=_refuses_long)),
    Proof(
        checks=("LAT-00.bench",),
        fault=Fault(name="no completion", answer=lambda _, __: (500, '{"error": {}}')),
    ),
)
