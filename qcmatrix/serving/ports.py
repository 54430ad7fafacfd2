"""Ports that no two servers are given at the same time."""

from __future__ import annotations

import socket

__all__ = ["HeldPort"]


class HeldPort:
    """A free port of 127.0.0.1, kept from everybody else until :meth:`release`.

    The socket is bound and does not listen: a server that sets ``SO_REUSEADDR``, as vLLM does
    (https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/entrypoints/openai/api_server.py), can still bind it, while
    the kernel gives it to nobody who asks for any free port. See https://man7.org/linux/man-pages/man7/socket.7.html.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Let go of it; more than once does no harm."""
        self._socket.close()
