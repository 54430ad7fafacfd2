"""``qcmatrix results``."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import click
import msgspec

from qcmatrix.cli import text as style
from qcmatrix.cli.options import json_option
from qcmatrix.errors import CatalogueError, ExitCode, FileProblem, RequestError
from qcmatrix.results.compare import Comparison, compare
from qcmatrix.results.listing import ResultsAnswer, RunAnswer, run_answer, stands_for
from qcmatrix.results.regressions import Move, move_text, moves_of
from qcmatrix.results.schema import Result, State
from qcmatrix.results.store import StoreProblem, read_results, recover

_DEFAULT = Path("reports/runs")
_COLOURS = {"supported": "green", "partial": "yellow", "fail": "red", "unknown": "yellow"}
_MOVE_COLOURS = {"fail": "red", "regressed": "yellow", "improved": "green"}
_WORSE = frozenset({State.FAIL, State.BLOCKED, State.ERROR, State.FLAKY, State.NOT_RUN})


@click.command("results")
@click.argument("directory", type=click.Path(path_type=Path), default=_DEFAULT, metavar="[DIR]")
@click.option("--entry", "patterns", multiple=True, metavar="GLOB", help="Only entries whose id matches.")
@click.option(
    "--diff",
    "pair",
    nargs=2,
    metavar="A B",
    help="What is otherwise in B: each ENTRY (its newest run), ENTRY@RELEASE, ENTRY@START, or the start of a run's id.",
)
@click.option(
    "--regressions",
    is_flag=True,
    help="Hold the latency of each entry's newest run against its earlier runs; exit code 1 where it is slower for the "
    "second time running.",
)
@click.option("--cases", is_flag=True, help="Print measured starts as cases for `qcmatrix accuracy`, a line each.")
@json_option()
def results_command(
    directory: Path,
    patterns: tuple[str, ...],
    pair: tuple[str, str] | None,
    regressions: bool,
    cases: bool,
    as_json: bool,
) -> int:
    """List the runs below DIR (reports/runs): entry, time, release, states of cases and of profiles.

    What a killed run has left is made a result first. With --diff the exit code is 1 where a case has become worse.
    """
    if cases and (pair is not None or regressions or as_json):
        raise RequestError("--cases is an answer of its own", "leave --diff, --regressions and --json out")
    if regressions and pair is not None:
        raise RequestError("--diff and --regressions are two answers", "ask for one after the other")
    if not directory.is_dir():
        raise FileProblem(
            f"{directory}: no such directory", "`pytest -m cpu` or `qcmatrix verify ENTRY` writes results"
        )
    try:
        for path in recover(directory):
            click.echo(f"recovered {path}: its run was cut off", err=True)
    except StoreProblem as problem:
        click.echo(f"not recovered: {problem.what}", err=True)
    results = read_results(directory)
    chosen = [each for each in results if _matches(each, patterns)]
    if results and not chosen:
        raise CatalogueError(
            f"no result of {', '.join(patterns)}", f"there are of {', '.join(sorted({r.entry.id for r in results}))}"
        )
    if cases:
        from qcmatrix.results.as_case import case_line

        for result in chosen:
            if (line := case_line(result)) is not None:
                click.echo(line)
        return int(ExitCode.OK)
    if pair is not None:
        return _difference(compare(*(_meant(chosen, text) for text in pair)), as_json)
    if regressions:
        return _moves(moves_of(chosen), as_json)
    runs = tuple(run_answer(result) for result in chosen)
    if as_json:
        _print(ResultsAnswer(results=runs))
    else:
        for line in _listed(runs):
            click.echo(line)
        if not runs:
            click.echo(f"{directory}: no results yet", err=True)
    return int(ExitCode.OK)


def _matches(result: Result, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(result.entry.id, pattern) for pattern in patterns)


def _meant(results: Sequence[Result], text: str) -> Result:
    found = stands_for(results, text)
    if len(found) != 1:
        told = [f"{each.entry.id}@{each.started}, vLLM {each.entry.vllm}, run {each.run[:8]}" for each in found]
        raise CatalogueError(
            f"{text!r} is {'no result' if not found else 'more than one result'}",
            *(told or ["`qcmatrix results` lists them"]),
        )
    return found[0]


def _listed(runs: Sequence[RunAnswer]) -> Iterator[str]:
    for run in runs:
        cut = "" if run.ended else click.style(", cut off", fg="yellow")
        yield f"{style.bold(run.entry)}: vLLM {run.vllm} on {run.fleet}, {run.started}, run {run.run[:8]}{cut}"
        if run.booted is False:
            yield from style.wrapped(f"did not start: {run.cause or 'no cause is known'}", first="  ", rest="    ")
        if run.states:
            yield from style.wrapped(
                ", ".join(f"{count} {state}" for state, count in run.states.items()), first="  ", rest="    "
            )
        for name, summary in run.profiles.items():
            state = click.style(summary.state, fg=_COLOURS[summary.state])
            core, extended = "/".join(map(str, summary.core)), "/".join(map(str, summary.extended))
            yield f"  {name:<20} {state}, core {core}, extended {extended}"


def _difference(found: Comparison, as_json: bool) -> int:
    worse = any(change.after in _WORSE for change in found.changed)
    if as_json:
        _print(ResultsAnswer(difference=found))
        return int(ExitCode.FINDINGS if worse else ExitCode.OK)
    click.echo(f"A {found.before}\nB {found.after}")
    if not found.same_entry:
        click.echo("they are of two entries")
    if not found.same_questions:
        click.echo("the checks have changed between the two: a case of the same name may ask something else")
    for change in found.changed:
        click.echo(f"C {change.id} ({change.mode}): {change.before} -> {change.after}")
    for mark, cases in (("A", found.added), ("D", found.deleted)):
        for case in cases:
            click.echo(f"{mark} {case.id} ({case.mode}): {case.state}")
    click.echo(
        f"{len(found.added)} added, {len(found.deleted)} deleted, {len(found.changed)} changed, "
        f"{found.unchanged} unchanged"
    )
    return int(ExitCode.FINDINGS if worse else ExitCode.OK)


def _moves(moves: Sequence[Move], as_json: bool) -> int:
    code = int(ExitCode.FINDINGS if any(move.verdict == "fail" for move in moves) else ExitCode.OK)
    if as_json:
        _print(ResultsAnswer(moves=tuple(moves)))
        return code
    for (entry, release, started), members in itertools.groupby(
        moves, key=lambda each: (each.entry, each.vllm, each.started)
    ):
        click.echo(f"{style.bold(entry)}: vLLM {release}, {started}")
        own = list(members)
        for move in own:
            if move.verdict in _MOVE_COLOURS:
                word = click.style(move.verdict, fg=_MOVE_COLOURS[move.verdict])
                for number, line in enumerate(style.wrapped(move_text(move), first="  ", rest="    ")):
                    click.echo(line if number else line.replace(move.verdict, word, 1))
        counts = Counter(move.verdict for move in own)
        click.echo("  " + ", ".join(f"{counts[name]} {name}" for name in sorted(counts)))
    if not moves:
        click.echo("no entry has two runs with a measured latency on the same cards", err=True)
    return code


def _print(answer: ResultsAnswer) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
