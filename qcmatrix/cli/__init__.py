"""The command line: the only place that prints. stdout is data, stderr is talk."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

import click

from qcmatrix import __version__
from qcmatrix.errors import ExitCode, UserError

__all__ = ["cli", "main"]

_COMMANDS = {
    "suggest": "qcmatrix.cli.suggest",
    "check": "qcmatrix.cli.check",
    "explain": "qcmatrix.cli.explain",
    "upgrade": "qcmatrix.cli.upgrade",
    "probe": "qcmatrix.cli.probe",
    "rule": "qcmatrix.cli.show",
    "rules": "qcmatrix.cli.show",
    "models": "qcmatrix.cli.show",
    "gpus": "qcmatrix.cli.show",
    "releases": "qcmatrix.cli.show",
    "changes": "qcmatrix.cli.changes",
    "parsers": "qcmatrix.cli.parsers",
    "accuracy": "qcmatrix.cli.accuracy",
    "matrix": "qcmatrix.cli.matrix",
    "verify": "qcmatrix.cli.verify",
    "results": "qcmatrix.cli.results",
    "client": "qcmatrix.cli.client",
    "schema": "qcmatrix.cli.schema",
    "completion": "qcmatrix.cli.completion",
}


_NOTES = 20  # more problems than this say the same: it is another kind of file


class _LazyGroup(click.Group):
    """Imports a command only when it is used: ``--version`` should not wait for the planner."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(module), f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], _COMMANDS, n=1)
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from None


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="qcmatrix")
def cli() -> None:
    """What a vLLM launch of Qwen3-Coder will do on your GPUs, before anyone waits for a load.

    \b
    qcmatrix suggest --gpus 8xH20 --ctx 1M
    qcmatrix check --gpus 8xH200 --vllm 0.10.0 -- vllm serve MODEL --tensor-parallel-size 8
    """


def main() -> None:
    """The console script: every way out has its exit code, and a user's error shows no traceback."""
    # An answer takes a quarter of a second and little memory; looking for garbage meanwhile takes a tenth of that.
    gc.disable()
    sys.exit(_run())


def _run() -> int:
    try:
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        result: Any = cli.main(standalone_mode=False, color=False if plain else None)
        sys.stdout.flush()
    except SystemExit as left:
        # Click leaves with 1 when the reader has gone (`| head`), and this way in no other case: no error of ours.
        return 0 if left.code == 1 else int(left.code or 0)
    except UserError as error:
        _complain(error.what, *error.notes)
        return int(error.exit_code)
    except click.Abort:
        return int(ExitCode.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return int(ExitCode.USAGE)
    except BrokenPipeError:
        # The reader has gone (`| head`): not our error, and Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _complain(f"the answer cannot be written: {error.strerror or error}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.BAD_FILE)
    except Exception:
        if os.environ.get("QCMATRIX_TRACEBACK"):
            raise
        _complain(
            "qcmatrix broke; this is a bug in it and not in your input",
            "set QCMATRIX_TRACEBACK=1 to see where, and please report that with the command",
        )
        return int(ExitCode.INTERNAL)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _complain(what: str, *notes: str) -> None:
    click.echo(f"{click.style('error', fg='red', bold=True)}: {what}", err=True)
    from qcmatrix.cli.text import wrapped  # only on the way to an error

    for note in notes[:_NOTES]:
        for line in wrapped(note, first="  = ", rest="    "):
            click.echo(line, err=True)
    if len(notes) > _NOTES:
        click.echo(f"  = and {len(notes) - _NOTES} more", err=True)
