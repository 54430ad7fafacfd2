"""``qcmatrix changes``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from qcmatrix.answers.schema import ChangeAnswer, ChangesAnswer
from qcmatrix.catalogue.releases import load_release, newest_release, release_names
from qcmatrix.cli import text as style
from qcmatrix.cli.options import json_option, vllm_python_option
from qcmatrix.errors import RequestError

__all__ = ["change_lines", "changes_command"]

_HEADS = {
    "breaks": "Breaks what worked",
    "differs": "Works, and behaves differently",
    "new": "New, or mended",
}
_COLOURS = {"breaks": "red", "differs": "yellow", "new": "green"}
_SHOWN = 25  # of one kind; more are counted, and --all shows them


@click.command("changes")
@click.argument("before", required=False)
@click.argument("after", required=False)
@vllm_python_option()
@click.option("--all", "everything", is_flag=True, help="Shorten nothing.")
@json_option()
def changes_command(
    before: str | None, after: str | None, vllm_python: Path | None, everything: bool, as_json: bool
) -> None:
    """What changed from one vLLM release to another, what breaks a launch first.

    BEFORE alone is compared with the newest release; without any, the newest with the one before it. With
    --vllm-python, BEFORE (the newest where it is left out) is compared with the vLLM of that environment.
    """
    from qcmatrix.evidence.store import PACKAGED
    from qcmatrix.probe.changed_answers import asked_of
    from qcmatrix.probe.changes import changes_between
    from qcmatrix.probe.environments.directories import data_directory

    if vllm_python is not None:
        if after is not None:
            raise RequestError("AFTER and --vllm-python are two answers to one question", "leave one out")
        from qcmatrix.probe.own import own_release

        old, new = load_release(before or newest_release()), own_release(vllm_python)
    else:
        names = release_names()
        old = load_release(before or names[-2])
        new = load_release(after or newest_release())
    for each in (old, new):
        if not each.is_listed:
            click.echo(f"vLLM {each} is not in the catalogue: taken as {each.surface_of}", err=True)
    answer = changes_between(old, new, asked_of(old, new, PACKAGED, data_directory() / "evidence"))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
        return
    for line in change_lines(answer, everything=everything):
        click.echo(line)


def change_lines(answer: ChangesAnswer, *, everything: bool = False) -> Iterator[str]:
    """The answer for a terminal: by impact, then by kind."""
    from qcmatrix.probe.changes import KINDS

    yield style.bold(f"vLLM {answer.before} -> {answer.after}")
    for impact, of_impact in itertools.groupby(answer.changes, key=lambda change: change.impact):
        found = list(of_impact)
        yield ""
        yield f"{click.style(_HEADS[impact], fg=_COLOURS[impact], bold=True)} ({len(found)})"
        for kind, of_kind in itertools.groupby(found, key=lambda change: change.kind):
            yield from _kind_lines(KINDS[kind], list(of_kind), everything=everything)
    if not answer.changes:
        yield "  nothing that is known of differs"
    if answer.not_compared:
        yield ""
        for what in answer.not_compared:
            yield from style.wrapped(f"not compared: {what}", first="", rest="  ")


def _kind_lines(head: str, changes: Sequence[ChangeAnswer], *, everything: bool) -> Iterator[str]:
    yield f"  {head} ({len(changes)})"
    shown = changes if everything else changes[:_SHOWN]
    if any(change.text for change in shown):
        for change in shown:
            text = f"{change.name}: {change.text}" if change.text else change.name
            yield from style.wrapped(text, first="    ", rest="      ")
    else:
        yield from style.wrapped(", ".join(change.name for change in shown), first="    ", rest="    ")
    if len(shown) < len(changes):
        yield f"    ... and {len(changes) - len(shown)} more (--all)"
