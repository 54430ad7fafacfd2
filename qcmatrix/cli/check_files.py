"""``qcmatrix check FILE ...``."""

from __future__ import annotations

import difflib
import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
import msgspec

from qcmatrix.answers.files import files_answer, github_annotations, sarif
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import resolve_model
from qcmatrix.catalogue.releases import load_release
from qcmatrix.cli import text as style
from qcmatrix.clients.run import with_clients
from qcmatrix.documents.files import kind_of, read_text, walk
from qcmatrix.documents.found import Document
from qcmatrix.errors import ExitCode, FileProblem, RequestError
from qcmatrix.launch.secrets import scrub, secret_values
from qcmatrix.lint.judge import FileFinding, Judged
from qcmatrix.lint.mend import Mended, mend
from qcmatrix.lint.run import FileReport, lint
from qcmatrix.lint.settings import Settings, find_settings
from qcmatrix.lint.subject import Wishes
from qcmatrix.rules.declare import Severity

__all__ = ["check_files", "write_text"]


def check_files(
    paths: Sequence[str],
    *,
    gpus: str | None,
    vllm: str | None,
    model: str | None,
    output: str,
    fix: bool,
    diff: bool,
    unsafe: bool,
) -> int:
    """Judge, and with ``fix`` mend, the commands in ``paths``."""
    settings = find_settings(Path.cwd())
    gpus, vllm, model = gpus or settings.gpus, vllm or settings.vllm, model or settings.model
    wishes = Wishes(
        fleets=parse_fleet(gpus) if gpus else (),
        release=load_release(vllm) if vllm else None,
        checkpoint=resolve_model(model) if model else None,
    )
    if fix or diff:
        if output != "text":
            raise RequestError(f"--{'fix' if fix else 'diff'} prints text", "leave --format out")
        if fix and "-" in paths:
            raise RequestError("--fix writes files, and standard input is none", "use --diff")
        return _mend(paths, wishes, settings, write=fix, unsafe=unsafe)
    reports = with_clients(paths, tuple(lint(paths, wishes, settings)), settings)
    if output == "text":
        for line in _text(reports):
            click.echo(line)
    else:
        answer = files_answer(reports)
        if output == "github":
            for line in github_annotations(answer):
                click.echo(line)
        else:
            encoded = msgspec.json.encode(answer if output == "json" else sarif(answer))
            click.echo(msgspec.json.format(encoded, indent=2))
    return _exit_code(reports)


def _exit_code(reports: Sequence[FileReport]) -> int:
    if any(report.problem is not None for report in reports):
        return int(ExitCode.BAD_FILE)
    return int(ExitCode.FINDINGS if any(report.fails for report in reports) else ExitCode.OK)


def _mend(paths: Sequence[str], wishes: Wishes, settings: Settings, *, write: bool, unsafe: bool) -> int:
    mended: list[Mended] = []
    problems = 0
    for path, named in walk(paths):
        if not named and settings.excludes(path):
            continue
        try:
            text = read_text(path)
        except FileProblem as problem:
            if named or kind_of(path) is not None:
                problems += 1
                click.echo(problem.what, err=True)
            continue
        if not named and kind_of(path, text) is None:
            continue
        result = mend(path, text, wishes, settings, unsafe=unsafe)
        try:
            if write and result.after != text:
                write_text(path, result.after)
        except FileProblem as problem:
            problems += 1
            click.echo("; ".join((problem.what, *problem.notes)), err=True)
            continue
        mended.append(result)
        if result.after != text and not write:
            for line in _diff(result):
                click.echo(line)
    for result in mended:
        for each in result.done:
            verb = "mended" if write else "would mend"
            click.echo(f"{result.path}:{each.line}: {verb} {each.rule}: {each.text}", err=not write)
        for left in result.left:
            click.echo(f"left: {left}", err=True)
    changed = sum(result.after != result.before for result in mended)
    fixes = sum(len(result.done) for result in mended)
    click.echo(f"{fixes} {'fix' if fixes == 1 else 'fixes'} in {style.counted(changed, 'file')}", err=True)
    if problems:
        return int(ExitCode.BAD_FILE)
    if not write:
        return int(ExitCode.FINDINGS if changed else ExitCode.OK)
    return int(ExitCode.FINDINGS if any(result.report.fails for result in mended) else ExitCode.OK)


def write_text(path: str, text: str) -> None:
    """The whole file or nothing: written beside it and moved into its place, mode kept."""
    file = Path(path).resolve()  # a link stays one
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        if not mode & 0o222 or not os.access(file, os.W_OK):  # the folder would let it be replaced all the same
            raise PermissionError(errno.EACCES, "it is read-only")
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(text.encode("utf-8"))
            Path(name).chmod(mode)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileProblem(f"{path} cannot be written: {error.strerror or error}", "it is as it was") from None


def _diff(result: Mended) -> Iterator[str]:
    name = result.path.lstrip("/")
    lines = difflib.unified_diff(
        result.before.splitlines(), result.after.splitlines(), f"a/{name}", f"b/{name}", lineterm=""
    )
    for line in lines:
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        yield click.style(line, fg=colour) if colour else line


def _text(reports: Iterable[FileReport]) -> Iterator[str]:
    files = commands = errors = warnings = notes = fixable = unreadable = 0
    for report in reports:
        files += 1
        if report.document is None:
            unreadable += 1
            problem = report.problem or FileProblem(report.path)
            head = style.paint_severity("error", "error")
            yield from style.wrapped(f"{head}: {problem.what}", first="", rest="  ")
            for advice in problem.notes:
                yield from style.wrapped(advice, first="  = ", rest="    ")
            yield ""
            continue
        for note in report.document.notes:
            yield f"{report.path}:{report.document.place(note.start)[0]}: {note.text}"
        for finding in report.own:
            errors += finding.severity is Severity.ERROR
            warnings += finding.severity is Severity.WARNING
            yield from _finding(report.document, None, finding)
            yield ""
        for judged in report.judged:
            commands += 1
            shown = [finding for finding in judged.findings if finding.severity is not Severity.INFO]
            if judged.subject.command.expected is not None:
                shown = [finding for finding in shown if finding.rule == "unexpected-verdict"]
            notes += len(judged.findings) - len(shown)
            errors += sum(finding.severity is Severity.ERROR for finding in shown)
            warnings += sum(finding.severity is Severity.WARNING for finding in shown)
            fixable += sum(finding.offer is not None for finding in shown)
            yield from _command(report.document, judged)
            for finding in shown:
                yield from _finding(report.document, judged, finding)
            if shown:
                yield ""
    counts = [style.counted(errors, "error"), style.counted(warnings, "warning")]
    if notes:
        counts.append(f"{style.counted(notes, 'note')} (--format json)")
    tail = f"; {fixable} with a fix (--diff shows, --fix writes)" if fixable else ""
    yield from style.wrapped(
        f"{style.counted(commands, 'command')} in {style.counted(files, 'file')}: {', '.join(counts)}{tail}",
        first="", rest="  ",
    )  # fmt: skip
    if unreadable:
        yield f"{style.counted(unreadable, 'file')} could not be read"


def _command(document: Document, judged: Judged) -> Iterator[str]:
    subject = judged.subject
    line, column = document.place(subject.command.start)
    name = subject.checkpoint.repository if subject.checkpoint is not None else subject.parsed.launch.model or "?"
    verdict = "options only" if judged.verdict is None else style.paint_verdict(judged.verdict.value)
    where = f" on {subject.fleet}" if subject.fleet is not None else ""
    release = f"vLLM {subject.release.name} ({subject.release_from})"
    yield from style.wrapped(
        f"{document.path}:{line}:{column}: {name}{where}, {release}: {verdict}", first="", rest="  "
    )
    for told in subject.told:
        yield from style.wrapped(told, first="  = ", rest="    ")


def _finding(document: Document, judged: Judged | None, finding: FileFinding) -> Iterator[str]:
    secrets = frozenset[str]() if judged is None else secret_values(judged.subject.words)
    head = f"{finding.severity.value}[{finding.rule}]"
    lines = list(style.wrapped(f"{head}: {finding.title}", first="", rest="  "))
    yield lines[0].replace(head, style.paint_severity(finding.severity.value, head), 1)
    yield from lines[1:]
    line, column = document.place(finding.start)
    yield f"  --> {document.path}:{line}:{column}"
    gutter = " " * len(str(line))
    yield from _source(document, finding, line, scrub_with=secrets)
    yield from style.wrapped(scrub(finding.because, secrets), first=f"{gutter} | ", rest=f"{gutter} | ")
    if finding.error:
        yield from style.wrapped(f"vLLM says: {scrub(finding.error, secrets)}", first="  = ", rest="    ")
    if finding.known:
        yield from style.wrapped(finding.known, first="  = ", rest="    ")
    if not finding.certain:
        yield "  = unless an option from outside of the file mends it"
    if finding.offer is not None:
        kind = "fix" if finding.offer.fix.safe else "fix (changes what is served)"
        yield from style.wrapped(f"{kind}: {scrub(finding.offer.text, secrets)}", first="  = ", rest="    ")


def _source(document: Document, finding: FileFinding, line: int, scrub_with: frozenset[str]) -> Iterator[str]:
    """The line of the file with carets below the words."""
    begin = document.text.rfind("\n", 0, finding.start) + 1
    end = document.text.find("\n", finding.start)
    source = document.text[begin : len(document.text) if end < 0 else end].rstrip("\r")
    first = finding.start - begin
    length = max(1, min(finding.stop, begin + len(source)) - finding.start)
    room = max(20, style.width() - len(str(line)) - 4)
    if len(source) > room:  # only what is around the words
        cut = max(0, min(first - room // 4, len(source) - room))
        source, first = source[cut : cut + room], first - cut
        length = max(1, min(length, room - first))
    if any(secret in source for secret in scrub_with):
        source, first, length = scrub(source, scrub_with), 0, 0
    yield f"{line} | {source}".expandtabs(1)
    if length:
        yield f"{' ' * len(str(line))} | {' ' * first}{click.style('^' * length, fg='red')}"
