"""What a check is given: the server, the mode, and the ways of asking."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from qcmatrix.exchange.chat import (
    Answer,
    Completion,
    chat_streamed,
    chat_whole,
    completion_streamed,
    completion_whole,
)
from qcmatrix.exchange.wire import Exchange, Wire
from qcmatrix.results.schema import CaseResult
from qcmatrix.suites.declare import Mode, Need, NotApplicable, Rate, Wrong
from qcmatrix.suites.forcing import forced

__all__ = ["Bench", "Subject"]

T = TypeVar("T")
U = TypeVar("U")

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
_AT_ONCE = 16


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the server under test. ``None``: not known."""

    root: str
    """Without ``/v1``."""
    model: str
    """The name it serves the model by."""
    release: str | None = None
    """vLLM's version, as ``/version`` tells it."""
    max_model_len: int | None = None
    entry: Any = None
    """The :class:`~qcmatrix.matrix.entries.Entry`; ``None``: a server that was only named."""
    server: Any = None
    """The :class:`~qcmatrix.serving.server.Server`; ``None``: not started by us."""
    has: frozenset[Need] = frozenset()
    """Which needs of checks it meets."""
    has_key: bool = False
    """It wants an API key."""
    gpu: str | None = None
    """Name of the card in the catalogue."""
    twin: Mapping[str, CaseResult] = {}
    """Of a YaRN entry: what the newest run of its twin gave, by the check's id; empty: none."""


class Bench:
    """One check's view of one server.

    Nothing is shared between two checks but the server and its connections, so checks may run side by side.
    """

    def __init__(self, subject: Subject, wire: Wire, mode: Mode, *, seed: int = 0) -> None:
        self.subject = subject
        self.mode = mode
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311 - cases, not secrets
        self.exchanges: list[Exchange] = []
        """All that was said, in the order in which it ended."""
        self.figures: dict[str, Any] = {}
        """What was measured on the way, by name with its unit (``ttft_ms``); goes into the result."""
        self.wire = wire.keeping(self.exchanges.append)

    @property
    def streams(self) -> bool:
        """Does this run ask for a stream?"""
        return self.mode is Mode.STREAM

    # --- asking -------------------------------------------------------------------------------------------------

    def chat(self, messages: Sequence[Mapping[str, Any]] | str, *, stream: bool | None = None, **fields: Any) -> Answer:
        """One chat request, streamed or whole as the run is; ``messages`` may be the text of one user turn.

        ``temperature`` is 0 and ``seed`` the run's unless given. Extra ``fields`` go into the body; a field that is
        ``None`` is left out. ``timeout`` (seconds) is not sent, nor is the seed of a draw (another temperature than 0)
        unless the server is known to have a GPU.

        Raises:
            WireError: no whole reply.
        """
        asked = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        body, timeout, streams = self._body({"messages": asked}, stream, fields)
        if streams:
            return chat_streamed(self.wire.stream(CHAT, body, timeout=timeout))
        return chat_whole(self.wire.post(CHAT, body, timeout=timeout))

    def complete(self, prompt: str | Sequence[int], *, stream: bool | None = None, **fields: Any) -> Completion:
        """One raw completion, as :meth:`chat`; ``prompt`` is text or token ids."""
        body, timeout, streams = self._body({"prompt": prompt}, stream, fields)
        if streams:
            return completion_streamed(self.wire.stream(COMPLETIONS, body, timeout=timeout))
        return completion_whole(self.wire.post(COMPLETIONS, body, timeout=timeout))

    def say(self, text: str) -> dict[str, Any]:
        """Fields that make the model say exactly ``text`` (needs :attr:`Need.FORCING`)."""
        return forced(text, self.subject.release)

    def tokenize(self, what: str | Sequence[Mapping[str, Any]], **fields: Any) -> list[int]:
        """Token ids of a prompt, or of messages through the chat template, by the server's own ``/tokenize``.

        Raises:
            NotApplicable: the server has no such route.
        """
        key = "prompt" if isinstance(what, str) else "messages"
        reply = self.wire.post("/tokenize", {"model": self.subject.model, key: what, **fields})
        if reply.status in (404, 405):
            raise NotApplicable("the server has no /tokenize")
        body = reply.json
        if reply.status != 200 or not isinstance(body, dict) or not isinstance(body.get("tokens"), list):
            raise Wrong("/tokenize answers with tokens", f"HTTP {reply.status}: {reply.text[:200]}")
        return list(body["tokens"])

    def metric(self, name: str) -> float | None:
        """The sum over all labels of a Prometheus metric of ``/metrics``; ``None``: there is none of that name."""
        reply = self.wire.get("/metrics")
        values = [
            float(line.rsplit(" ", 1)[1])
            for line in reply.text.splitlines()
            if line.startswith(name) and line[len(name) : len(name) + 1] in ("{", " ")
        ]
        return sum(values) if reply.status == 200 and values else None

    def at_once(self, ask: Callable[[U], T], each: Sequence[U], most: int = _AT_ONCE) -> list[T]:
        """``ask`` of ``each``, up to ``most`` at the same time; the results in order."""
        with ThreadPoolExecutor(max_workers=max(1, min(most, len(each)))) as pool:
            return list(pool.map(ask, each))

    def rate(self, trial: Callable[[int], str], trials: int, threshold: float, most: int = _AT_ONCE) -> Rate:
        """``trial(seed)`` so many times: an empty text is a pass, any other says what was seen instead."""
        seen = self.at_once(trial, [self.seed * 1000 + number for number in range(trials)], most)
        misses = tuple(text for text in seen if text)
        return Rate(passes=trials - len(misses), trials=trials, threshold=threshold, misses=misses[:5])

    # --- stating ------------------------------------------------------------------------------------------------

    def expect(self, holds: object, expected: str, observed: object) -> None:
        """Raise :class:`Wrong` unless ``holds``; ``observed`` is shown shortened."""
        if not holds:
            raise Wrong(expected, _short(observed))

    def expect_ok(self, answer: Answer | Completion) -> None:
        """Status 200 and nothing wrong with the form."""
        self.expect(answer.status == 200, "HTTP 200", f"HTTP {answer.status}: {answer.error}")
        self.expect(not answer.faults, "a well-formed reply", "; ".join(answer.faults))

    def _body(
        self, start: dict[str, Any], stream: bool | None, fields: Mapping[str, Any]
    ) -> tuple[dict[str, Any], float | None, bool]:
        streams = self.streams if stream is None else stream
        more = dict(fields)
        timeout = more.pop("timeout", None)
        body = {"model": self.subject.model, "temperature": 0, "seed": self.seed, **start, **more}
        if body["temperature"] != 0 and Need.GPU not in self.subject.has:
            # vLLM's CPU build dies of a seeded draw whose prompt comes in chunks ("CPU Generator does not use offset",
            # gpu_model_runner.py; seen in 0.32.0, the same line is in 0.27.0 and 0.29.0).
            body.pop("seed")
        if streams:
            body["stream"] = True
        return {name: value for name, value in body.items() if value is not None}, timeout, streams


def _short(value: object, most: int = 2_000) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else f"{text[: most - 40]}... ({len(text)} characters)"
