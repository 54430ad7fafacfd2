"""What can go wrong for a user, one family per exit code.

The table in the README is generated from :data:`EXIT_CODES`.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "EXIT_CODES",
    "CatalogueError",
    "ExitCode",
    "FileProblem",
    "RequestError",
    "UserError",
]


class ExitCode(IntEnum):
    """Exit codes of the ``qcmatrix`` command."""

    OK = 0
    """The question was answered, and the answer is yes."""
    FINDINGS = 1
    """The question was answered, and the answer is no: no plan, or a launch that will not serve as asked."""
    USAGE = 2
    """The command line is wrong: an unknown option, a value that cannot be read."""
    UNKNOWN_NAME = 3
    """A model, GPU, release or rule that the catalogue does not have."""
    BAD_FILE = 4
    """A file that is missing, unreadable or not what it should be."""
    INTERNAL = 70
    """qcmatrix itself broke: please report it."""


EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.OK: "answered: there is a plan, or every launch starts",
    ExitCode.FINDINGS: "answered: no plan, or a launch that will not serve as asked (or cannot be judged)",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.UNKNOWN_NAME: "a model, GPU, release or rule that is not in the catalogue",
    ExitCode.BAD_FILE: "a file is missing, unreadable or malformed",
    ExitCode.INTERNAL: "qcmatrix broke: a bug, please report it",
}


class UserError(Exception):
    """Something the user can mend. Printed without a traceback.

    ``what`` says what is wrong and where; each of ``notes`` is one further line (why, what to do).
    """

    exit_code: ExitCode = ExitCode.USAGE

    def __init__(self, what: str, *notes: str) -> None:
        super().__init__(what)
        self.what = what
        self.notes = notes


class RequestError(UserError):
    """A wish or a value that cannot be read or contradicts another."""


class CatalogueError(UserError):
    """A name that the catalogue does not have."""

    exit_code = ExitCode.UNKNOWN_NAME


class FileProblem(UserError):
    """A file that cannot be used; every problem found in it is one note."""

    exit_code = ExitCode.BAD_FILE
