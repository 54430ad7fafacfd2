"""What the cases of a run come to: a state per profile, and how many cases are in each state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from qcmatrix.results.schema import CaseResult, ProfileSummary, State

__all__ = ["PASSED", "SILENT", "profiles_of", "totals"]

SILENT = frozenset({State.SKIP, State.UNSUPPORTED})
"""These say nothing about the server, and are no passes; but where a core case was not asked, nothing is supported."""

PASSED = frozenset({State.PASS, State.XPASS})
"""The server did what a source states. That nobody expected it (``xpass``) is not its mistake."""

_FAILED = frozenset({State.FAIL, State.BLOCKED})
_OPEN = frozenset({State.FLAKY, State.ERROR, State.NOT_RUN})


def totals(cases: Iterable[CaseResult]) -> dict[State, int]:
    """How many cases are in each state; every state is there."""
    counts = dict.fromkeys(State, 0)
    for case in cases:
        counts[case.state] += 1
    return counts


def profiles_of(cases: Iterable[CaseResult]) -> dict[str, ProfileSummary]:
    """The state of every profile that a case belongs to, by name."""
    by_profile: dict[str, list[CaseResult]] = {}
    for case in cases:
        for profile in case.profiles:
            by_profile.setdefault(profile, []).append(case)
    return {profile: _summary(members) for profile, members in sorted(by_profile.items())}


def _summary(cases: Sequence[CaseResult]) -> ProfileSummary:
    asked = [case for case in cases if case.state not in SILENT]
    core = [case for case in asked if case.core]
    extended = [case for case in asked if not case.core]
    return ProfileSummary(
        core=_passes(core), extended=_passes(extended), state=_state([case for case in cases if case.core])
    )


def _passes(cases: Sequence[CaseResult]) -> tuple[int, int]:
    return sum(case.state in PASSED for case in cases), len(cases)


def _state(core: Sequence[CaseResult]) -> Literal["supported", "partial", "fail", "unknown"]:
    """Nothing but a pass of every core case is support; what could not be judged is neither pass nor failure."""
    states = {case.state for case in core} - {State.UNSUPPORTED}
    if states & _FAILED:
        return "fail"
    if states & _OPEN or not states - {State.SKIP}:
        return "unknown"
    return "supported" if states <= PASSED else "partial"
