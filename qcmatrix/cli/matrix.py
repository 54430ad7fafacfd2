"""``qcmatrix matrix``."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from qcmatrix.cli import text as style
from qcmatrix.cli.options import json_option
from qcmatrix.errors import CatalogueError, ExitCode, RequestError
from qcmatrix.matrix.entries import CPU, Entry, read_matrix
from qcmatrix.matrix.problems import problems_of
from qcmatrix.matrix.validate import Judged, MatrixAnswer, judge_entry

_EXPECTATIONS = ("starts", "does-not-fit", "refused", "wrong")
_MOST_JOBS = 256
"""Of one matrix of GitHub's (https://docs.github.com/en/actions/reference/limits)."""


@click.command("matrix")
@click.option("--file", "path", type=click.Path(path_type=Path), default=Path("matrix.toml"), show_default=True)
@click.option("--entry", "ids", multiple=True, metavar="GLOB", help="Only entries whose id matches: '30b-*'.")
@click.option("--gpu", metavar="GPU", help="Only entries for this card: H200, H20 (both of them), cpu.")
@click.option("--vllm", metavar="RELEASE", help="Only entries for this release.")
@click.option("--profile", metavar="PROFILE", help="Only entries that have to pass this suite or profile.")
@click.option("--expect", type=click.Choice(_EXPECTATIONS), help="Only entries of which this is expected.")
@click.option("--github", is_flag=True, help="Print the matrix of jobs for a GitHub workflow, one job per entry.")
@json_option()
def matrix_command(
    path: Path,
    ids: tuple[str, ...],
    gpu: str | None,
    vllm: str | None,
    profile: str | None,
    expect: str | None,
    github: bool,
    as_json: bool,
) -> int:
    """List the entries of matrix.toml, each checked against the rules and the memory model.

    An entry that cannot do what is expected of it is an error here, before any GPU is touched.
    """
    if github and as_json:
        raise RequestError("--github and --json are two forms of one answer", "choose one")
    matrix = read_matrix(path)
    problems = problems_of(matrix, today=datetime.datetime.now(datetime.UTC).date())
    judged = [judge_entry(entry) for entry in _wanted(matrix.entry, ids, gpu, vllm, profile, expect)]
    bad = bool(problems) or any(each.disagreements for each in judged)
    if github:
        click.echo(json.dumps({"include": _jobs(judged)}))
        if bad:
            _tell(path, problems, [each for each in judged if each.disagreements], to_stderr=True)
    elif as_json:
        answer = MatrixAnswer(problems=problems, entries=tuple(judged))
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2))
    else:
        _tell(path, problems, judged, to_stderr=False)
    return int(ExitCode.FINDINGS if bad else ExitCode.OK)


def _wanted(
    entries: Sequence[Entry],
    ids: Sequence[str],
    gpu: str | None,
    vllm: str | None,
    profile: str | None,
    expect: str | None,
) -> list[Entry]:
    """The entries that meet every wish.

    Raises:
        CatalogueError: none is left; which wish took the last.
    """
    from qcmatrix.suites.items import chosen_entries, gpu_marks, marks_of

    left = list(chosen_entries(entries, ids))
    card = re.sub(r"[^a-z0-9]+", "_", (gpu or "").lower())
    if gpu is not None and card not in gpu_marks():
        raise CatalogueError(f"no GPU is called {gpu!r}", "`qcmatrix gpus` lists them; `cpu` is the CPU build's")
    wishes: list[tuple[str, str | None, Callable[[Entry], Any]]] = [
        ("--gpu", gpu, lambda entry: card in marks_of(entry)),
        ("--vllm", vllm, lambda entry: entry.vllm == vllm),
        ("--profile", profile, lambda entry: profile in (entry.profiles or ())),
        ("--expect", expect, lambda entry: entry.expect.verdict == expect),
    ]
    for option, value, meets in wishes:
        before, left = left, [entry for entry in left if value is None or meets(entry)]
        if not left:
            raise CatalogueError(f"no entry is left with {option} {value}", f"entries before it: {len(before)}")
    return left


def _jobs(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """One job per entry: who may run it, and with which mark.

    Raises:
        RequestError: more than GitHub takes.
    """
    if len(judged) > _MOST_JOBS:
        raise RequestError(
            f"{len(judged)} entries are more than the {_MOST_JOBS} jobs that GitHub takes",
            "narrow them: --gpu, --entry",
        )
    return [_job(each.entry) for each in judged]


def _job(entry: Entry) -> dict[str, Any]:
    from qcmatrix.catalogue.fleets import parse_fleet
    from qcmatrix.suites.items import marks_of

    *_, marker = marks_of(entry)  # the closest one: h20_141 and not h20
    if entry.fleet == CPU:
        gpus, sku, labels = 0, CPU, ["ubuntu-latest"]
    else:
        fleet = parse_fleet(entry.fleet)[0]
        gpus, sku = fleet.count, fleet.gpu.name
        labels = ["self-hosted", "gpu", marker, *([f"gpus-{gpus}"] if gpus > 1 else [])]
    return {
        "id": entry.id,
        "labels": labels,
        "gpus": gpus,
        "sku": sku,
        "marker": marker,
        "vllm": entry.vllm,
        "image": entry.image,
    }


def _tell(path: Path, problems: Sequence[str], judged: Sequence[Judged], *, to_stderr: bool) -> None:
    for each in judged:
        state = "ok" if not each.disagreements else style.paint_severity("error", "disagrees")
        verdict = style.paint_verdict(each.verdict)
        where = f"{each.entry.fleet}, vLLM {each.entry.vllm}"
        if each.entry.fleet == CPU and each.verdict == "unknown" and not each.disagreements:
            verdict, state = "not sized", "ok: no rule speaks against it"
        click.echo(f"{each.entry.id}: {verdict} on {where} ({state})", err=to_stderr)
        for problem in each.disagreements:
            _note(problem, to_stderr)
    if problems:
        click.echo(f"{style.paint_severity('error', 'error')}: {path} needs work", err=to_stderr)
        for problem in problems:
            _note(problem, to_stderr)


def _note(text: str, to_stderr: bool) -> None:
    for line in style.wrapped(text, first="  = ", rest="    "):
        click.echo(line, err=to_stderr)
