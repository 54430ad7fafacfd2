"""``qcmatrix accuracy``."""

from __future__ import annotations

from pathlib import Path

import click

from qcmatrix.memory.accuracy import read_cases
from qcmatrix.report.accuracy import accuracy_page


@click.command("accuracy")
@click.argument("file", type=click.Path(path_type=Path))
def accuracy_command(file: Path) -> None:
    """Predicted against measured, for the start-up cases of FILE (JSON lines)."""
    click.echo(accuracy_page(read_cases(file), source=file.name), nl=False)
