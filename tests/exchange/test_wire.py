"""The client against a server that misbehaves in each way."""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qcmatrix.exchange.curl import curl_of
from qcmatrix.exchange.wire import Exchange, Wire, WireError

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def take_request(connection: socket.socket) -> None:
    """Take the whole request: to close a socket on bytes that were never read resets the connection."""
    with connection.makefile("rb") as taken:
        length = 0
        while (line := taken.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        taken.read(length)


@contextmanager
def serving(*pieces: bytes, hold: bool = False) -> Iterator[str]:
    """One reply, byte for byte; then the connection closes, or is held open in silence."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            take_request(connection)
            for piece in pieces:
                connection.sendall(piece)
            if hold:
                over.wait(20)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join(5)
        listener.close()


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_a_stream_is_kept_with_its_times_and_without_the_key() -> None:
    kept: list[Exchange] = []
    with serving(HEAD, chunked(b"data: {}\n\ndata: [DONE]\n\n"), b"0\r\n\r\n") as root:
        wire = Wire(root, api_key="a-secret-key", keep=kept.append)
        got = wire.stream("/v1/chat/completions", {"stream": True})
        wire.close()
    assert (got.status, got.done, got.chunks, got.faults) == (200, True, [{}], ())
    assert len(kept[0].times) == 1
    assert "a-secret-key" not in repr(kept)


@pytest.mark.parametrize(
    ("pieces", "hold"),
    [
        ((HEAD, chunked(b"data: {}\n\n")), False),  # broken off
        ((HEAD, chunked(b"data: {}\n\n")), True),  # silent
        ((b"HTTP/1.1 200 OK\r\n",), False),
        ((b"nonsense\r\n\r\n",), False),
    ],
)
def test_what_is_no_whole_reply_is_an_error_that_is_kept(pieces: tuple[bytes, ...], hold: bool) -> None:
    kept: list[Exchange] = []
    with serving(*pieces, hold=hold) as root:
        wire = Wire(root, timeout=0.5, keep=kept.append)
        with pytest.raises(WireError):
            wire.stream("/v1/chat/completions", {})
        wire.close()
    assert kept[0].error


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    wire = Wire(f"http://127.0.0.1:{port}")
    with pytest.raises(WireError, match="connection failed"):
        wire.get("/health")
    wire.close()


def test_hanging_up_is_no_fault() -> None:
    with serving(HEAD, chunked(b'data: {"a": 1}\n\n'), hold=True) as root:
        wire = Wire(root, timeout=5)
        got = wire.stream("/v1/completions", {}, leave=lambda _: True)
        wire.close()
    assert got.left
    assert got.faults == ()


def test_curl_says_the_same_request_and_no_key() -> None:
    exchange = Exchange(method="POST", path="/v1/chat/completions", request={"stream": True, "x": "it's"})
    words = shlex.split(curl_of(exchange, "http://h:1", has_key=True))
    assert words[words.index("-d") + 1] == '{"stream": true, "x": "it\'s"}'
    assert "Authorization: Bearer $API_KEY" in words
    assert "-N" in words
