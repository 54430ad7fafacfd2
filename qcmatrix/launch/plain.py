"""JSON values and environment variables, read without surprise: what is not of the kind reads as ``None``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["environment_number", "number", "sizes", "text", "whole"]


def number(value: Any) -> float | None:
    """A number; truth values are none."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def whole(value: Any) -> int | None:
    """A whole number; fractions are cut off as Python's ``int`` does."""
    found = number(value)
    return int(found) if found is not None and abs(found) < 1e18 else None


def text(value: Any) -> str | None:
    """A text."""
    return value if isinstance(value, str) else None


def sizes(value: Any) -> tuple[int, ...] | None:
    """Some whole numbers."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(size, int) for size in value):
        return None
    return tuple(value)


def environment_number(env: Mapping[str, str], name: str) -> int | None:
    """A variable that vLLM reads with Python's ``int``; ``None``: it is not set, or vLLM could not read it either."""
    value = env.get(name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        return None
