"""``qcmatrix completion``: shell completion, by click."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: eval "$(qcmatrix completion bash)"
    fish: qcmatrix completion fish > ~/.config/fish/completions/qcmatrix.fish
    """
    from qcmatrix.cli import cli

    completion = get_completion_class(shell)
    if completion is None:  # the choices above are click's own
        raise click.UsageError(f"click has no completion for {shell}")
    click.echo(completion(cli, {}, "qcmatrix", "_QCMATRIX_COMPLETE").source())
