"""What the plugin's options ask for, and how an outcome becomes pytest's."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from qcmatrix.errors import FileProblem, UserError
from qcmatrix.matrix.entries import CPU, Entry, Expectation, Matrix, read_matrix
from qcmatrix.results.junit import junit_properties
from qcmatrix.results.schema import CaseResult, State
from qcmatrix.suites.items import Case, cases_of, chosen_entries
from qcmatrix.suites.run import Options, Run
from qcmatrix.suites.subject import target_of

__all__ = ["EXTERNAL", "Session"]

EXTERNAL = "external"
"""Id of the entry that stands for a server that was only named."""


class Session:
    """The cases of one pytest session, and the run that asks them."""

    def __init__(self, cases: Sequence[Case], run: Run) -> None:
        self.cases = tuple(cases)
        self.run = run
        self._by_entry: dict[str, list[Case]] = {}
        self._placing: dict[str, str] = {}
        self._told_blocked: set[str] = set()
        self._open: list[CaseResult] = []
        self._problems: list[str] = []

    @classmethod
    def of(cls, config: pytest.Config, default_results: Path) -> Session:
        """As the options say.

        Raises:
            UserError: an option, the matrix or a name in it is wrong.
        """
        wanted = [word.strip() for text in config.getoption("--profile") for word in text.split(",") if word.strip()]
        given = config.getoption("--results")
        url = config.getoption("--base-url")
        python = config.getoption("--vllm-python")
        matrix = Matrix(schema="qcmatrix.matrix/1", entry=())
        if url is None:
            matrix = read_matrix(_matrix_path(config))
            named = config.getoption("--entry")
            entries = chosen_entries(matrix.entry, named)
            if not named and not config.getoption("--nightly"):
                entries = tuple(entry for entry in entries if not entry.nightly)
        else:
            entries = (_external(url),)
        options = Options(
            results=Path(given) if given else default_results,
            vllm_python=Path(python) if python else None,
            any_release=config.getoption("--any-release"),
            hung_after=config.getoption("--hung-after"),
            at_once=max(1, config.getoption("--checks-at-once")),
            keep_all=config.getoption("--keep-exchanges") == "all",
            trigger=config.getoption("--trigger"),
            today=datetime.datetime.now(datetime.UTC).date(),
            expected_failures=matrix.expected_failure,
            target=None
            if url is None
            else target_of(url, config.getoption("--api-key-env"), config.getoption("--served-model")),
        )
        cases = [case for entry in entries for case in cases_of(entry, wanted)]
        return cls(cases, Run(options))

    def choose(self, cases: Sequence[Case]) -> None:
        """These are all that will be asked."""
        self._by_entry = {}
        for case in cases:
            self._by_entry.setdefault(case.entry.id, []).append(case)

    def cannot_run(self, case: Case) -> str:
        """Why the entry cannot be served here; empty where it can."""
        if self.run.options.target is not None:
            return ""
        if case.entry.id not in self._placing:
            from qcmatrix.serving.hardware import can_place, this_machine

            options = self.run.options
            self._placing[case.entry.id] = can_place(case.entry, this_machine()) or _cannot_serve(case.entry, options)
        return self._placing[case.entry.id]

    def ask(self, case: Case, record_property: Callable[[str, object], None]) -> None:
        """Ask, keep the outcome, and end the item as pytest does: pass, skip, xfail or fail."""
        try:
            result = self.run.result(case, self._by_entry.get(case.entry.id, [case]))
        except UserError as problem:  # no room for results, no place for a server: nothing that follows is better off
            pytest.exit("; ".join((problem.what, *problem.notes)), returncode=int(problem.exit_code))
        record_property("qc_entry", case.entry.id)
        for name, value in junit_properties(result):
            record_property(name, value)
        match result.state:
            case State.PASS:
                return
            case State.FLAKY:
                self._open.append(result)
            case State.XFAIL:
                pytest.xfail(f"{result.reason} ({result.issue})")
            case State.UNSUPPORTED | State.NOT_RUN | State.SKIP:
                pytest.skip(result.reason)
            case State.BLOCKED:
                if case.entry.id in self._told_blocked:
                    pytest.skip(f"blocked: {result.reason}")
                self._told_blocked.add(case.entry.id)
                _fail(f"blocked: {result.reason}")
            case _:
                _fail("\n".join(failure_lines(result)))

    def end_entry(self) -> None:
        """Stop the server that runs, if any, and write its result; what prevents that is told at the end."""
        try:
            self.run.end_entry()
        except UserError as problem:
            self._problems.append("; ".join((problem.what, *problem.notes)))

    def summary(self) -> Iterator[str]:
        """What is said at the end."""
        for result in self._open:
            yield f"qcmatrix: {result.id} {result.mode} is open: {result.observed}, asked for {result.threshold}"
        for problem in self._problems:
            yield f"qcmatrix: {problem}"
        for path in self.run.written:
            yield f"qcmatrix: result in {path}"


def failure_lines(result: CaseResult) -> Iterator[str]:
    """A failure for a reader: what was expected, what was seen, how to see it again."""
    yield f"{result.id} ({result.mode}): {result.state}"
    for name, text in (("expected", result.expected), ("observed", result.observed), ("because", result.reason)):
        if text:
            yield f"  {name}: {text}"
    if result.exchanges:
        yield f"  exchange: {result.exchanges[-1][:16]}"
    if result.curl:
        yield f"  again: {result.curl}"


def _fail(text: str) -> NoReturn:
    pytest.fail(text, pytrace=False)


def _matrix_path(config: pytest.Config) -> Path:
    given = config.getoption("--matrix")
    path = Path(given) if given else config.rootpath / "matrix.toml"
    if not path.exists():
        raise FileProblem(
            f"{path}: no such file", "name the matrix with --matrix FILE, or a server that runs with --base-url URL"
        )
    return path


def _external(url: str) -> Entry:
    return Entry(
        id=EXTERNAL,
        fleet=CPU,
        vllm="0",
        command="vllm serve",
        expect=Expectation(verdict="starts"),
        source=url,
        read=datetime.datetime.now(datetime.UTC).date(),
        profiles=(),
    )


def _cannot_serve(entry: Entry, options: Options) -> str:
    """Why no vLLM here serves it. Of the CPU build it is not asked: that is made when it is wanted."""
    if entry.fleet == CPU:
        return ""
    from qcmatrix.serving.installation import installation_for

    try:
        installation_for(entry, vllm_python=options.vllm_python, any_release=options.any_release)
    except UserError as problem:
        return "; ".join((problem.what, *problem.notes))
    return ""
