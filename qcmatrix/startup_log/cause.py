"""Which of the failures in a start is its cause."""

from __future__ import annotations

import msgspec

from qcmatrix.startup_log.fingerprints import match_place
from qcmatrix.startup_log.reader import Attempt, Failed, Raised

__all__ = ["Cause", "cause_of"]

_PORT = "port-in-use"
_ENDS = frozenset({"KeyboardInterrupt", "SystemExit"})


class Cause(msgspec.Struct, frozen=True):
    """Why a start failed. Exactly one of ``known``, ``raised`` is set, or neither where nothing tells it."""

    known: Failed | None = None
    raised: Raised | None = None
    """An exception that no fingerprint matches."""
    symptoms: tuple[Failed, ...] = ()
    """What followed from it."""
    others: tuple[Failed, ...] = ()
    """Further failures that are no symptoms, in case the first is believed wrongly."""
    after_serving: bool = False
    """It had started, and failed later."""


def cause_of(attempt: Attempt) -> Cause | None:
    """The root cause of ``attempt``; ``None``: nothing failed.

    Of what a fingerprint matches, the highest tier counts, then the earliest line: other ranks fail after the first,
    and ``Engine core initialization failed. See root cause above`` comes last. Errors before the server listens that
    did not stop it are none.
    """
    served = attempt.served_line
    failed = [each for each in attempt.failed if not served or each.line > served]
    raised = [each for each in attempt.raised if not served or each.line > served]
    if served:
        # A server at work prints errors of requests, which are not of a start: only what ends it counts.
        failed = [each for each in failed if each.match.fingerprint.kind == "symptom" or _ends_a_server(each)]
        if not failed:
            return None
    symptoms = tuple(each for each in failed if each.match.fingerprint.kind == "symptom")
    causes = [each for each in failed if each.match.fingerprint.kind == "cause"]
    told = [each for each in failed if each.match.fingerprint.kind == "told"]
    unknown = _unmatched(raised, failed, attempt)
    strong = [each for each in causes if each.match.fingerprint.tier > 1]
    weak = [each for each in causes if each.match.fingerprint.tier <= 1]
    best = _best(strong)
    if best is None and unknown is None:
        best = _best(weak)
    elif best is None and weak and unknown is not None:
        earliest = _best(weak)
        # A weak fingerprint (a process that crashed) tells less than an exception that came before it.
        best = earliest if earliest is not None and earliest.line <= unknown.line else None
    # The front end says that its start-up is complete, and binds its port then.
    after = bool(served) and not (best is not None and best.match.fingerprint.id == _PORT)
    if best is not None:
        others = tuple(each for each in causes if each is not best)
        return Cause(best, None, symptoms, others, after)
    if unknown is not None:
        placed = _by_place(unknown)
        if placed is not None:
            return Cause(placed, None, symptoms, (), after)
        return Cause(None, unknown, symptoms, (), after)
    if told and not served:
        return Cause(told[0], None, symptoms, tuple(told[1:]), after)
    if symptoms:
        return Cause(None, None, symptoms, (), after)
    # A line of level ERROR that the start went on after was none of its end.
    complaints = [each for each in attempt.complaints if each.line > attempt.stage_line]
    return Cause(None, complaints[0], (), (), after) if complaints and not served else None


def _by_place(raised: Raised) -> Failed | None:
    """An exception that is known by where it was raised only."""
    text = ": ".join(part for part in (raised.type, raised.message) if part)
    match = match_place(raised.where, text)
    return None if match is None else Failed(match, raised.line, raised.process, text, "", raised.where)


def _ends_a_server(failed: Failed) -> bool:
    fingerprint = failed.match.fingerprint
    return fingerprint.kind == "cause" and (fingerprint.outcome == "oom" or fingerprint.id == _PORT)


def _best(failed: list[Failed]) -> Failed | None:
    return min(failed, key=lambda each: (-each.match.fingerprint.tier, each.line), default=None)


def _unmatched(raised: list[Raised], failed: list[Failed], attempt: Attempt) -> Raised | None:
    """The first exception that no fingerprint matches, behind the last sign of progress if any is.

    That its words could be a person's as well (``told``) does not make them so: they are the engine's.
    """
    lines = {each.line for each in failed if each.match.fingerprint.kind != "told"}
    unknown = [each for each in raised if each.line not in lines and each.type not in _ENDS]
    later = [each for each in unknown if each.line > attempt.stage_line]
    # Other ranks may go on for a while; but where nothing ended, what the start went on after was caught.
    return next(iter(later or (unknown if failed else ())), None)
