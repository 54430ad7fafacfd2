"""Does the server answer? Asked of it directly, without proxies, in a thread of its own."""

from __future__ import annotations

import http.client
import threading
import time

from qcmatrix.serving.command import HOST

__all__ = ["Prober", "answers", "is_ours"]


def answers(port: int, path: str = "/health", *, key: str | None = None, timeout: float = 5.0) -> int | None:
    """The status of a GET; ``None``: no answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_ours(port: int, key: str) -> bool:
    """Does our server listen there: one that lets in our key, which nobody else knows, and nothing without it?"""
    return answers(port, "/v1/models", key=key) == 200 and answers(port, "/v1/models") == 401


class Prober:
    """Asks ``/health`` again and again, until it is stopped; what it saw is there to read at any time."""

    def __init__(self, port: int, *, every: float, timeout: float) -> None:
        self._port, self._every, self._timeout = port, every, timeout
        self._stop = threading.Event()
        self.last_answer = time.monotonic()
        """When it answered with 200 for the last time."""
        self.missed = 0
        """Probes since then."""
        self.status: int | None = 200
        """Of the last probe."""
        self._thread = threading.Thread(target=self._run, name="qcmatrix-health", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self.status = answers(self._port, timeout=self._timeout)
            if self.status == 200:
                self.last_answer, self.missed = time.monotonic(), 0
            else:
                self.missed += 1

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
