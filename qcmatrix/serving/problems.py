"""What can go wrong with a server, for whoever asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from qcmatrix.errors import ExitCode, UserError

__all__ = ["BootFailed", "CannotPlace", "Ending"]

Ending = Literal["exited", "hangs", "silent", "late", "disk", "stranger", "not-run"]
"""How a start failed: the process ended by itself; told of its failure and went on; did nothing; took too long; its log
could not grow; another server answered on its port; the program could not be run."""


class CannotPlace(UserError):
    """This machine cannot serve the entry, or not now; nothing was started."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(self, reason: str, *notes: str) -> None:
        super().__init__(reason, *notes)
        self.reason = reason


class BootFailed(UserError):
    """The server was started and did not get ready; nothing of it is left."""

    exit_code = ExitCode.FINDINGS

    def __init__(
        self,
        entry: str,
        cause: str,
        *,
        log: Path,
        seconds: float,
        ending: Ending,
        rule: str | None = None,
        fingerprint: str | None = None,
        words: str = "",
        tail: tuple[str, ...] = (),
        code: int | None = None,
    ) -> None:
        shown = (*((words,) if words and words not in cause else ()), *(() if words else tail[-5:]))
        super().__init__(f"{entry}: the server did not start: {cause}", *shown, f"its log: {log}")
        self.cause = cause
        """Why, in words."""
        self.rule = rule
        """Id of the rule of qcmatrix about the same mistake; ``None``: there is none."""
        self.fingerprint = fingerprint
        """Id of the failure that the log shows; ``None``: none that is known."""
        self.words = words
        """The line of the log that tells it; keys are masked."""
        self.tail = tail
        """The last lines of the log."""
        self.log = log
        self.seconds = seconds
        """From the start of the process to its end."""
        self.ending = ending
        self.code = code
        """Exit code of the process, negative for a signal; ``None``: it was ended by us."""
