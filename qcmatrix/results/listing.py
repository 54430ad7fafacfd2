"""What ``qcmatrix results`` tells of a directory of results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from qcmatrix.results.compare import Comparison
from qcmatrix.results.regressions import Move
from qcmatrix.results.schema import ProfileSummary, Result
from qcmatrix.results.summary import totals

__all__ = ["ResultsAnswer", "RunAnswer", "run_answer", "stands_for"]


class RunAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One result in short."""

    entry: str
    vllm: str
    fleet: str
    run: str
    started: str
    ended: str
    """Empty: it was cut off."""
    booted: bool | None
    """``None``: the server ran already."""
    cause: str
    """Why it did not start."""
    states: dict[str, int]
    """How many cases are in each state; those with none are left out."""
    profiles: dict[str, ProfileSummary]


class ResultsAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``qcmatrix results --json`` prints."""

    schema: Literal["qcmatrix.results/1"] = "qcmatrix.results/1"
    results: tuple[RunAnswer, ...] = ()
    """By entry, the oldest first."""
    difference: Comparison | None = None
    """Of two results, with ``--diff``."""
    moves: tuple[Move, ...] = ()
    """How the latency of the newest runs moved, with ``--regressions``."""


def run_answer(result: Result) -> RunAnswer:
    """``result`` in short."""
    boot = result.boot
    return RunAnswer(
        entry=result.entry.id,
        vllm=result.entry.vllm,
        fleet=result.entry.fleet,
        run=result.run,
        started=result.started,
        ended=result.ended,
        booted=None if boot is None else boot.ok,
        cause="" if boot is None else boot.cause,
        states={state.value: count for state, count in totals(result.cases).items() if count},
        profiles=result.profiles,
    )


def stands_for(results: Iterable[Result], text: str) -> tuple[Result, ...]:
    """The results that ``text`` may mean: ``ENTRY`` (its newest), ``ENTRY@RELEASE`` (the newest of that), the start of
    a run's id or start, or ``ENTRY@`` and such a start."""
    ordered = sorted(results, key=lambda each: each.started)
    entry, at, which = text.partition("@")
    if not at:
        of_entry = [each for each in ordered if each.entry.id == text]
        return tuple(of_entry[-1:]) or tuple(each for each in ordered if _is(each, text))
    of_entry = [each for each in ordered if each.entry.id == entry]
    of_release = [each for each in of_entry if each.entry.vllm == which]
    return tuple(of_release[-1:]) or tuple(each for each in of_entry if _is(each, which))


def _is(result: Result, start: str) -> bool:
    """Is it of that run, or of that time?"""
    return bool(start) and (result.run.startswith(start) or result.started.startswith(start))
