"""A server that stalls, refuses, breaks off and spends CPU as a script says: what a real one cannot be made to do."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

LONG = 10_000
"""Characters from which on a prompt counts as long."""


class Script(msgspec.Struct):
    """What the server does; changed by a test as it goes."""

    before_first: Callable[[int], float] = lambda _: 0.0
    """Seconds, by the number of the request."""
    between: float = 0.0
    breaks_after: int | None = None
    """It closes the connection behind so many events."""
    status: int = 200
    long_takes: float = 0.0
    """Seconds that a long prompt takes; meanwhile all others wait ``beside_long`` for each token."""
    beside_long: float = 0.0
    cpu_of: Callable[[int], float] = lambda _: 0.0
    """CPU seconds that an answer of so many characters costs."""
    requests: int = 0
    hung_up: int = 0
    cpu: float = 0.0
    long_running: int = 0


@contextlib.contextmanager
def served(script: Script) -> Iterator[str]:
    """Its address while it runs. Each character is a token; a forced text that is a call comes as one."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, "text/plain", f"process_cpu_seconds_total {script.cpu:.2f}\n".encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            prompt = str(body.get("prompt") or body["messages"][-1]["content"])
            if self.path == "/tokenize":
                self._send(200, "application/json", json.dumps({"tokens": [0] * len(prompt)}).encode())
                return
            with lock:
                number, script.requests = script.requests, script.requests + 1
            if script.status != 200:
                self._send(script.status, "application/json", b'{"error": {"message": "no"}}')
                return
            long = len(prompt) >= LONG
            with lock:
                script.long_running += long
            try:
                self._stream(number, body, prompt, long)
            except (BrokenPipeError, ConnectionResetError):
                script.hung_up += 1
            finally:
                with lock:
                    script.long_running -= long

        def _stream(self, number: int, body: dict[str, Any], prompt: str, long: bool) -> None:
            self._head(200, "text/event-stream")
            time.sleep(0.0 if long else script.before_first(number))
            until = time.monotonic() + (script.long_takes if long else 0.0)
            while time.monotonic() < until:
                self.wfile.write(b": reading\n\n")  # a comment: a client that has gone is noticed
                time.sleep(0.02)
            said = str((body.get("structured_outputs") or {}).get("choice", [""])[0])
            tokens = len(said) or body["max_tokens"]
            deltas = _call(said) if said else [{"content": "x"}] * tokens
            for place, delta in enumerate(deltas):
                if script.breaks_after == place:
                    return
                self._event({"choices": [_choice(self.path, delta, None)]})
                time.sleep(script.beside_long if script.long_running and not long else script.between)
            script.cpu += script.cpu_of(len(said))
            self._event({"choices": [_choice(self.path, {}, "tool_calls" if said else "length")]})
            self._event({"choices": [], "usage": {"prompt_tokens": len(prompt), "completion_tokens": tokens}})
            self.wfile.write(b"data: [DONE]\n\n")

        def _event(self, chunk: Any) -> None:
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

        def _head(self, status: int, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()

        def _send(self, status: int, kind: str, data: bytes) -> None:
            self._head(status, kind)
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # of 5, which is the default, a burst of clients loses some for seconds

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _choice(path: str, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    if path.endswith("/chat/completions"):
        return {"delta": delta, "finish_reason": finish}
    return {"text": delta.get("content", ""), "finish_reason": finish}


def _call(said: str) -> list[dict[str, Any]]:
    """A call of one function as deltas: its name, then all of its arguments."""
    name = said.split("<function=")[1].split(">")[0]
    values = {
        part.split(">\n", 1)[0]: part.split(">\n", 1)[1].split("\n</parameter>")[0]
        for part in said.split("<parameter=")[1:]
    }
    return [
        {"tool_calls": [{"index": 0, "function": {"name": name}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": json.dumps(values)}}]},
    ]
