"""``qcmatrix accuracy``."""

from __future__ import annotations

from pathlib import Path

import click

from qcmatrix.report.accuracy import accuracy_page, measured_cases
from qcmatrix.memory.accuracy import read_cases


@click.command("accuracy")
@click.argument("file", type=click.Path(path_type=Path))
def accuracy_command(file: Path) -> None:
    """Predicted against measured, for the start-up cases of FILE (JSON lines)."""
    compared, skipped = measured_cases(read_cases(file))
    click.echo(accuracy_page(compared, skipped, source=file.name), nl=False)
