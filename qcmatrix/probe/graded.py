"""What a record comes to when it is held against what we say today: the common coin of all parts."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Graded", "Mark"]


class Mark(StrEnum):
    """Of one answer, or of several alike."""

    AGREE = "agree"
    DISAGREE = "disagree"
    EXPLAINED = "explained"
    """It differs, for a reason that is written down."""
    NOT_ASKABLE = "not askable"
    """A machine without a GPU cannot tell, or the answer says nothing about the question."""
    FAILED = "failed"
    """The question could not be worked out: our worker broke over it, crashed or took too long."""


class Graded(msgspec.Struct, frozen=True, kw_only=True):
    """One answer judged. A part's module says them: ``graded(records, release) -> Iterable[Graded]``."""

    subject: str
    mark: Mark
    count: int = 1
    """How many answers alike this stands for."""
    question: str = ""
    """What was asked, for a person: a command and the GPUs."""
    ours: str = ""
    """What we say."""
    said: str = ""
    """What the release did or said."""
    why: str = ""
    """What differs, or why nothing can be said."""
