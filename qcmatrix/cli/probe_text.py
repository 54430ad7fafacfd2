"""How ``qcmatrix probe`` looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from qcmatrix.answers.probe_schema import EnvironmentAnswer, GradedAnswer, PartAnswer, ProbeAnswer, ProbedRelease
from qcmatrix.cli import text as style

__all__ = ["environment_lines", "release_lines", "total_lines"]

_COLUMNS = ("agree", "disagree", "explained", "not askable", "failed")
_SHOWN = 20  # disagreements of one release; --json has all
_COLOURS = {"agree": "green", "disagree": "red", "explained": "yellow", "not askable": "yellow", "failed": "red"}


def release_lines(probed: ProbedRelease, *, cases: bool) -> Iterator[str]:
    """One release: its table, then the disagreements, or with ``cases`` every case."""
    about = f"torch {probed.torch}, Transformers {probed.transformers}, Python {probed.python}"
    yield f"{style.bold(f'vLLM {probed.release}')} ({about})"
    for note in probed.notes:
        yield from style.wrapped(f"note: {note}", first="  ", rest="    ")
    if not cases:
        yield from _table(probed.parts)
    shown = probed.graded if cases else probed.graded[:_SHOWN]
    for each in shown:
        yield ""
        yield from _graded_lines(each)
    if cases and not shown:
        yield from style.wrapped(
            "nothing to ask: none of its cases can tell anything about this release", first="  ", rest="  "
        )
    if len(shown) < len(probed.graded):
        yield ""
        yield f"  ... and {len(probed.graded) - len(shown)} more (--json)"


def _table(parts: Sequence[PartAnswer]) -> Iterator[str]:
    heads = ("part", *_COLUMNS, "new", "changed", "seconds")
    rows = [_row(part) for part in parts]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        first, *rest = (
            cell.ljust(size) if not number else cell.rjust(size)
            for number, (cell, size) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(("", first, *rest)).rstrip()


def _row(part: PartAnswer) -> tuple[str, ...]:
    counts = (part.agree, part.disagree, part.explained, part.not_askable, part.failed)
    if part.agree is None:
        shown: tuple[str, ...] = (f"{part.answers} answers", "-", "-", "-", "-")
    else:
        shown = tuple(f"{count:,}" for count in counts)
    seconds = "asked before" if part.skipped else f"{part.seconds:.1f}"
    return (part.part, *shown, f"{part.new:,}", f"{part.changed:,}", seconds)


def _graded_lines(each: GradedAnswer) -> Iterator[str]:
    head = click.style(each.mark, fg=_COLOURS[each.mark], bold=True)
    times = f" ({each.count} times)" if each.count > 1 else ""
    yield f"  {head}[{each.part}]: {each.subject}{times}"
    if each.question:
        yield from style.wrapped(each.question, first="    ", rest="      ")
    for name, text in (("vLLM", each.said), ("we", each.ours), ("because", each.why)):
        if text:
            yield from style.wrapped(f"{name}: {text}", first="    = ", rest="      ")


def total_lines(answer: ProbeAnswer, *, cases: bool) -> Iterator[str]:
    """The last lines: what it all came to."""
    marks: dict[str, int] = {}
    for probed in answer.releases:
        if cases:
            for each in probed.graded:
                marks[each.mark] = marks.get(each.mark, 0) + each.count
        else:
            for part in probed.parts:
                for name in _COLUMNS:
                    marks[name] = marks.get(name, 0) + (getattr(part, name.replace(" ", "_")) or 0)
    told = ", ".join(f"{marks.get(name, 0):,} {name}" for name in _COLUMNS)
    yield f"{style.counted(len(answer.releases), 'release')} asked: {told}"
    if answer.problems:
        names = ", ".join(problem.release for problem in answer.problems)
        yield f"{style.counted(len(answer.problems), 'release')} could not be asked: {names}"


def environment_lines(environments: Sequence[EnvironmentAnswer], directory: str) -> Iterator[str]:
    """``--environments``."""
    if not environments:
        yield f"no environments in {directory}"
        return
    heads = ("vLLM", "from", "Python", "torch", "Transformers", "made", "GiB")
    rows = [
        (
            each.release,
            each.kind,
            each.interpreter.removeprefix("cpython-"),
            each.torch,
            each.transformers,
            each.made,
            f"{each.bytes / 2**30:.1f}",
        )
        for each in environments
    ]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        yield "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
    total = sum(each.bytes for each in environments) / 2**30
    yield ""
    yield from style.wrapped(
        f"{style.counted(len(environments), 'environment')}, {total:.1f} GiB in {directory} (files that uv could link "
        "to its own cache are on the disk once)",
        first="",
        rest="",
    )
