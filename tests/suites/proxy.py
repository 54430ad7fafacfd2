"""A proxy before a real server: passes everything on, and does one thing wrong.

The only mock in the project. A fault changes what the client sent, or what the server said; all the rest is real.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import msgspec

from qcmatrix.suites.forcing import forced

Body = dict[str, Any]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong. Each hook is given the path and the client's JSON body first."""

    name: str
    request: Callable[[str, Body], Body] | None = None
    """Another body for the server."""
    answer: Callable[[str, Body], tuple[int, str] | None] | None = None
    """Status and body given at once, the server is not asked; ``None``: it is."""
    whole: Callable[[str, Body, Any], Any] | None = None
    """Another JSON body for a reply that is not streamed (also of GET; the client's body is then empty)."""
    events: Callable[[str, Body, Iterator[str]], Iterator[str | bytes]] | None = None
    """Other events for a stream: the text behind ``data: `` (``[DONE]`` included); bytes are sent as they are."""
    paths: tuple[str, ...] = ("/v1/chat/completions", "/v1/completions")
    """Where it strikes; the query is left aside."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of 5, which is the default, a burst of clients loses some for seconds


class Proxy:
    """Serves ``fault`` before the server at ``upstream`` while it is entered; ``root`` is its address."""

    def __init__(self, upstream: str, fault: Fault) -> None:
        self._client = httpx.Client(base_url=upstream, trust_env=False, timeout=300.0)
        self._server = _Server(("127.0.0.1", 0), _handler(self._client, fault))
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()


def _handler(client: httpx.Client, fault: Fault) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._pass_on({})

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            try:
                body = json.loads(raw) if raw else {}
            except ValueError:
                body = None
            self._pass_on(body if isinstance(body, dict) else {}, raw)

        def _pass_on(self, body: Body, raw: bytes = b"") -> None:
            strikes = self.path.partition("?")[0] in fault.paths
            if strikes and fault.answer is not None and (given := fault.answer(self.path, body)) is not None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._send(given[0], given[1].encode(), "application/json")
                return
            if strikes and fault.request is not None:
                body = fault.request(self.path, body)
                raw = json.dumps(body).encode()
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() in ("authorization", "content-type", "accept", "x-api-key", "anthropic-version")
            }
            with (
                contextlib.suppress(BrokenPipeError, ConnectionResetError),
                client.stream(self.command, self.path, content=raw or None, headers=headers) as reply,
            ):
                kind = reply.headers.get("content-type", "")
                if "text/event-stream" in kind and strikes and fault.events is not None:
                    self._send_events(reply, body, kind)
                elif "text/event-stream" in kind:
                    self._send_pieces(reply.iter_raw(), reply.status_code, kind)
                else:
                    text = reply.read()
                    if strikes and fault.whole is not None and "json" in kind:
                        text = json.dumps(fault.whole(self.path, body, json.loads(text))).encode()
                    self._send(reply.status_code, text, kind)

        def _send(self, status: int, data: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _send_events(self, reply: httpx.Response, body: Body, kind: str) -> None:
            assert fault.events is not None
            payloads = (line[6:].decode() for line in _lines(reply.iter_bytes()) if line.startswith(b"data: "))
            made = fault.events(self.path, body, payloads)
            pieces = (each if isinstance(each, bytes) else f"data: {each}\n\n".encode() for each in made)
            self._send_pieces(pieces, reply.status_code, kind)

        def _send_pieces(self, pieces: Iterator[bytes], status: int, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                if piece:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

    return Handler


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Lines that end in a line feed, and nowhere else: a text may hold U+2028 and its like."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.rstrip(b"\r") for line in lines)


def on_chunks(
    change: Callable[[Body], Body | list[Body] | None],
) -> Callable[[str, Body, Iterator[str]], Iterator[str]]:
    """An ``events`` hook that changes each chunk: another one, several, or ``None`` to drop it."""

    def events(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str | bytes]:
        for payload in payloads:
            if payload == "[DONE]":
                yield payload
                continue
            changed = change(json.loads(payload))
            for chunk in changed if isinstance(changed, list) else [changed]:
                if chunk is not None:
                    yield json.dumps(chunk, ensure_ascii=False)

    return events


def says(text: str | Callable[[Body], str | None]) -> Callable[[str, Body], Body]:
    """A ``request`` hook that makes the real model say ``text``: a model that can do what is asked, or that cannot."""

    def request(_: str, body: Body) -> Body:
        told = text(body) if callable(text) else text
        if told is None:
            return body
        return {**body, **forced(told, None)}

    return request
