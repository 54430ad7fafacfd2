"""``reports/served.md``: what real servers did, from the results in ``reports/runs``. The same files, the same page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from qcmatrix.matrix.entries import CPU, Entry
from qcmatrix.report.served_latency import latency_lines, move_lines
from qcmatrix.results.compare import compare, release_of
from qcmatrix.results.regressions import Move, moves_of
from qcmatrix.results.schema import CaseResult, Result, State
from qcmatrix.results.summary import PASSED, SILENT, totals
from qcmatrix.suites.items import REFUSAL

__all__ = ["served_page"]

_MOST = 40
"""Cases of one list that are shown; the result has the others."""
_SHOWN = 160
"""Characters of what was observed."""
_CAUSE = 400
"""Characters of why a server did not start."""
_HOW = (
    "`qcmatrix verify ENTRY` serves one entry, `pytest -m cpu` all that need no GPU, `pytest -m h200` all for that",
    "card. Each writes its results to `reports/runs`; `python -m qcmatrix.report --write` makes this page of them.",
)


def served_page(results: Sequence[Result], entries: Sequence[Entry]) -> str:
    """The page, as Markdown; ``entries`` are those of ``matrix.toml``, of which some may not have been served yet."""
    lines = ["# What was served", ""]
    groups = _groups(results)
    if not groups:
        lines += ["Nothing has been served yet.", "", *_HOW, ""]
    else:
        lines += [
            "Of each entry of `matrix.toml` and each vLLM release the newest run. `supported`: every core case of the",
            "profile passed; `partial`: what failed is expected to, with an issue; `unknown`: something is open.",
            "",
            *_HOW,
            "",
            *_overview(groups),
        ]
        moves = moves_of(results)
        for runs in groups:
            lines += _section(runs, results, moves)
    lines += _not_served(results, entries)
    return "\n".join(lines).rstrip("\n") + "\n"


def _groups(results: Sequence[Result]) -> list[list[Result]]:
    """The runs of each entry and release, newest first; entries by id, newest release first."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        found.setdefault((result.entry.id, result.entry.vllm), []).append(result)
    ordered = sorted(found.items(), key=lambda each: release_of(each[1][0]), reverse=True)
    ordered.sort(key=lambda each: each[0][0])
    return [sorted(runs, key=lambda run: (run.started, run.run), reverse=True) for _, runs in ordered]


def _overview(groups: Sequence[Sequence[Result]]) -> Iterator[str]:
    yield "| Entry | vLLM | On | Served | Start | Cases passed | Profiles |"
    yield "|---|---|---|---|---|---|---|"
    for runs in groups:
        run = runs[0]
        asked = [case for case in run.cases if case.state not in SILENT]
        passed = sum(case.state in PASSED for case in asked)
        profiles = ", ".join(f"{name} {summary.state}" for name, summary in run.profiles.items())
        yield (
            f"| [{run.entry.id}](#{_anchor(_title(run))}) | {run.entry.vllm} | {run.entry.fleet} | {run.started[:10]} "
            f"| {_start(run)} | {passed} of {len(asked)} | {profiles or 'none asked'} |"
        )
    yield ""


def _section(runs: Sequence[Result], results: Sequence[Result], moves: Sequence[Move]) -> Iterator[str]:
    run = runs[0]
    host = run.host
    where = ", ".join(
        part
        for part in (
            _cards(host.gpus),
            f"driver {host.driver}" if host.driver else "",
            f"CUDA {host.cuda}" if host.cuda else "",
            host.platform,
        )
        if part
    )
    cut = "" if run.ended else " It was cut off."
    yield f"## {_title(run)}"
    yield ""
    yield f"Run `{run.run[:8]}` of {run.started}, {run.trigger}, on {where or 'a machine that is not told'}.{cut}"
    if run.entry.resolved:
        told = ", ".join(f"{name} {_figure(value)}" for name, value in run.entry.resolved.items() if value is not None)
        yield f"The server's own words: {told}."
    yield ""
    yield from _boot(run)
    yield from _profiles(run)
    yield from _failures(run.cases)
    yield from latency_lines(run.cases)
    yield from move_lines(
        move for move in moves if (move.entry, move.vllm, move.started) == (run.entry.id, run.entry.vllm, run.started)
    )
    before = _before(runs, results)
    if before is not None:
        yield from _changes(before, run)


def _boot(run: Result) -> Iterator[str]:
    boot = run.boot
    if boot is None:
        yield "The server was running already."
        yield ""
        return
    if not boot.ok:
        said = "It refused to start, as expected" if _is_expected(run) else "It did not start"
        yield f"{said}: {_cell(boot.cause, _CAUSE) or 'no cause is known'} (after {boot.seconds:.0f} s)."
        yield ""
    names = [name for name in boot.measured if name in boot.predicted]
    others = [name for name in boot.measured if name not in boot.predicted]
    if names:
        yield "| Start | measured | predicted | inside |"
        yield "|---|---|---|---|"
        for name in names:
            measured, (low, mid, high) = boot.measured[name], boot.predicted[name]
            inside = "yes" if low - 0.005 <= measured <= high + 0.005 else "**no**"
            yield (f"| {name} | {_figure(measured)} | {_figure(mid)} ({_figure(low)} to {_figure(high)}) | {inside} |")
        yield ""
    if others:
        yield "Measured, not predicted: " + ", ".join(f"{name} {_figure(boot.measured[name])}" for name in others) + "."
        yield ""


def _profiles(run: Result) -> Iterator[str]:
    if not run.profiles:
        return
    yield "| Profile | State | Core | Extended |"
    yield "|---|---|---|---|"
    for name, summary in run.profiles.items():
        core, extended = summary.core, summary.extended
        yield f"| {name} | {summary.state} | {core[0]} of {core[1]} | {extended[0]} of {extended[1]} |"
    yield ""
    silent = {state.value: count for state, count in totals(run.cases).items() if count and state in SILENT}
    if silent:
        yield "Not counted: " + ", ".join(f"{count} {state}" for state, count in silent.items()) + "."
        yield ""


def _failures(cases: Iterable[CaseResult]) -> Iterator[str]:
    """What did not pass. What was never asked has one reason for all: a line for each reason."""
    told = [case for case in cases if case.state not in SILENT and case.state is not State.PASS]
    together: dict[tuple[State, str], list[CaseResult]] = {}
    alone: list[CaseResult] = []
    for case in told:
        if case.state in (State.BLOCKED, State.NOT_RUN):
            together.setdefault((case.state, case.reason), []).append(case)
        else:
            alone.append(case)
    for case in alone[:_MOST]:
        said = case.reason or case.observed
        if case.state in (State.FAIL, State.FLAKY) and case.expected:
            said = f"expected {case.expected}; observed {case.observed or 'nothing'}"
        issue = f" ([issue]({case.issue}))" if case.issue else ""
        yield f"- `{case.id}` ({case.mode}) **{case.state}**: {_cell(said) or 'no reason is told'}{issue}"
    if len(alone) > _MOST:
        yield f"- and {len(alone) - _MOST} more"
    for (state, reason), members in together.items():
        counted = "1 case" if len(members) == 1 else f"{len(members)} cases"
        yield f"- {counted} **{state}**: {_cell(reason) or 'no reason is told'}"
    if told:
        yield ""


def _before(runs: Sequence[Result], results: Sequence[Result]) -> Result | None:
    """The run before: of the same release, else the newest of the release below."""
    if len(runs) > 1:
        return runs[1]
    mine = release_of(runs[0])
    older = [result for result in results if result.entry.id == runs[0].entry.id and release_of(result) < mine]
    return max(older, key=lambda result: (release_of(result), result.started), default=None)


def _changes(before: Result, run: Result) -> Iterator[str]:
    found = compare(before, run)
    yield (
        f"Against the run of {before.started} (vLLM {before.entry.vllm}): {len(found.changed)} changed, "
        f"{len(found.added)} added, {len(found.deleted)} deleted, {found.unchanged} unchanged."
        + ("" if found.same_questions else " The checks have changed in between.")
    )
    yield ""
    for change in found.changed[:_MOST]:
        yield f"- `{change.id}` ({change.mode}): {change.before} -> {change.after}"
    if len(found.changed) > _MOST:
        yield f"- and {len(found.changed) - _MOST} more"
    if found.changed:
        yield ""


def _not_served(results: Sequence[Result], entries: Sequence[Entry]) -> Iterator[str]:
    served = {result.entry.id for result in results}
    missing = [entry for entry in entries if entry.id not in served]
    if not missing:
        return
    yield "## Not served yet"
    yield ""
    yield "| Entry | vLLM | On | Expected |"
    yield "|---|---|---|---|"
    for entry in missing:
        where = "the CPU build" if entry.fleet == CPU else entry.fleet
        yield f"| {entry.id} | {entry.vllm} | {where} | {entry.expect.verdict} |"
    yield ""


def _title(run: Result) -> str:
    return f"{run.entry.id}, vLLM {run.entry.vllm}"


def _anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _start(run: Result) -> str:
    if run.boot is None:
        return "ran already"
    if run.boot.ok:
        return f"{run.boot.seconds:.0f} s"
    return "refused, as expected" if _is_expected(run) else "did not start"


def _is_expected(run: Result) -> bool:
    return any(case.id == REFUSAL and case.state is State.PASS for case in run.cases)


def _cards(gpus: Sequence[str]) -> str:
    counts = {name: gpus.count(name) for name in gpus}
    return ", ".join(f"{count}x{name}" for name, count in counts.items())


def _cell(text: str, most: int = _SHOWN) -> str:
    """One line that cannot break a table or a list."""
    plain = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return plain if len(plain) <= most else f"{plain[:most]}..."


def _figure(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"
