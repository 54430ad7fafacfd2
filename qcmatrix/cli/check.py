"""``qcmatrix check``."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from qcmatrix.answers.check import Checked, check
from qcmatrix.answers.schema import CHECK_SCHEMA, CheckAnswer, FindingAnswer, LaunchAnswer
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import resolve_model
from qcmatrix.catalogue.releases import load_release
from qcmatrix.cli import text as style
from qcmatrix.cli.options import gpus_option, json_option, model_option, vllm_option, vllm_python_option
from qcmatrix.cli.own import asker_of, open_own
from qcmatrix.cli.paths import FORMATS, are_files
from qcmatrix.errors import ExitCode, RequestError
from qcmatrix.launch.secrets import redact_argv
from qcmatrix.launch.shell import count_launches, split_shell
from qcmatrix.rules.declare import Breach, Severity
from qcmatrix.rules.judge import Finding

_SERVES = ("starts", "tight")
_OPERATORS = frozenset({"&&", "||", ";", "|", "&", ">", ">>", "<", "2>&1"})


@click.command(
    "check",
    context_settings={"ignore_unknown_options": False},
    epilog="Write -- before the command: qcmatrix check --gpus 8xH200 -- vllm serve MODEL --tensor-parallel-size 8",
)
@gpus_option(required=False)
@vllm_option()
@vllm_python_option()
@model_option(multiple=False)
@json_option()
@click.option("--format", "output", type=click.Choice(FORMATS), default="text", help="How findings in files are told.")
@click.option("--fix", is_flag=True, help="Files: write the fixes that change nothing for clients.")
@click.option("--unsafe-fixes", "unsafe", is_flag=True, help="With --fix or --diff: also those that change something.")
@click.option("--diff", is_flag=True, help="Files: show what --fix would write.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def check_command(
    gpus: str | None,
    vllm: str | None,
    vllm_python: Path | None,
    model: str | None,
    as_json: bool,
    output: str,
    fix: bool,
    unsafe: bool,
    diff: bool,
    command: tuple[str, ...],
) -> int:
    """What a `vllm serve` command will do, before anyone waits for a load.

    COMMAND is the command's words after `--`, the whole command as one quoted string, or files and folders that hold
    commands: scripts, Markdown, compose files, manifests, Dockerfiles, units.
    """
    if are_files(command):
        if vllm_python is not None:
            raise RequestError("--vllm-python is for one command", "give the command behind --")
        from qcmatrix.cli.check_files import check_files

        return check_files(
            command,
            gpus=gpus,
            vllm=vllm,
            model=model,
            output="json" if as_json else output,
            fix=fix,
            diff=diff,
            unsafe=unsafe,
        )
    if fix or diff or output != "text":
        raise RequestError("--fix, --diff and --format are for files", "name the file that holds the command")
    if gpus is None:
        raise RequestError("no GPUs are named", "say what it runs on: --gpus 8xH200")
    fleets = parse_fleet(gpus)
    words, env = _command(command)
    checkpoint = None if model is None else resolve_model(model)
    with contextlib.ExitStack() as stack:
        own = open_own(stack, vllm_python, vllm)
        release = own.release if own is not None else load_release(vllm) if vllm else None
        ask = None if own is None else asker_of(own, words, env)
        checked = check(words, env=env, release=release, fleets=fleets, checkpoint=checkpoint, ask=ask)
    hint = checked[0].parsed.release_hint
    if release is not None and hint and hint != checked[0].answer.release:
        which = "--vllm" if own is None else "--vllm-python"
        click.echo(f"the command names vLLM {hint}; judged as {checked[0].answer.release}, as {which} says", err=True)
    if as_json:
        answer = CheckAnswer(schema=CHECK_SCHEMA, launches=tuple(each.answer for each in checked))
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
    else:
        if len(fleets) > 1:
            names = " and ".join(fleet.gpu.name for fleet in fleets)
            click.echo(f"{gpus} can be {names}: answering for each", err=True)
        for index, each in enumerate(checked):
            if index:
                click.echo("")
            for line in _lines(each):
                click.echo(line)
    serves = all(_serves(each.answer) for each in checked)
    return int(ExitCode.OK if serves else ExitCode.FINDINGS)


def _serves(answer: LaunchAnswer) -> bool:
    return answer.verdict in _SERVES and not (answer.asked is not None and answer.asked.says == "refuses")


def _command(command: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The command's words and environment; one argument that holds a whole command is split as a shell would."""
    if len(command) > 1 or not any(character.isspace() for character in command[0]):
        operator = next((word for word in command if word in _OPERATORS), None)
        if operator is not None:
            raise RequestError(
                f"{operator!r} is the shell's, not vLLM's", "give the whole command line as one quoted string"
            )
        return command, {}
    found = split_shell(command[0])
    several = count_launches(command[0])
    if several > 1:
        click.echo(f"the text holds {several} vLLM commands: only the first is checked", err=True)
    return found.argv, found.env


def _lines(checked: Checked) -> Iterator[str]:
    answer = checked.answer
    yield style.bold(answer.model)
    yield f"  on {answer.fleet}, vLLM {answer.release}: {style.paint_verdict(answer.verdict)}"
    yield from style.wrapped(style.evidence_text(answer.evidence, answer.release), first="  ", rest="    ")
    yield from style.asked_lines(answer.asked)
    named = checked.parsed.launch.model
    if named and named != answer.model:
        yield from style.wrapped(f"facts of {answer.model} taken for {named}", first="  ", rest="    ")
    fails = answer.verdict not in _SERVES
    for finding, told in zip(checked.assessment.findings, answer.findings, strict=True):
        if fails and finding.severity is Severity.INFO:
            continue  # first things first
        if finding.severity is not Severity.INFO or finding is _first_note(checked):
            yield ""
        yield from _finding(checked, finding, told)
    if answer.memory is not None:
        yield ""
        yield from style.ledger_lines(answer.memory)
    if answer.latency is not None:
        yield from style.latency_lines(answer.latency)
    counts = [
        style.counted(sum(f.severity == severity for f in answer.findings), severity)
        for severity in ("error", "warning")
    ]
    yield ""
    notes = sum(finding.severity == "info" for finding in answer.findings)
    if fails and notes:
        counts.append(f"{style.counted(notes, 'note')} (--json)")
    contradicted = ", contradicted by your vLLM" if answer.asked is not None and answer.asked.contradicts else ""
    yield f"{answer.verdict}{contradicted}: {', '.join(counts)}"


def _first_note(checked: Checked) -> Finding | None:
    notes = (finding for finding in checked.assessment.findings if finding.severity is Severity.INFO)
    return next(notes, None)


def _finding(checked: Checked, finding: Finding, told: FindingAnswer) -> Iterator[str]:
    rule, fix = finding.rule, told.fix
    severity = finding.severity.value
    head = f"{severity}[{rule.id}]"
    note = finding.severity is Severity.INFO
    lines = list(style.wrapped(f"{head}: {told.because if note else _lower_first(rule.title)}", first="", rest="  "))
    yield lines[0].replace(head, style.paint_severity(severity, head), 1)
    yield from lines[1:]
    if not note:
        words = _marked_words(checked, finding)
        if words:
            yield "  --> command line"
            shown = textwrap.shorten(words, style.width() - 4, placeholder=" ...")
            yield f"  | {shown}"
            yield f"  | {'^' * len(shown)}"
        yield from style.wrapped(told.because, first="  | " if words else "  = ", rest="  | " if words else "    ")
        if told.error:
            yield from style.wrapped(f"vLLM says: {told.error}", first="  = ", rest="    ")
        release = checked.assessment.deployment.release.name
        known = f"holds for vLLM {rule.holds} (yours: {release}); {rule.known}"
        yield from style.wrapped(known, first="  = ", rest="    ")
    if fix is not None:
        yield from style.wrapped(f"fix: {fix}", first="  = ", rest="    ")
    if not note:
        yield f"  = more: qcmatrix rule {rule.id}"


def _marked_words(checked: Checked, finding: Finding) -> str:
    """The words of the command that the finding is about, as they stand there, secrets masked."""
    if not isinstance(finding.verdict, Breach):
        return ""
    shown = redact_argv(checked.words)
    marked = []
    for name in finding.verdict.about:
        span = checked.parsed.spans.get(name) or checked.parsed.env_spans.get(name)
        if span is not None:
            marked.append(" ".join(shown[span.start : span.stop]))
        else:
            marked += [word for word in shown if word.partition("=")[0].replace("_", "-") == name.replace("_", "-")]
    return " ".join(marked)


def _lower_first(text: str) -> str:
    first = text.partition(" ")[0]
    return text if any(letter.isupper() for letter in first[1:]) else text[:1].lower() + text[1:]
