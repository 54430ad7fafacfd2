"""The page of tool-call parsers: which release passes which case, from the evidence."""

from __future__ import annotations

from collections.abc import Iterator

from qcmatrix.probe.replay.cases import load_cases
from qcmatrix.probe.replay.history import load_history
from qcmatrix.probe.replay.judge import CRASH, FAIL
from qcmatrix.probe.replay.matrix import TEMPLATE, Matrix, load_known, load_matrix
from qcmatrix.probe.replay.modes import GROUPS, MODES, WRONG_PARSER

__all__ = ["parsers_page"]

_ROWS = ("qwen3_coder", "qwen3_xml", TEMPLATE)
_HEAD = """# Tool-call parsers, release by release

Each case is a text as the model writes it, or nearly so, put through the parser and the chat serving code of the real
release without a GPU, whole and cut in several ways. Made from the evidence by `python -m qcmatrix.report --write`; in
a terminal: `qcmatrix parsers`.
"""

_NOTE = """
Hermes is what guides for other Qwen models name: it is asked only whether it sees calls. The two others are made for
this family, and from 0.24.0 on they are one class. +N: so many cases more bring the right values, in deltas of a shape
that breaks clients; the tables below leave these out.
"""


def parsers_page(matrix: Matrix | None = None) -> str:
    """The whole page as Markdown."""
    matrix = matrix or load_matrix()
    return _HEAD + "".join(_page(matrix))


def _page(matrix: Matrix) -> Iterator[str]:
    yield "\n## How many cases pass\n\n| vLLM |"
    parsers = [parser for parser in ("qwen3_coder", "qwen3_xml", WRONG_PARSER, TEMPLATE) if parser in matrix.cells]
    heads = [(parser, name, modes) for parser in parsers[:2] for name, modes in GROUPS.items()]
    heads += [(parser, "", "") for parser in parsers[2:]]
    yield "".join(f" {parser}{': ' if name else ''}{name} |" for parser, name, _ in heads) + "\n"
    yield "|---|" + "---:|" * len(heads) + "\n"
    for release in reversed(matrix.releases):
        yield f"| {release} |" + "".join(_count(matrix, release, *head) for head in heads) + "\n"
    yield _NOTE
    yield "\n## The ways of delivery\n\n| | |\n|---|---|\n"
    yield from (f"| `{mode.letter}` | {mode.title} |\n" for mode in MODES.values())
    yield "\n## Which releases fail a case\n\n"
    yield "Cases that are not here pass in every release and every way that was asked.\n"
    for parser in _ROWS:
        if parser in matrix.cells:
            yield from _failing(matrix, parser)
    yield "\n## What is known of it\n\n"
    yield from _known_lines()
    yield "\n## CPU time for one long argument\n\n"
    yield from _times(matrix)


def _count(matrix: Matrix, release: str, parser: str, _: str, modes: str) -> str:
    found = [matrix.cell(parser, case, release) for case in (*load_cases(), *load_history())]
    verdicts = [verdict for cell in found if cell is not None and (verdict := cell.worst(modes)) not in (None, "?")]
    shaped = f"+{verdicts.count('s')}" if "s" in verdicts else ""
    return f" {verdicts.count('p')}{shaped}/{len(verdicts)} |" if verdicts else " |"


def _failing(matrix: Matrix, parser: str) -> Iterator[str]:
    groups = {"rendered": ""} if parser == TEMPLATE else GROUPS
    titles = {name: case.title for name, case in load_cases().items()}
    titles |= {name: case.title for name, case in load_history().items()}
    yield f"\n### {parser}\n\n| Case | |" + "".join(f" {name} |" for name in groups) + "\n"
    yield "|---|---|" + "---|" * len(groups) + "\n"
    for case in sorted(matrix.cells[parser]):
        spans = [matrix.ranges(parser, case, modes, FAIL + CRASH) for modes in groups.values()]
        if any(spans):
            yield f"| {case} | {_safe(titles[case])} |" + "".join(f" {_spelt(span)} |" for span in spans) + "\n"


def _spelt(ranges: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(first if first == last else f"{first} to {last}" for first, last in ranges)


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _known_lines() -> Iterator[str]:
    for known in load_known():
        where = known.first if known.first == known.last else f"{known.first} to {known.last}"
        links = "".join(f" <{url}>" for url in known.urls)
        yield f"- {known.parser}, {known.case}, {where}: {_safe(known.wrong)}{links}\n"


def _times(matrix: Matrix) -> Iterator[str]:
    yield "Seconds of the API server's CPU, one digit, on the machine that probed; what counts is how they grow.\n\n"
    yield "| vLLM | parser | letters | whole | token by token | four tokens at a time |\n"
    yield "|---|---|---:|---:|---:|---:|\n"
    for release in reversed(matrix.releases):
        for parser, of_parser in sorted(matrix.times.items()):
            for size, measured in of_parser.get(release, {}).items():
                if not isinstance(measured, dict):
                    yield f"| {release} | {parser} | {size} | {measured} | | |\n"
                    continue
                figures = [measured.get(key) for key in ("whole", "streamed", "streamed_by_four")]
                yield f"| {release} | {parser} | {size} |" + "".join(f" {figure:g} |" for figure in figures) + "\n"
