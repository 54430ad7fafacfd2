"""vLLM versions and half-open ranges of them, by plain comparison.

``packaging`` specifier sets leave pre-releases out in surprising ways (``0.11.0rc1`` is in neither
``<0.11.0`` nor ``>=0.11.0``), so a range here is two bounds and ``<=`` / ``<``.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from packaging.version import InvalidVersion, Version

from qcmatrix.errors import RequestError

__all__ = ["Range", "Version", "parse_version"]


@lru_cache(maxsize=512)
def parse_version(text: str) -> Version:
    """The version that ``text`` names (a leading ``v`` is allowed).

    Raises:
        RequestError: ``text`` is not a PEP 440 version.
    """
    try:
        return Version(text)
    except InvalidVersion:
        raise RequestError(
            f"{text!r} is not a vLLM version", "give one like `0.33.0`; `qcmatrix releases` lists them"
        ) from None


class Range(msgspec.Struct, frozen=True):
    """Releases from ``low`` (included) to ``high`` (left out); ``None`` is an open end."""

    low: str | None = None
    high: str | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and not parse_version(self.low) < parse_version(self.high):
            raise ValueError(f"an empty range: {self.low} to {self.high}")

    def __contains__(self, version: Version) -> bool:
        return (self.low is None or parse_version(self.low) <= version) and (
            self.high is None or version < parse_version(self.high)
        )

    def __str__(self) -> str:
        match self.low, self.high:
            case None, None:
                return "all releases"
            case low, None:
                return f"{low} and later"
            case None, high:
                return f"before {high}"
            case low, high:
                return f"{low} up to, not including, {high}"
