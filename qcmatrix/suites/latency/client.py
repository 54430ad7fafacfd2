"""The client that measures: bytes and the time they came at, nothing else while a run lasts.

One connection per request, opened before the clock starts; raw asyncio. Each piece of a reply is kept with its time
and read only when the run is over (HTTP by h11, events by :class:`~qcmatrix.exchange.sse.EventReader`), so parsing one
reply does not delay the clock of another.

What it adds, against a loopback server that writes the time into each event every 5 ms (2 busy cores, client and server
in Python; median, 95th percentile of the delay from written to timed; CPU per event while the run lasts):

======== ================= ======= ================= =======
streams  this client       CPU     httpx.AsyncClient CPU
======== ================= ======= ================= =======
1        0.15 ms, 0.2 ms   90 us   0.24 ms, 0.4 ms   420 us
16       0.3 ms, 2.5 ms    25 us   1 ms, 5 ms        100 us
64       1.1 ms, 5 ms      17 us   170 to 630 ms     30 us
======== ================= ======= ================= =======

At 64 streams of 200 events a second httpx cannot keep up; that is why it does not measure here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

import h11
import msgspec

from qcmatrix.exchange.sse import EventReader
from qcmatrix.suites.latency.record import Record, read_events

__all__ = ["Ask", "Client", "Run"]

_CONNECT_SECONDS = 10.0
_EVENT = b'data: {"'


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One streamed request to make."""

    path: str
    body: Mapping[str, Any]
    leave_after: int | None = None
    """Hang up when so many events have come; ``None``: stay to the end."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What came of several requests."""

    records: tuple[Record, ...]
    """In the order in which they were asked for."""
    seconds: float
    """From the first request to the end of the last reply."""
    beside: tuple[Record, ...] = ()
    """Of the requests that ran beside them; the last of them was cut off when they ended (``left``)."""


class Client:
    """Asks the server at ``root`` (without ``/v1``).

    ``headers`` go with each request; one that takes longer than ``timeout`` (seconds) is given up.
    """

    def __init__(self, root: str, *, headers: Mapping[str, str] | None = None, timeout: float = 600.0) -> None:
        self._root: SplitResult = urlsplit(root)
        self._headers = dict(headers or {})
        self._timeout = timeout

    def closed(self, asks: Sequence[Ask], concurrency: int, *, beside: Iterable[Ask] = ()) -> Run:
        """All of ``asks``, ``concurrency`` at a time: the next one is sent when one has ended.

        ``beside``: asked one after the other at the same time, from just before the first until the last has ended.
        """
        return asyncio.run(self._closed(asks, concurrency, iter(beside)))

    def timed(self, asks: Sequence[Ask], at: Sequence[float]) -> Run:
        """Each of ``asks`` at its time (seconds from the start), however many are still running."""
        return asyncio.run(self._timed(asks, at))

    async def _closed(self, asks: Sequence[Ask], concurrency: int, beside: Iterator[Ask]) -> Run:
        raws: list[_Raw | None] = [None] * len(asks)
        others: list[_Raw] = []
        waiting = iter(enumerate(asks))

        async def worker() -> None:
            for number, ask in waiting:
                raws[number] = raw = _Raw(ask)
                await self._one(raw)

        async def background(begun: asyncio.Event) -> None:
            for ask in beside:
                others.append(_Raw(ask))
                await self._one(others[-1], begun)
                if not others[-1].accepted:  # it would be refused again and again, as fast as it can be asked
                    break
            begun.set()

        begun = asyncio.Event()
        load = asyncio.create_task(background(begun))
        await begun.wait()
        await asyncio.gather(*(worker() for _ in range(min(concurrency, len(asks)))))
        load.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await load
        return _run([raw for raw in raws if raw is not None], others)

    async def _timed(self, asks: Sequence[Ask], at: Sequence[float]) -> Run:
        started = time.perf_counter()

        async def later(ask: Ask, when: float) -> _Raw:
            await asyncio.sleep(max(0.0, started + when - time.perf_counter()))
            raw = _Raw(ask)
            await self._one(raw)
            return raw

        return _run(list(await asyncio.gather(*(later(ask, when) for ask, when in zip(asks, at, strict=True)))))

    async def _one(self, raw: _Raw, begun: asyncio.Event | None = None) -> None:
        loop = asyncio.get_running_loop()
        secure = self._root.scheme == "https"
        transport: asyncio.Transport | None = None
        data = self._request(raw.ask)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                transport, _ = await loop.create_connection(
                    lambda: raw,
                    self._root.hostname or "",
                    self._root.port or (443 if secure else 80),
                    ssl=ssl.create_default_context() if secure else None,
                )
            raw.sent = time.perf_counter()
            transport.write(data)
            if begun is not None:
                begun.set()
            async with asyncio.timeout(self._timeout):
                await raw.over
        except TimeoutError:
            what = "no connection" if transport is None else "not done"
            raw.error = f"{what} after {self._timeout if transport else _CONNECT_SECONDS:g} s"
        except asyncio.CancelledError:
            raw.left = True
            raise
        except OSError as error:
            raw.error = f"the connection failed: {type(error).__name__}: {error}"
        finally:
            raw.ended = time.perf_counter()
            if transport is not None:
                transport.abort()
            if begun is not None:
                begun.set()

    def _request(self, ask: Ask) -> bytes:
        body = json.dumps(ask.body).encode()
        lines = [
            f"POST {self._root.path.rstrip('/')}{ask.path} HTTP/1.1",
            f"Host: {self._root.netloc.rpartition('@')[2]}",
            "Accept: text/event-stream",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self._headers.items()),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Raw(asyncio.Protocol):
    """A reply as it came."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.pieces: list[tuple[float, bytes]] = []
        self.sent: float | None = None
        self.ended = 0.0
        self.error = ""
        self.left = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._seen = 0

    @property
    def accepted(self) -> bool:
        """Does the reply begin with status 200?"""
        return bool(self.pieces) and self.pieces[0][1].startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))

    def data_received(self, data: bytes) -> None:
        self.pieces.append((time.perf_counter(), data))
        if self.ask.leave_after is None:
            return
        self._seen += data.count(_EVENT)
        if self._seen >= self.ask.leave_after and not self.over.done():
            self.left = True
            self.over.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self.left:
            self.error = f"the connection broke: {type(error).__name__}: {error}"
        if not self.over.done():
            self.over.set_result(None)


def _run(raws: Sequence[_Raw], others: Sequence[_Raw] = ()) -> Run:
    starts = [raw.sent for raw in raws if raw.sent is not None]
    start = min(starts, default=0.0)
    return Run(
        records=tuple(_record(raw, start) for raw in raws),
        seconds=max((raw.ended for raw in raws), default=start) - start if starts else 0.0,
        beside=tuple(_record(raw, start) for raw in others if raw.sent is not None or not raw.left),
    )


def _record(raw: _Raw, start: float) -> Record:
    if raw.sent is None:
        return Record(error=raw.error or "not sent")
    sent = raw.sent - start
    status, problem, events, body = _http(raw.pieces, raw.sent, whole=not (raw.left or raw.error))
    if status == 200 and not events.events and body.strip():
        problem = problem or f"no stream: {body[:200].decode('utf-8', 'replace')}"
    if status != 200:
        return Record(
            sent=sent,
            status=status,
            error=raw.error or problem or body[:2000].decode("utf-8", "replace") or "no reply",
            left=raw.left,
        )
    if not raw.left:
        events.close()
    faults = events.faults + ([problem] if problem else [])
    return read_events(events.events, faults, sent=sent, error=raw.error, left=raw.left)


def _http(
    pieces: Sequence[tuple[float, bytes]], sent: float, *, whole: bool
) -> tuple[int | None, str, EventReader, bytes]:
    """Status, what is wrong with the HTTP, events with their times since ``sent``, and the body of no stream."""
    reader, status, body, streams = EventReader(), None, bytearray(), False
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    try:
        for at, data in (*pieces, *(((pieces[-1][0] if pieces else sent, b""),) if whole else ())):
            connection.receive_data(data)
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    status = event.status_code
                    kinds = [value for name, value in event.headers if name == b"content-type"]
                    streams = status == 200 and any(b"text/event-stream" in kind for kind in kinds)
                elif isinstance(event, h11.Data) and streams:
                    reader.feed(bytes(event.data), at - sent)
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                    break
    except h11.RemoteProtocolError as error:
        return status, f"broken HTTP: {error}", reader, bytes(body)
    return status, "", reader, bytes(body)
