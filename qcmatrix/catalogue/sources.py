"""Where a fact comes from."""

from __future__ import annotations

import datetime

import msgspec

__all__ = ["Source"]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One public place that states a fact, and the day it was read there."""

    url: str
    date: datetime.date
    """The day it was read."""
    quote: str = ""
    """The words that state it, short."""
