"""What ``qcmatrix probe --json`` prints."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = [
    "PROBE_SCHEMA",
    "EnvironmentAnswer",
    "GradedAnswer",
    "PartAnswer",
    "ProbeAnswer",
    "ProbedRelease",
    "ProblemAnswer",
]

PROBE_SCHEMA: Final = "qcmatrix.probe/1"

MarkName = Literal["agree", "disagree", "explained", "not askable", "failed"]


class GradedAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One question, what we say and what the release said."""

    part: str
    subject: str
    mark: MarkName
    count: int
    """How many answers alike this stands for."""
    question: str
    ours: str
    said: str
    why: str


class PartAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One part of the questions. The counts are of all answers that there are, the last two of what this run added."""

    part: str
    answers: int
    agree: int | None
    """``None``, as in the next four: there is nothing to hold the answers against."""
    disagree: int | None
    explained: int | None
    not_askable: int | None
    failed: int | None
    new: int
    changed: int
    seconds: float
    skipped: bool
    """It was answered before, in this very environment and by these very questions."""


class ProbedRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One vLLM."""

    release: str
    torch: str
    transformers: str
    python: str
    parts: tuple[PartAnswer, ...]
    graded: tuple[GradedAnswer, ...]
    """Disagreements and failures; with ``--rule`` every case of those rules."""
    notes: tuple[str, ...] = ()


class ProblemAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A release that could not be asked, or not to the end."""

    release: str
    what: str
    notes: tuple[str, ...]


class ProbeAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that were asked."""

    schema: Literal["qcmatrix.probe/1"]
    directory: str
    """Where the evidence is."""
    releases: tuple[ProbedRelease, ...]
    problems: tuple[ProblemAnswer, ...] = ()


class EnvironmentAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One environment, of ``--environments`` and ``--remove``."""

    release: str
    kind: str
    interpreter: str
    torch: str
    transformers: str
    made: str
    seconds: float
    bytes: int
    path: str
