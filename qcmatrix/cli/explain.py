"""``qcmatrix explain``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from qcmatrix.answers.explain import Explained, explain
from qcmatrix.answers.explain_schema import ExplainAnswer, FailureAnswer, MeasuredAnswer
from qcmatrix.catalogue.fleets import Fleet, parse_fleet
from qcmatrix.catalogue.releases import load_release
from qcmatrix.cli import text as style
from qcmatrix.cli.options import gpus_option, json_option, model_option, vllm_option
from qcmatrix.errors import ExitCode, FileProblem
from qcmatrix.startup_log.reader import StartupLog, read_log

_STATES = {
    "served": ("served", "starts"),
    "failed": ("failed", "refused"),
    "failed-after-serving": ("started, and failed later", "refused"),
    "unfinished": ("unfinished: the log tells of neither a start nor a failure", "unknown"),
    "not-a-vllm-log": ("no vLLM log", "unknown"),
}
_KNOWN_BY = {"cause": "the engine's own line", "told": "told in words; no line of the engine says it"}


@click.command("explain", epilog="qcmatrix explain startup.log    or:    vllm serve MODEL 2>&1 | qcmatrix explain -")
@gpus_option(required=False)
@vllm_option()
@model_option(multiple=False)
@json_option()
@click.option("--case", "as_case", is_flag=True, help="Print the log as one line of a calibration file (JSONL).")
@click.argument("log", type=str)
def explain_command(
    gpus: str | None, vllm: str | None, model: str | None, as_json: bool, as_case: bool, log: str
) -> int:
    """Why a server did not start, what would have helped, and how good the prediction was.

    LOG is what vLLM printed when it started: a file, or - for standard input. What it says itself (release, model,
    arguments, card) need not be given; an option wins over it.
    """
    release = load_release(vllm) if vllm else None
    fleet = _fleet(gpus)
    name = "standard input" if log == "-" else log
    explained = explain(_read(log, name), release=release, fleet=fleet, model=model)
    answer = explained.answer
    if as_case:
        from qcmatrix.answers.explain_case import case_line  # rarely asked for

        click.echo(case_line(explained, name))
    elif as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
    else:
        for line in _lines(explained, "log" if log == "-" else log):
            click.echo(line)
    return int(ExitCode.OK if answer.state == "served" else ExitCode.FINDINGS)


def _fleet(gpus: str | None) -> Fleet | None:
    if gpus is None:
        return None
    fleets = parse_fleet(gpus)
    if len(fleets) > 1:
        names = " or ".join(str(fleet) for fleet in fleets)
        click.echo(f"{gpus} can be {names}: taken as {fleets[0]}; name one of them to be sure", err=True)
    return fleets[0]


def _read(log: str, name: str) -> StartupLog:
    if log == "-":
        return read_log(sys.stdin.buffer, name)
    path = Path(log)
    try:
        with path.open("rb") as stream:
            opened: BinaryIO = stream
            return read_log(opened, name)
    except OSError as error:
        raise FileProblem(
            f"{name} cannot be read: {error.strerror or error}", "give the file that vLLM's output went to, or -"
        ) from None
    except ValueError:  # a NUL byte in the name
        raise FileProblem(f"{name!r} is no file name") from None


def _lines(explained: Explained, name: str) -> Iterator[str]:
    answer = explained.answer
    launch = answer.launch
    words, colour = _STATES[answer.state]
    yield style.bold(launch.facts_of or launch.model or "unknown model")
    where = [launch.fleet or "unknown GPUs", f"vLLM {launch.release}" if launch.release else "unknown release"]
    painted = (
        style.paint_verdict(colour).replace(colour, words)
        if colour in words
        else click.style(words, fg={"starts": "green", "refused": "red", "unknown": "yellow"}[colour], bold=True)
    )
    yield f"  on {', '.join(where)}: {painted}"
    yield from _told_from(answer)
    if answer.failure is not None:
        yield ""
        yield from _failure(answer, answer.failure, name)
    measured = list(_measured(answer.measured))
    if measured:
        yield ""
        yield "  The log says, per GPU"
        yield from measured
    if answer.predicted:
        yield ""
        yield from _predicted(answer)
    for unknown in answer.unknown:
        yield from style.wrapped(f"unknown: {unknown}", first="  ", rest="    ")
    yield ""
    yield from style.wrapped(_last(answer), first="", rest="  ")


def _told_from(answer: ExplainAnswer) -> Iterator[str]:
    launch = answer.launch
    parts = [
        f"release by {launch.release_from}" if launch.release_from else "",
        f"GPUs by {launch.fleet_from}" if launch.fleet_from else "",
        f"arguments by the {launch.arguments_from}, line {launch.arguments_line}" if launch.arguments_from else "",
    ]
    said = "; ".join(part for part in parts if part)
    if said:
        yield from style.wrapped(said, first="  ", rest="    ")
    if answer.starts > 1:
        yield f"  {answer.starts} starts in {answer.lines:,} lines: the last one that says something is told"
    if launch.argv:
        yield from (f"  {line}" for line in style.shell_text(launch.argv, launch.env).splitlines())


def _failure(answer: ExplainAnswer, failure: FailureAnswer, name: str) -> Iterator[str]:
    head = f"error[{failure.cause or 'unknown'}]"
    lines = list(style.wrapped(f"{head}: {failure.title}", first="", rest="  "))
    yield lines[0].replace(head, style.paint_severity("error", head), 1)
    yield from lines[1:]
    if failure.line is not None:
        at = f"{name}:{failure.line}"
        yield from style.wrapped(
            f"--> {at}{f' ({failure.process})' if failure.process else ''}", first="  ", rest="      "
        )
        shown = failure.text if len(failure.text) <= 320 else f"{failure.text[:320]} ..."
        yield from style.wrapped(shown, first="  | ", rest="  | ")
    if failure.where:
        yield from style.wrapped(f"raised at {failure.where}", first="  = ", rest="    ")
    if failure.during:
        yield from style.wrapped(f"during: {failure.during}", first="  = ", rest="    ")
    yield from style.wrapped(f"why: {failure.because}", first="  = ", rest="    ")
    if failure.cause is not None:
        yield from style.wrapped(
            f"known by: {_KNOWN_BY['told' if failure.told else 'cause']}", first="  = ", rest="    "
        )
    if failure.symptoms:
        said = "; ".join(f"line {each.line}: {each.title}" for each in failure.symptoms)
        yield from style.wrapped(f"followed by: {said}", first="  = ", rest="    ")
    if failure.others:
        yield from style.wrapped(f"also in the log: {', '.join(failure.others)}", first="  = ", rest="    ")
    for change in answer.changes:
        judged = "by the log's own figures" if change.verdict == "measured" else f"then: {change.verdict}"
        said = change.text if "(then: " in change.text else f"{change.text} ({judged})"
        yield from style.wrapped(f"fix: {said}", first="  = ", rest="    ")
    yield from style.wrapped(f"to do: {failure.todo}", first="  = ", rest="    ")
    if failure.rule is not None:
        yield f"  = more: qcmatrix rule {failure.rule}"
    for url in failure.sources[:2]:
        yield f"  = see {url}"


def _measured(measured: MeasuredAnswer) -> Iterator[str]:
    for label, value in (
        ("memory that CUDA reports", measured.usable_gib),
        ("weights", measured.weights_gib),
        ("activations at the peak", measured.activation_gib),
        ("not PyTorch's", measured.non_torch_gib),
        ("CUDA graphs", measured.graphs_gib),
        ("KV cache", measured.kv_gib),
    ):
        if value is not None:
            yield f"    {label:<38}{value:>9.2f} GiB"
    if measured.kv_tokens is not None:
        yield f"    {'KV cache of one engine':<38}{measured.kv_tokens:>9,} tokens"
    if measured.max_concurrency is not None:
        length = "" if measured.concurrency_tokens is None else f" of {measured.concurrency_tokens:,} tokens"
        yield f"    {'requests' + length:<38}{measured.max_concurrency:>9.2f} at once"
    if measured.load_seconds is not None:
        yield f"    {'loading took':<38}{measured.load_seconds:>9.1f} s"
    if measured.init_seconds is not None:
        yield f"    {'profile, KV cache, warm-up took':<38}{measured.init_seconds:>9.1f} s"
    if measured.ranks > 1:
        yield f"    (of {measured.ranks} processes, the one with the least KV cache)"


def _predicted(answer: ExplainAnswer) -> Iterator[str]:
    yield "  Predicted (low to high) against measured"
    for each in answer.predicted:
        digits = "," if each.unit == "tokens" else ".2f"
        low, mid, high = (
            format(value, digits if each.unit != "tokens" else ",.0f")
            for value in (each.predicted.low, each.predicted.mid, each.predicted.high)
        )
        spread = "exact" if low == high else f"{low} to {high}"
        measured = format(each.measured, ",.0f" if each.unit == "tokens" else ".2f")
        mark = "inside" if each.inside else "OUTSIDE"
        label = f"{each.name}, {each.unit}"
        yield from style.wrapped(
            f"{label:<32}{mid} ({spread}), measured {measured}: {mark}", first="    ", rest="      "
        )


def _last(answer: ExplainAnswer) -> str:
    said: str = answer.state
    if answer.failure is not None:
        said += f": {answer.failure.cause or 'cause unknown'}"
    if answer.expected is not None:
        said += f"; qcmatrix says of this launch: {answer.expected}"
    inside = sum(each.inside for each in answer.predicted)
    if answer.predicted:
        said += f"; {inside} of {len(answer.predicted)} measured figures inside their interval"
    return said
