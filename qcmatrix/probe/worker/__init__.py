"""Answers questions inside the environment of one vLLM release, over JSON lines.

This package runs under the release's own Python (3.10 or later) and has only that environment's packages: it imports
the standard library, torch and vLLM, never ``qcmatrix``. There it is called ``qcmatrix_worker``.

A handler module has ``HANDLERS = {"kind": function}``; each function takes the question (a dict) and returns the answer
(a dict that JSON can hold). :class:`NotAskable` says that a machine without a GPU cannot tell, and why; any other
exception means that the question itself could not be worked out.
"""

from __future__ import annotations

__all__ = ["NotAskable"]


class NotAskable(Exception):
    """This cannot be found out here, through no fault of the release; the text says why."""
