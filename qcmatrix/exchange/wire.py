"""One client for everything that is asked of a server: httpx, no retries, every exchange kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from qcmatrix.exchange.sse import Event, EventReader

if TYPE_CHECKING:  # listing checks needs no client: httpx is imported when one is made
    import httpx

__all__ = ["Exchange", "Reply", "Streamed", "Wire", "WireError"]

_KEPT = 262_144
"""Characters of a body that an exchange keeps; a longer one is cut, with its length said."""
_CONNECT_SECONDS = 10.0


class WireError(Exception):
    """The server could not be reached, broke off, or was silent for too long: no answer that could be judged."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what came of it. Keys are in neither: they go in a header, and headers are not kept."""

    method: str
    path: str
    request: Any = None
    """The JSON body."""
    status: int | None = None
    """``None``: no reply."""
    response: str = ""
    """The body as text; of a stream all of its lines."""
    times: tuple[float, ...] = ()
    """Of a stream: seconds from the request to each event."""
    seconds: float = 0.0
    error: str = ""
    """Why there is no reply, or no whole one."""

    @property
    def digest(self) -> str:
        """Name of this exchange: SHA-256 of its canonical JSON."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply that came in one piece."""

    status: int
    text: str
    headers: dict[str, str]
    """Names in lower case."""
    seconds: float

    @property
    def json(self) -> Any:
        """Decoded; ``None`` where the body is no JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


class Streamed(msgspec.Struct, frozen=True, kw_only=True):
    """A reply that came as events."""

    status: int
    events: tuple[Event, ...]
    """Without ``[DONE]``."""
    faults: tuple[str, ...]
    """What is wrong with the form of the stream."""
    done: bool
    """Has ``[DONE]`` come?"""
    content_type: str
    text: str
    """Of a reply that is no stream (an error): its body."""
    seconds: float
    left: bool = False
    """We hung up before its end, as asked."""

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The events that are JSON objects."""
        return [chunk for event in self.events if isinstance(chunk := event.json, dict)]


class Wire:
    """Talks to the server at ``root`` (without ``/v1``). Made once per server; may be shared by threads.

    ``keep`` is given every exchange when it has ended, however it ended.
    """

    def __init__(
        self,
        root: str,
        *,
        api_key: str | None = None,
        timeout: float = 120.0,
        keep: Callable[[Exchange], None] | None = None,
    ) -> None:
        import httpx

        self.root = root.rstrip("/")
        self.timeout = timeout
        self._keep = keep
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # A connection per request: one that is kept may be closed by the server (uvicorn: after 5 s) just when it is
        # used again, and that would look like a fault of the server's.
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=0)
        # No proxies and no .netrc: the server that is named is the one that is asked.
        self._client = httpx.Client(
            base_url=self.root,
            headers=headers,
            trust_env=False,
            limits=limits,
            timeout=httpx.Timeout(timeout, connect=_CONNECT_SECONDS),
        )

    def keeping(self, keep: Callable[[Exchange], None]) -> Wire:
        """The same connections, with another keeper of exchanges."""
        other = object.__new__(Wire)
        other.root, other.timeout, other._client, other._keep = self.root, self.timeout, self._client, keep
        return other

    @property
    def authorization(self) -> dict[str, str]:
        """The header with the key, for a client of one's own; empty: none is wanted. Never kept nor shown."""
        value = self._client.headers.get("authorization")
        return {"Authorization": value} if value else {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def openai(self, timeout: float | None = None) -> Any:
        """A client of the ``openai`` package for the same server, with the same key and no retries.

        It is to be closed by who asked for it (``with``).
        """
        import openai

        key = str(self._client.headers.get("authorization", "")).removeprefix("Bearer ")
        return openai.OpenAI(
            base_url=f"{self.root}/v1",
            api_key=key or "none",
            max_retries=0,
            timeout=self.timeout if timeout is None else timeout,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def get(self, path: str, *, timeout: float | None = None) -> Reply:
        """GET ``path``.

        Raises:
            WireError: no whole reply came.
        """
        return self._ask("GET", path, None, timeout)

    def post(self, path: str, body: Any, *, timeout: float | None = None) -> Reply:
        """POST ``body`` as JSON; any status is a reply.

        Raises:
            WireError: no whole reply came.
        """
        return self._ask("POST", path, body, timeout)

    def post_text(self, path: str, text: str, *, timeout: float | None = None) -> Reply:
        """POST ``text`` as it is, called JSON whether it is or not.

        Raises:
            WireError: no whole reply came.
        """
        return self._ask("POST", path, text, timeout)

    def stream(
        self,
        path: str,
        body: Any,
        *,
        timeout: float | None = None,
        leave: Callable[[Event], bool] | None = None,
    ) -> Streamed:
        """POST ``body`` and read events until the stream ends, or ``leave`` says of one to hang up.

        ``timeout`` is the longest silence between two pieces, seconds.

        Raises:
            WireError: no reply, or it broke off on the way (connection lost, silence).
        """
        reader, raw, status, kind, left = EventReader(), bytearray(), None, "", False
        started = time.perf_counter()
        error = ""
        try:
            with self._told(), self._client.stream("POST", path, json=body, timeout=self._limit(timeout)) as response:
                status, kind = response.status_code, response.headers.get("content-type", "")
                streams = status == 200 and "text/event-stream" in kind
                for piece in response.iter_bytes():
                    raw += piece
                    if not streams:
                        continue
                    before = len(reader.events)
                    reader.feed(piece, time.perf_counter() - started)
                    if leave is not None and any(leave(event) for event in reader.events[before:]):
                        left = True
                        break
                if streams and not left:
                    reader.close()
        except WireError as problem:
            error = str(problem)
            raise
        finally:
            seconds = time.perf_counter() - started
            text = raw.decode("utf-8", "replace")
            self._keep_it(
                Exchange(
                    method="POST",
                    path=path,
                    request=body,
                    status=status,
                    response=_cut(text),
                    times=tuple(round(event.at, 6) for event in reader.events),
                    seconds=round(seconds, 6),
                    error=error,
                )
            )
        assert status is not None  # noqa: S101 - no status without a WireError
        return Streamed(
            status=status,
            events=tuple(reader.events),
            faults=tuple(reader.faults),
            done=reader.done,
            content_type=kind,
            text="" if reader.events else text,
            seconds=seconds,
            left=left,
        )

    def _ask(self, method: str, path: str, body: Any, timeout: float | None) -> Reply:
        started = time.perf_counter()
        status, text, error = None, "", ""
        try:
            with self._told():
                more: dict[str, Any] = {} if body is None else {"json": body}
                if isinstance(body, str):
                    more = {"content": body, "headers": {"content-type": "application/json"}}
                response = self._client.request(method, path, timeout=self._limit(timeout), **more)
                status, text = response.status_code, response.text
        except WireError as problem:
            error = str(problem)
            raise
        finally:
            seconds = time.perf_counter() - started
            self._keep_it(
                Exchange(
                    method=method,
                    path=path,
                    request=body,
                    status=status,
                    response=_cut(text),
                    seconds=round(seconds, 6),
                    error=error,
                )
            )
        return Reply(status=status, text=text, headers=dict(response.headers), seconds=seconds)

    def _limit(self, timeout: float | None) -> httpx.Timeout:
        import httpx

        return httpx.Timeout(self.timeout if timeout is None else timeout, connect=_CONNECT_SECONDS)

    def _keep_it(self, exchange: Exchange) -> None:
        if self._keep is not None:
            self._keep(exchange)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TimeoutException as error:
            what = "no connection" if isinstance(error, httpx.ConnectTimeout) else "silence"
            raise WireError(f"{what} for too long ({type(error).__name__})") from error
        except httpx.TransportError as error:
            raise WireError(f"the connection failed: {type(error).__name__}: {error}") from error


def _cut(text: str) -> str:
    return text if len(text) <= _KEPT else f"{text[:_KEPT]}... ({len(text)} characters)"
