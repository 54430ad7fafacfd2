"""How a check is shown able to fail, and a check of behaviour able to pass."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import msgspec

from qcmatrix.exchange.wire import Wire
from qcmatrix.suites.bench import Subject
from qcmatrix.suites.declare import Check, Mode, Need
from qcmatrix.suites.runner import Outcome, run_check
from tests.suites.proxy import Fault, Proxy

__all__ = ["Proof", "through"]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Through ``fault``, the checks that match must fail; with ``helps`` they must pass.

    A helping fault makes the real model say what a trained one would: so a check of behaviour is shown in both
    directions on random weights.
    """

    checks: tuple[str, ...]
    """Ids or patterns (``TC-14.*``)."""
    fault: Fault
    modes: tuple[Mode, ...] = ()
    """Only in these; empty: in all modes of the check."""
    helps: bool = False
    known: Callable[[Subject], Subject] | None = None
    """Changes what is known of the server (its entry, log, figures), for a check that looks there."""

    def covers(self, check: Check, mode: Mode) -> bool:
        """Does it speak of this check in this mode?"""
        return (not self.modes or mode in self.modes) and any(fnmatchcase(check.id, each) for each in self.checks)


def through(proof: Proof, check: Check, mode: Mode, subject: Subject) -> Outcome:
    """The check, asked through the fault; the model counts as trained, so that behaviour is asked too."""
    with Proxy(subject.root, proof.fault) as proxy:
        seen = msgspec.structs.replace(subject, root=proxy.root, has=subject.has | {Need.TRAINED})
        seen = proof.known(seen) if proof.known is not None else seen
        wire = Wire(proxy.root, api_key=getattr(subject.server, "api_key", None), timeout=240.0)
        try:
            return run_check(check, mode, seen, wire)
        finally:
            wire.close()
