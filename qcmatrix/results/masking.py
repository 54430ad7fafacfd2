"""Known secrets, masked in everything that is written down."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from qcmatrix.launch.secrets import MASK

__all__ = ["Masker", "masker"]

T = TypeVar("T")

_SHORT = 8
"""A shorter value is masked only where it stands by itself: a key ``x`` must not blacken every x."""

_OURS = frozenset({"schema", "run", "started", "trigger", "id", "mode", "suite", "profiles", "tier", "state"})
"""Fields of structs that hold words of ours: a key that happens to be ``stream`` must not change them."""


class Masker:
    """Masks its values in text, and in all text inside of lists, mappings and structs.

    A value is also found as JSON, a URL or a shell writes it. Text that is no Unicode (half of a surrogate pair, as a
    broken stream may hold) comes out escaped, so that what is masked can be written.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = frozenset(value for value in values if value.strip())
        forms = {form for value in self._values for form in _forms(value)}
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(_bounded, ordered))) if ordered else None

    def and_also(self, values: Iterable[str]) -> Masker:
        """One that masks ``values`` as well."""
        return Masker((*self._values, *values))

    def text(self, text: str) -> str:
        """``text`` with ``***`` for every value."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")

    def __call__(self, value: T) -> T:
        """``value`` masked, of the same type: text, a list, a mapping, a struct, or what holds no text at all."""
        masked: T = self._masked(value)
        return masked

    def _masked(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, msgspec.Struct):
            names = [name for name in value.__struct_fields__ if name not in _OURS]
            return msgspec.structs.replace(value, **{name: self._masked(getattr(value, name)) for name in names})
        if isinstance(value, Mapping):
            return {self._masked(name): self._masked(each) for name, each in value.items()}
        if isinstance(value, (list, set, frozenset)):
            return [self._masked(each) for each in value]
        if isinstance(value, tuple):
            return tuple(self._masked(each) for each in value)
        return value


def masker(values: Iterable[str]) -> Masker:
    """What masks ``values``; blank ones do not count."""
    return Masker(values)


def _forms(value: str) -> tuple[str, ...]:
    return (
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe=""),
        shlex.quote(value),
    )


def _bounded(form: str) -> str:
    pattern = re.escape(form)
    return pattern if len(form) >= _SHORT else rf"(?<!\w){pattern}(?!\w)"
