"""``qcmatrix schema``: the contract of ``--json``, and of the files that are read and written."""

from __future__ import annotations

import json

import click

from qcmatrix.answers.schema import SCHEMAS, json_schema


@click.command("schema")
@click.argument("answer", type=click.Choice(sorted(SCHEMAS)))
def schema_command(answer: str) -> None:
    """Print the JSON Schema of what ANSWER --json prints, or of a file: matrix.toml, a result."""
    click.echo(json.dumps(json_schema(answer), indent=2))
