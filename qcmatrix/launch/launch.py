"""The currency between all parts: a launch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

__all__ = ["Launch", "Span"]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class Span(msgspec.Struct, frozen=True):
    """Where something stands in the words of a command: argv indices [start, stop)."""

    start: int
    stop: int


class Launch(msgspec.Struct, frozen=True):
    """One ``vllm serve`` invocation.

    ``options`` holds only what was given, by argparse *dest* (``tensor_parallel_size``), with typed values: int, float,
    bool, str, list, dict or ``None``. ``unknown`` keeps the words that the release's surface does not know, in order,
    so nothing is lost.
    """

    model: str
    options: Mapping[str, Any] = msgspec.field(default_factory=lambda: _EMPTY)
    env: Mapping[str, str] = msgspec.field(default_factory=lambda: _EMPTY)
    unknown: tuple[str, ...] = ()

    @property
    def served_names(self) -> tuple[str, ...]:
        """What clients may ask for, the first of them in replies: ``--served-model-name``, else the model."""
        given = self.options.get("served_model_name")
        names = given if isinstance(given, (list, tuple)) else [given] if given else []
        return tuple(map(str, names)) or ((self.model,) if self.model else ())

    @property
    def port(self) -> int:
        """Where it listens; vLLM's default where the option is not given."""
        port = self.options.get("port")
        return port if isinstance(port, int) and not isinstance(port, bool) else 8000
