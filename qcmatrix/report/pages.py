"""The derived pages, as text."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from qcmatrix.errors import EXIT_CODES
from qcmatrix.evidence.summary import lines_of
from qcmatrix.rules import all_rules
from qcmatrix.rules.declare import Rule

__all__ = ["MARKS", "PAGES", "filled_readme", "run_pages"]

_HEADINGS = ("What it finds", "Why it fails", "What to do", "Not covered")


def rule_index() -> str:
    """All rules in one table."""
    rows = "".join(
        f"| [{rule.id}]({rule.id}.md) | {rule.title} | {rule.outcome.value} | {rule.holds} | {rule.level.value} |\n"
        for rule in all_rules()
    )
    return f"# Rules\n\n| Rule | Finds | Outcome | vLLM | Known |\n|---|---|---|---|---|\n{rows}"


def rule_page(rule: Rule) -> str:
    """One rule as Markdown, from its docstring."""
    lines = [f"# {rule.title}", "", f"`{rule.id}`", ""]
    lines += [f"## {line}\n" if line in _HEADINGS else line for line in rule.page.splitlines()[1:]]
    lines += ["", "## How it is known", ""]
    lines += [f"- Holds for vLLM {rule.holds}; outcome: {rule.outcome.value}."]
    lines += [f"- {name}: {text}" for name, text in lines_of(rule.evidence)]
    lines += [f'- {source.level.value}: <{source.url}>: "{source.quote}"' for source in rule.sources]
    text = "\n".join(lines) + "\n"
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text


def _rule_pages() -> Iterator[tuple[Path, str]]:
    yield Path("docs/rules/README.md"), rule_index()
    for rule in all_rules():
        yield Path(f"docs/rules/{rule.id}.md"), rule_page(rule)


def _schemas() -> Iterator[tuple[Path, str]]:
    import json

    from qcmatrix.answers.schema import SCHEMAS, json_schema

    for name in sorted(SCHEMAS):
        yield Path(f"docs/schemas/{name}.json"), json.dumps(json_schema(name), indent=2) + "\n"


def _accuracy() -> Iterator[tuple[Path, str]]:
    from qcmatrix.report.accuracy import packaged_page

    yield Path("reports/accuracy.md"), packaged_page()


def _latency() -> Iterator[tuple[Path, str]]:
    from qcmatrix.report.latency import latency_page

    yield Path("reports/latency.md"), latency_page()


def _served() -> Iterator[tuple[Path, str]]:
    from qcmatrix.report.served import served_lines

    yield Path("qcmatrix/answers/data/served.jsonl"), served_lines()


def _evidence() -> Iterator[tuple[Path, str]]:
    from qcmatrix.report.evidence import evidence_page, summary_json

    yield Path("reports/evidence.md"), evidence_page()
    yield Path("qcmatrix/evidence/data/summary.json"), summary_json()


def _parsers() -> Iterator[tuple[Path, str]]:
    from qcmatrix.report.replay import parsers_page

    yield Path("reports/tool-parsers.md"), parsers_page()


def _checks() -> Iterator[tuple[Path, str]]:
    from qcmatrix.report.checks import checks_index, suite_page
    from qcmatrix.suites.registry import SUITES

    yield Path("docs/checks/README.md"), checks_index()
    for suite in SUITES:
        yield Path(f"docs/checks/{suite}.md"), suite_page(suite)


PAGES: tuple[Callable[[], Iterator[tuple[Path, str]]], ...] = (
    _rule_pages,
    _schemas,
    _accuracy,
    _latency,
    _served,
    _evidence,
    _parsers,
    _checks,
)


def run_pages(root: Path) -> Iterator[tuple[Path, str]]:
    """The page of what was served: of the results and the entries that lie in the checkout ``root``.

    Raises:
        FileProblem: one of them cannot be read.
    """
    from qcmatrix.matrix.entries import read_matrix
    from qcmatrix.report.served_runs import served_page
    from qcmatrix.results.store import read_results

    results = read_results(root / "reports" / "runs")
    yield Path("reports/served.md"), served_page(results, read_matrix(root / "matrix.toml").entry)


def _exit_codes() -> str:
    rows = "".join(f"| {int(code)} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    return f"| Exit code | Meaning |\n|---|---|\n{rows}"


def _counts() -> str:
    from qcmatrix.catalogue.gpus import gpu_names
    from qcmatrix.catalogue.models import all_checkpoints
    from qcmatrix.catalogue.releases import release_names

    names = release_names()
    return (
        f"{len(all_rules())} rules, {len(all_checkpoints())} checkpoints, {len(gpu_names())} GPUs, "
        f"{len(names)} vLLM releases ({names[0]} to {names[-1]}).\n"
    )


def _shown(*arguments: str) -> Callable[[], str]:
    """What the command prints to a pipe of 80 columns, under the words that made it."""

    def made() -> str:
        words = [sys.executable, "-m", "qcmatrix", *arguments]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=_plain_environment())  # noqa: S603
        return f"$ qcmatrix {shlex.join(arguments)}\n{done.stdout}"

    return made


def _plain_environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return {**environment, "COLUMNS": "80", "PYTHONPATH": os.pathsep.join(sys.path)}


MARKS: dict[str, Callable[[], str]] = {
    "exit-codes": _exit_codes,
    "counts": _counts,
    "suggest": _shown("suggest", "--gpus", "8xH20", "--ctx", "1M", "--top", "1"),
    "check": _shown(
        "check",
        "--gpus",
        "8xH200",
        "--vllm",
        "0.10.0",
        "--",
        "vllm",
        "serve",
        "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8",
        "--tensor-parallel-size",
        "8",
    ),
    "refusal": _shown("suggest", "--gpus", "1xH100-80", "--ctx", "256K", "--model", "480b-fp8"),
}
"""Parts of the README between ``<!-- name -->`` and ``<!-- /name -->``."""


def filled_readme(text: str) -> str:
    """The README with its derived parts made anew.

    Raises:
        ValueError: a mark is missing.
    """
    for name, made in MARKS.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise ValueError(f"README.md lacks the marks of {name}")
        text = before + start + made() + end + after
    return text
