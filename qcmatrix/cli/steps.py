"""What a long command is doing: one line that moves on a terminal, one line per step elsewhere."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

__all__ = ["steps"]

_QUIET = 15.0
"""Seconds before a line that differs from the last one in its numbers only is written again."""


@contextmanager
def steps(name: str) -> Iterator[Callable[[str], None]]:
    """A function that tells the next step of ``name``, on stderr."""
    if not sys.stderr.isatty():
        yield _Lines(name).step
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(name)) as status:
        yield lambda text: status.update(escape(f"{name}: {text}"))


class _Lines:
    def __init__(self, name: str) -> None:
        self._name = name
        self._last = ""
        self._when = 0.0

    def step(self, text: str) -> None:
        shape, now = re.sub(r"\d+", "0", text), time.monotonic()
        if shape == self._last and now - self._when < _QUIET:
            return
        self._last, self._when = shape, now
        click.echo(f"{self._name}: {text}", err=True)
