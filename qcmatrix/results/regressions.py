"""The latency of an entry's newest run against its earlier runs: regressed only if it is both certain and large.

One thing is varied at a time: the same entry, the same cards, the same workload in the same shape, and the same
release, or where that has fewer than three earlier runs the nearest one below it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from qcmatrix.errors import RequestError
from qcmatrix.results.compare import release_of
from qcmatrix.results.schema import Result

__all__ = ["Move", "Shift", "move_text", "moves_of", "shift_of"]

P_MOST = 0.01
SHARE_LEAST = 0.05
RUNS_LEAST = 3
"""Starts of the server that a baseline takes: what restarts differ by is the larger part of the noise."""
_RUNS_MOST = 10
_FEWEST = 20
"""Values on each side: below, Mann-Whitney's p cannot be trusted to be small for a reason."""

Moved = Literal["same", "regressed", "improved", "unknown"]
Verdict = Literal["same", "regressed", "improved", "unknown", "fail"]


class Shift(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a metric moved."""

    state: Moved
    """``unknown``: too few values, or too few runs before."""
    before: float
    """Median, ms."""
    after: float
    allowed: float
    """A move of the median by so much (ms) is noise: 5 %, or twice the MAD of the medians of the restarts."""
    p: float | None = None
    """Mann-Whitney's, two-sided."""


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One metric of one workload in the newest run of an entry."""

    entry: str
    vllm: str
    started: str
    """Of the newest run."""
    id: str
    """Of the latency check."""
    mode: str
    metric: str
    shift: Shift
    verdict: Verdict
    """``regressed`` warns; ``fail``: the run before had regressed too, against the same baseline."""
    baseline: tuple[str, ...]
    """``RELEASE@START`` of the runs that it was held against, newest first."""


def move_text(move: Move) -> str:
    """``fail LAT-02.c4 (stream) ttft: 110.2 ms, before 100.1 (5.0 is noise; 4 runs)``."""
    shift = move.shift
    runs = "1 run" if len(move.baseline) == 1 else f"{len(move.baseline)} runs"
    return (
        f"{move.verdict} {move.id} ({move.mode}) {move.metric.removesuffix('_ms')}: {shift.after:.1f} ms, "
        f"before {shift.before:.1f} ({shift.allowed:.1f} is noise; {runs})"
    )


def shift_of(baseline: Sequence[Sequence[float]], new: Sequence[float]) -> Shift:
    """``new`` (ms per request) against ``baseline``: the same of each restart of the server that it was taken on.

    Regressed: Mann-Whitney p < 0.01 on the pooled values, and the median moved by more than the larger of 5 % and
    twice the median absolute deviation of the restarts' medians. Fewer than three restarts say nothing of that
    deviation: unknown.

    Raises:
        RequestError: scipy is not installed.
    """
    restarts = [restart for restart in baseline if restart]
    pooled = [value for restart in restarts for value in restart]
    before = statistics.median(pooled) if pooled else 0.0
    after = statistics.median(new) if new else 0.0
    if len(restarts) < RUNS_LEAST or len(pooled) < _FEWEST or len(new) < _FEWEST:
        return Shift(state="unknown", before=before, after=after, allowed=0.0)
    try:
        from scipy import stats  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise RequestError("scipy is not installed", "pip install 'qcmatrix[suites]'") from None
    medians = [statistics.median(restart) for restart in restarts]
    centre = statistics.median(medians)
    spread = statistics.median(abs(each - centre) for each in medians)
    allowed = max(SHARE_LEAST * before, 2 * spread)
    p = float(stats.mannwhitneyu(pooled, new, alternative="two-sided").pvalue)
    state: Moved = "same"
    if p < P_MOST and abs(after - before) > allowed:
        state = "regressed" if after > before else "improved"
    return Shift(state=state, before=before, after=after, allowed=allowed, p=p)


def moves_of(results: Iterable[Result]) -> tuple[Move, ...]:
    """How the newest run of each entry on each kind of cards moved; nothing of entries that ran once.

    What was measured scaled down (a server that is no product's) is left out: it is no latency of anything.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Result]] = {}
    for result in results:
        if any(_is_measured(case.figures) for case in result.cases):
            groups.setdefault((result.entry.id, tuple(sorted(result.host.gpus))), []).append(result)
    found: list[Move] = []
    for key in sorted(groups):
        newest, *before = sorted(groups[key], key=lambda run: (run.started, run.run), reverse=True)
        if before:
            found += _moves(newest, before)
    return tuple(found)


def _moves(newest: Result, before: Sequence[Result]) -> Iterator[Move]:
    mine = release_of(newest)
    own = [run for run in before if release_of(run) == mine]
    lower = [run for run in before if release_of(run) < mine]
    below = [run for run in lower if release_of(run) == max(map(release_of, lower))]
    for case in newest.cases:
        if not _is_measured(case.figures):
            continue
        shape, samples = case.figures.get("shape"), case.figures["samples"]
        for metric, values in samples.items():
            own_values, below_values = (
                [(run, told) for run in runs if (told := _values(run, case.id, case.mode, shape, metric))]
                for runs in (own, below)
            )
            verdict, shift, base = _judged(values, own_values, below_values)
            yield Move(
                entry=newest.entry.id,
                vllm=newest.entry.vllm,
                started=newest.started,
                id=case.id,
                mode=case.mode,
                metric=metric,
                shift=shift,
                verdict=verdict,
                baseline=tuple(f"{run.entry.vllm}@{run.started}" for run in base),
            )


_Measured = tuple[Result, Sequence[float]]


def _judged(
    values: Sequence[float], own: Sequence[_Measured], below: Sequence[_Measured]
) -> tuple[Verdict, Shift, list[Result]]:
    """The verdict, and what it goes by: the runs of the same release, ``own``, or of the one ``below``."""
    if own:
        # two nights running: the first of them must not be a measure of the second
        now, base = _held_against(values, own[1:], below)
        if now.state == "regressed" and _held_against(own[0][1], own[1:], below)[0].state == "regressed":
            return "fail", now, base
    shift, base = _held_against(values, own, below)
    return shift.state, shift, base


def _held_against(
    values: Sequence[float], own: Sequence[_Measured], below: Sequence[_Measured]
) -> tuple[Shift, list[Result]]:
    base = (own if len(own) >= RUNS_LEAST or not below else below)[:_RUNS_MOST]
    return shift_of([each for _, each in base], values), [run for run, _ in base]


def _values(run: Result, check: str, mode: str, shape: Any, metric: str) -> Sequence[float]:
    for case in run.cases:
        if (case.id, case.mode) == (check, mode) and _is_measured(case.figures) and case.figures.get("shape") == shape:
            values: Sequence[float] = case.figures["samples"].get(metric, ())
            return values
    return ()


def _is_measured(figures: Mapping[str, Any]) -> bool:
    return bool(figures.get("samples")) and not figures.get("scaled")
