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
    """Exit codes of the ``qcmatrix`` command; what each means stands in :data:`EXIT_CODES`."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    UNKNOWN_NAME = 3
    BAD_FILE = 4
    ENVIRONMENT = 5
    INTERNAL = 70
    INTERRUPTED = 130


EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.OK: "answered: there is a plan, or every launch starts",
    ExitCode.FINDINGS: (
        "answered: no plan, a launch that will not serve as asked (or cannot be judged), a check that fails, or a "
        "release contradicts us"
    ),
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.UNKNOWN_NAME: "a model, GPU, release or rule that is not in the catalogue",
    ExitCode.BAD_FILE: "a file is missing, unreadable or malformed",
    ExitCode.ENVIRONMENT: (
        "a vLLM release to ask cannot be installed or started (no network, no space, a broken import), no server can "
        "be had or reached, or a result not be written"
    ),
    ExitCode.INTERNAL: "qcmatrix broke: a bug, please report it",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
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
