"""Server-sent events as they come: what they carry, when, and what is wrong with their form.

The form that vLLM serves, and that OpenAI's clients read: lines ``data: JSON``, an empty line behind each,
``data: [DONE]`` once and last; comment lines begin with ``:``
(https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

__all__ = ["DONE", "Event", "EventReader"]

DONE = "[DONE]"


class Event(msgspec.Struct, frozen=True):
    """One ``data:`` line."""

    at: float
    """Seconds since the request was sent, when its last byte had come."""
    data: str

    @property
    def json(self) -> Any:
        """Decoded; ``None`` where it is no JSON (a fault of the stream says so)."""
        try:
            return json.loads(self.data)
        except ValueError:
            return None


class EventReader:
    """Takes a stream's bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._done = 0
        self._cut_inside = False
        self.events: list[Event] = []
        """All but ``[DONE]``."""
        self.faults: list[str] = []

    def feed(self, data: bytes, at: float) -> None:
        """More bytes, ``at`` seconds after the request."""
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._line(line.rstrip(b"\r"), at)

    def close(self) -> None:
        """No more bytes come."""
        if self._rest.strip():
            self._fault(f"the stream ends inside a line: {_short(self._rest)}")
        if self._done == 0:
            self._fault("no [DONE] at the end")

    @property
    def done(self) -> bool:
        """Has ``[DONE]`` come?"""
        return self._done > 0

    def _line(self, line: bytes, at: float) -> None:
        if not line or line.startswith(b":"):
            return
        if not line.startswith(b"data:"):
            self._fault(f"a line that is no data: {_short(line)}")
            return
        try:
            text = line[5:].decode("utf-8").removeprefix(" ")
        except UnicodeDecodeError:
            self._fault(f"a line that is not UTF-8: {_short(line)}")
            return
        if text == DONE:
            self._done += 1
            if self._done > 1:
                self._fault("[DONE] comes again")
            return
        if self._done:
            self._fault(f"data after [DONE]: {_short(line)}")
        event = Event(at, text)
        if not isinstance(event.json, dict):
            self._fault(f"data that is no JSON object: {_short(line)}")
        self.events.append(event)

    def _fault(self, text: str) -> None:
        if text not in self.faults:
            self.faults.append(text)


def _short(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return text if len(text) <= 100 else f"{text[:97]}..."
