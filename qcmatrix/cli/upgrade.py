"""``qcmatrix upgrade``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import click

from qcmatrix.answers.build import memory_answer
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import resolve_model
from qcmatrix.catalogue.releases import load_release, newest_release
from qcmatrix.cli import text as style
from qcmatrix.cli.check_files import write_text
from qcmatrix.cli.options import gpus_option, model_option
from qcmatrix.cli.paths import are_files
from qcmatrix.documents.files import read_text, walk
from qcmatrix.errors import ExitCode, RequestError
from qcmatrix.launch.shell import join_shell
from qcmatrix.lint.subject import Wishes
from qcmatrix.upgrade.changes import ChangeKind
from qcmatrix.upgrade.upgrade import CommandUpgrade, FileUpgrade, upgrade_text

_SHOWN_KEPT = 12


@click.command(
    "upgrade", epilog="A command instead of files stands behind --: qcmatrix upgrade ... -- vllm serve MODEL ..."
)
@click.option("--from", "before", required=True, metavar="RELEASE", help="The vLLM that runs now.")
@click.option("--to", "after", metavar="RELEASE", help="The vLLM that shall run; the newest when left out.")
@gpus_option(required=False)
@model_option(multiple=False)
@click.option("--write", is_flag=True, help="Write the new commands into the files.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="FILE... | COMMAND")
def upgrade_command(
    before: str, after: str | None, gpus: str | None, model: str | None, write: bool, words: tuple[str, ...]
) -> int:
    """What changes for these very commands between two vLLM releases, and the new commands."""

    old, new = load_release(before), load_release(after or newest_release())
    wishes = Wishes(
        fleets=parse_fleet(gpus) if gpus else (), checkpoint=resolve_model(model) if model is not None else None
    )
    results: list[FileUpgrade] = []
    if are_files(words):
        for path, named in walk(words):
            result = upgrade_text(path, read_text(path), wishes, old, new)
            if result.commands or named:
                results.append(result)
    else:
        if write:
            raise RequestError("--write is for files", "name the file that holds the command")
        text = words[0] if len(words) == 1 else join_shell(words, (), {}, 10**9)
        results.append(upgrade_text("command", text + "\n", wishes, old, new))
    if not any(result.commands for result in results):
        raise RequestError("no command that starts vLLM in there", "name a file that holds one, or give it behind --")
    for index, result in enumerate(results):
        if index:
            click.echo("")
        for line in _lines(result, old.name, new.name):
            click.echo(line)
        if write and result.mended.after != result.mended.before:
            write_text(result.document.path, result.mended.after)
            click.echo(f"{result.document.path}: written", err=True)
    return int(ExitCode.OK if all(result.serves for result in results) else ExitCode.FINDINGS)


def _lines(result: FileUpgrade, old: str, new: str) -> Iterator[str]:

    for command in result.commands:
        subject = command.before.subject
        line, _ = result.document.place(subject.command.start)
        name = subject.checkpoint.repository if subject.checkpoint else subject.parsed.launch.model or "?"
        where = f" on {subject.fleet}" if subject.fleet is not None else ""
        yield style.bold(f"{result.document.path}:{line}: {name}{where}")
        verdicts = [verdict.value if verdict is not None else None for verdict in command.verdicts]
        for release, verdict in (
            (old, verdicts[0]),
            (f"{new}, as it stands", verdicts[1]),
            (f"{new}, new command", verdicts[2]),
        ):
            yield f"  vLLM {release}: {style.paint_verdict(verdict) if verdict else 'options only'}"
        for told in subject.told:
            if not told.startswith("the file names vLLM"):
                yield from style.wrapped(told, first="  = ", rest="    ")
        kept = [change for change in command.changes if change.kind is ChangeKind.KEPT]
        for change in command.changes:
            if change.kind is not ChangeKind.KEPT:
                yield from style.wrapped(
                    f"{change.kind.value}: {change.about}{': ' if change.text else ''}{change.text}",
                    first="  ",
                    rest="    ",
                )
        if kept:
            shown = ", ".join(change.about.partition(" ")[0] for change in kept[:_SHOWN_KEPT])
            more = f" and {len(kept) - _SHOWN_KEPT} more" if len(kept) > _SHOWN_KEPT else ""
            yield from style.wrapped(f"the same: {shown}{more}", first="  ", rest="    ")
        yield from _memory(command, old, new)
    yield from _new_text(result)


def _memory(command: CommandUpgrade, old: str, new: str) -> Iterator[str]:

    ledgers = [each.footprint if each is not None else None for each in command.footprints]
    if ledgers[0] is None or ledgers[1] is None:
        return
    before, after = memory_answer(ledgers[0]), memory_answer(ledgers[1])
    yield f"  memory per GPU, GiB{'':<14}{old:>10}{new:>10}"
    rows = (
        ("budget", before.budget_gib, after.budget_gib),
        ("weights", before.weights_gib, after.weights_gib),
        ("overhead", before.overhead_gib.mid, after.overhead_gib.mid),
        ("KV cache", before.kv_gib.mid, after.kv_gib.mid),
    )
    for name, one, other in rows:
        yield f"    {name:<31}{one:>10.2f}{other:>10.2f}"
    yield f"    {'KV cache, tokens':<31}{before.kv_tokens.mid:>10,.0f}{after.kv_tokens.mid:>10,.0f}"
    spread = max(after.kv_gib.high - after.kv_gib.mid, after.kv_gib.mid - after.kv_gib.low)
    yield f"    (KV cache of {new}: within {spread:.1f} GiB of that)"


def _new_text(result: FileUpgrade) -> Iterator[str]:

    mended = result.mended
    for left in mended.left:
        yield from style.wrapped(f"by hand: {left}", first="  ", rest="    ")
    if mended.after == mended.before:
        yield "  the words stay as they are"
        return
    name = Path(result.document.path).as_posix()
    for line in difflib.unified_diff(
        mended.before.splitlines(), mended.after.splitlines(), f"a/{name}", f"b/{name}", lineterm=""
    ):
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        yield click.style(line, fg=colour) if colour else line
