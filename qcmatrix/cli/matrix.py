"""``qcmatrix matrix``."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from qcmatrix.cli import text as style
from qcmatrix.cli.options import json_option
from qcmatrix.errors import ExitCode, FileProblem
from qcmatrix.matrix.entries import read_matrix
from qcmatrix.matrix.validate import judge_entry


@click.command("matrix")
@click.option("--file", "path", type=click.Path(path_type=Path), default=Path("matrix.toml"), show_default=True)
@json_option()
def matrix_command(path: Path, as_json: bool) -> int:
    """List the entries of matrix.toml, each checked against the rules and the memory model."""
    if not path.exists():
        raise FileProblem(f"{path}: no such file", "run it in a checkout that has one, or name another with --file")
    judged = [judge_entry(entry) for entry in read_matrix(path).entry]
    if as_json:
        click.echo(
            msgspec.json.format(msgspec.json.encode({"schema": "qcmatrix.matrix-list/1", "entries": judged}), indent=2)
        )
    else:
        for each in judged:
            state = "ok" if not each.disagreements else style.paint_severity("error", "disagrees")
            click.echo(
                f"{each.entry.id}: {style.paint_verdict(each.verdict)} on {each.entry.fleet}, "
                f"vLLM {each.entry.vllm} ({state})"
            )
            for problem in each.disagreements:
                for line in style.wrapped(problem, first="  = ", rest="    "):
                    click.echo(line)
    return int(ExitCode.FINDINGS if any(each.disagreements for each in judged) else ExitCode.OK)
