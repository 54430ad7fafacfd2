"""pytest's events as ``qcmatrix verify`` shows them: one line that moves, and each failure as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

__all__ = ["Progress", "Step"]


class Step(msgspec.Struct, frozen=True):
    """One item has ended."""

    done: int
    total: int
    id: str
    state: str
    """As in the result; ``skip`` where pytest skipped it before it was asked."""
    text: str
    """Why, for what did not pass."""
    seconds: float


class Progress:
    """A pytest plugin: hands on what happens, prints nothing."""

    def __init__(self, step: Callable[[Step], None]) -> None:
        self._step = step
        self._total = 0
        self._done = 0
        self.collected: list[str] = []
        self.problems: list[str] = []
        """What kept items from being collected."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """How many there will be."""
        self._total = len(session.items)

    def pytest_collectreport(self, report: Any) -> None:
        """A module that cannot be read."""
        if report.failed:
            self.problems.append(str(report.longrepr))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """One phase of an item."""
        if report.when == "call" or (report.when == "setup" and not report.passed):
            self._done += 1
            state = next((value for name, value in report.user_properties if name == "qc_state"), None)
            text = "" if report.passed else _text(report)
            name = report.nodeid.partition("[")[2].rstrip("]") or report.nodeid
            self._step(Step(self._done, self._total, name, str(state or report.outcome), text, float(report.duration)))
        elif report.when == "teardown" and report.failed:
            self.problems.append(_text(report))


def _text(report: Any) -> str:
    said = report.longrepr
    if isinstance(said, tuple):
        return str(said[2]).removeprefix("Skipped: ")
    return str(getattr(report, "wasxfail", "") or said or "").removeprefix("reason: ")
