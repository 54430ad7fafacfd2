"""What a real release did when it was asked."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Record"]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One question and what came of it. Whether we agree is not kept: it is judged anew whenever it is read.

    Exactly one of ``answer``, ``error`` and ``not_askable`` is there.
    """

    release: str
    """The vLLM that answered: ``0.28.0``; a build of one's own by its full version."""
    part: str
    """What was asked about: ``rules``, ``surface``, ``weights``, ``kv``, ``replay``, ``prompts``, ``draws``."""
    subject: str
    """Which one of the part, unique within it: ``fp8-block-cut-by-tensor-parallel/breaks/0``."""
    question: Any = None
    """What was asked, as JSON; left out where ``subject`` says it all."""
    answer: Any = None
    error: str | None = None
    """vLLM's own words, paths and addresses taken out."""
    not_askable: str | None = None
    """Why a machine without a GPU cannot tell."""
    date: str
    """The day of asking, ISO 8601."""
    torch: str
    transformers: str
