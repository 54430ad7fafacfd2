"""``qcmatrix schema``: the contract of ``--json``."""

from __future__ import annotations

import json

import click

from qcmatrix.answers.schema import SCHEMAS, json_schema


@click.command("schema")
@click.argument("answer", type=click.Choice(sorted(SCHEMAS)))
def schema_command(answer: str) -> None:
    """Print the JSON Schema of what ANSWER --json prints."""
    click.echo(json.dumps(json_schema(answer), indent=2))
