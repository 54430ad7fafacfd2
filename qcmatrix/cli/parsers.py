"""``qcmatrix parsers``: what the tool-call parsers of real releases did with the same texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from qcmatrix.cli import text as style
from qcmatrix.cli.options import json_option, vllm_option
from qcmatrix.errors import RequestError
from qcmatrix.probe.replay.matrix import TEMPLATE, Cell, Matrix, load_known, load_matrix
from qcmatrix.probe.replay.modes import GROUPS, MODES

__all__ = ["parsers_command"]

_DEFAULT = "qwen3_coder"
_COLUMN = 9  # as wide as 0+151/152
_SHOWN = 40  # of the cases that fail; more are counted
_WORDS = {
    "p": "passes",
    "f": "fails",
    "s": "right values in deltas of a wrong shape",
    "c": "crashes",
    "?": "not askable",
}


@click.command("parsers")
@vllm_option()
@click.option("--parser", "parser", metavar="PARSER", help="qwen3_coder (left out), qwen3_xml, hermes, or template.")
@click.option("--case", "pattern", metavar="CASE", help="Only cases that begin so: TC-14, TC-14.crlf.")
@json_option()
def parsers_command(vllm: str | None, parser: str | None, pattern: str | None, as_json: bool) -> None:
    """What the tool-call parser of each vLLM release makes of the same model outputs, whole and streamed.

    Replayed through the release's own parser and chat serving code, without a GPU. Without options: how many cases each
    release passes. With --vllm, the cases that fail there and what was seen; with --case, in which releases it fails.
    """
    matrix = load_matrix()
    name = TEMPLATE if parser in ("template", TEMPLATE) else parser or _DEFAULT
    known = sorted({*matrix.cells, *matrix.same_as, *matrix.missing})
    if name not in known:
        raise RequestError(f"there is no evidence of a parser {name!r}", f"there is of {', '.join(known) or 'none'}")
    if vllm is not None and vllm not in matrix.releases:
        raise RequestError(f"vLLM {vllm} has not been replayed", f"releases that have: {', '.join(matrix.releases)}")
    cases = [case for case in _titles() if _has(matrix, name, case) and case.startswith(pattern or "")]
    if not cases:
        raise RequestError(f"no case begins with {pattern!r}", f"the cases: {', '.join(_groups_of_cases())}")
    if as_json:
        import json

        click.echo(json.dumps(_answer(matrix, name, cases, vllm), indent=2, ensure_ascii=False))
        return
    if vllm is not None and (why := matrix.missing.get(name, {}).get(vllm)):
        click.echo(f"{name} in vLLM {vllm}: {why}")
        return
    lines = (
        _one_release(matrix, name, cases, vllm)
        if vllm
        else _ranges(matrix, name, cases)
        if pattern
        else _counts(matrix, name, cases)
    )
    for line in lines:
        click.echo(line)


def _titles() -> Mapping[str, str]:
    from qcmatrix.probe.replay.cases import load_cases
    from qcmatrix.probe.replay.history import load_history

    titles = {name: case.title for name, case in load_cases().items()}
    return titles | {name: case.title for name, case in load_history().items()}


def _groups_of_cases() -> Sequence[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in _titles()))


def _has(matrix: Matrix, parser: str, case: str) -> bool:
    return any(matrix.cell(parser, case, release) is not None for release in matrix.releases)


def _groups(parser: str) -> Mapping[str, str]:
    return {"rendered": ""} if parser == TEMPLATE else GROUPS


def _counts(matrix: Matrix, parser: str, cases: Sequence[str]) -> Iterator[str]:
    groups = _groups(parser)
    yield f"Cases that vLLM's {parser} passes, of those asked in that way"
    yield style.bold(f"{'vLLM':<10}" + "".join(f"{name:>{max(len(name), _COLUMN) + 3}}" for name in groups))
    for release in reversed(matrix.releases):
        if why := matrix.missing.get(parser, {}).get(release):
            yield f"{release:<10}   {why}"
            continue
        if not any(_cells(matrix, parser, cases, release)):
            yield f"{release:<10}   not replayed"
            continue
        row = f"{release:<10}"
        for name, modes in groups.items():
            found = [cell.worst(modes) for cell in _cells(matrix, parser, cases, release)]
            asked = [verdict for verdict in found if verdict not in (None, "?")]
            shaped = f"+{asked.count('s')}" if "s" in asked else ""
            passed = f"{asked.count('p')}{shaped}/{len(asked)}"
            row += f"{passed:>{max(len(name), _COLUMN) + 3}}"
        same = matrix.same_as.get(parser, {}).get(release)
        yield row + (f"   (the same as {same})" if same else "")
    if any(cell.worst() == "s" for release in matrix.releases for cell in _cells(matrix, parser, cases, release)):
        yield "+N: the values are right and the deltas are of a shape that breaks clients"
    yield from style.wrapped(
        "Next: --vllm RELEASE shows the cases that fail there, --case TC-14 the releases that fail a case.",
        first="",
        rest="",
    )


def _cells(matrix: Matrix, parser: str, cases: Sequence[str], release: str) -> Iterator[Cell]:
    for case in cases:
        cell = matrix.cell(parser, case, release)
        if cell is not None:
            yield cell


def _ranges(matrix: Matrix, parser: str, cases: Sequence[str]) -> Iterator[str]:
    for case in cases:
        yield from style.wrapped(f"{case}: {_titles()[case]}", first="", rest="    ")
        for name, modes in _groups(parser).items():
            if not any(
                cell.worst(modes) for release in matrix.releases for cell in _cells(matrix, parser, [case], release)
            ):
                continue
            ranges = matrix.ranges(parser, case, modes)
            failing = ", ".join(first if first == last else f"{first} to {last}" for first, last in ranges)
            said = click.style(f"fails in {failing}", fg="red") if ranges else click.style("passes in all", fg="green")
            yield from style.wrapped(said, first=f"  {name:<24}", rest=" " * 26)
        yield from _why(matrix, parser, case)


def _why(matrix: Matrix, parser: str, case: str, release: str | None = None) -> Iterator[str]:
    """The known failures that explain this one."""
    same_as = matrix.same_as.get(parser, {})
    for known in load_known():
        # Where two names are one class, what is known is kept under one of them.
        releases = [each for each in ([release] if release else matrix.releases) if known.holds_in(each)]
        if not any(known.speaks_of(same_as.get(each, parser), case) for each in releases):
            continue
        where = known.first if known.first == known.last else f"{known.first} to {known.last}"
        yield from style.wrapped(f"{where}: {known.wrong}", first="  = ", rest="    ")
        for url in known.urls:
            yield f"    {url}"


def _one_release(matrix: Matrix, parser: str, cases: Sequence[str], release: str) -> Iterator[str]:
    same = matrix.same_as.get(parser, {}).get(release)
    yield f"{parser} of vLLM {release}" + (f" (the same as {same})" if same else "")
    failing: list[tuple[str, Cell]] = []
    for case in cases:
        cell = matrix.cell(parser, case, release)
        if cell is not None and cell.worst() != "p":
            failing.append((case, cell))
    asked = len(list(_cells(matrix, parser, cases, release)))
    yield (
        f"{asked - len(failing)} of {asked} cases pass in every way; these do not:"
        if failing
        else f"all {asked} cases pass"
    )
    for case, cell in failing[:_SHOWN]:
        yield from style.wrapped(f"{style.bold(case)}: {_titles()[case]}", first="", rest="    ")
        told: dict[str, list[str]] = {}
        for name, modes in _groups(parser).items():
            verdict = cell.worst(modes)
            if verdict not in (None, "p"):
                seen = cell.sight(modes)
                told.setdefault(_WORDS[verdict or "?"] + (f": {seen}" if seen else ""), []).append(name)
        for said, ways in told.items():
            way = "in every way" if len(ways) == len(_groups(parser)) else ", ".join(ways)
            yield from style.wrapped(f"{way}: {said}", first="  ", rest="      ")
        yield from _why(matrix, parser, case, release)
    if len(failing) > _SHOWN:
        yield f"and {len(failing) - _SHOWN} more: --json shows all, --case TC-14 some"


def _answer(matrix: Matrix, parser: str, cases: Sequence[str], vllm: str | None) -> dict[str, Any]:
    releases = [vllm] if vllm else list(matrix.releases)
    return {
        "parser": parser,
        "modes": {letter: mode.title for letter, mode in MODES.items()} if parser != TEMPLATE else {},
        "verdicts": _WORDS,
        "releases": releases,
        "not_askable": {r: why for r, why in matrix.missing.get(parser, {}).items() if r in releases},
        "cases": [
            {
                "id": case,
                "title": _titles()[case],
                "releases": {
                    release: {"modes": cell.modes, "verdicts": cell.letters, "seen": cell.seen}
                    for release in releases
                    if (cell := matrix.cell(parser, case, release)) is not None
                },
            }
            for case in cases
        ],
    }
