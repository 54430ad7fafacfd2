"""``qcmatrix verify``: entries served for real, progress on stderr, the result on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcmatrix.cli import text as style
from qcmatrix.cli.options import json_option
from qcmatrix.errors import ExitCode, RequestError, UserError

if TYPE_CHECKING:
    from qcmatrix.results.schema import CaseResult, Result
    from qcmatrix.suites.progress import Step

_COLOURS = {"pass": "green", "supported": "green", "fail": "red", "error": "red", "xpass": "red", "blocked": "red"}
_SHOWN = ("fail", "error", "xpass", "blocked", "flaky")


@click.command("verify")
@click.argument("entries", nargs=-1, metavar="[ENTRY]...")
@click.option("--matrix", "matrix", type=click.Path(path_type=Path), default=Path("matrix.toml"), show_default=True)
@click.option("--base-url", metavar="URL", help="Ask this server, which runs already: http://host:8000/v1.")
@click.option("--api-key-env", metavar="NAME", help="The variable that holds its API key.")
@click.option("--served-model", metavar="NAME", help="The name that it serves the model by; the first that it lists.")
@click.option("--profile", "profiles", multiple=True, metavar="NAMES", help="Only these: tools,fim-raw,TC-14.")
@click.option("--vllm-python", metavar="PYTHON", type=click.Path(path_type=Path), help="The Python whose vLLM serves.")
@click.option("--any-release", is_flag=True, help="Serve an entry with another release than its own.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("reports/runs"), show_default=True)
@click.option("--keep-exchanges", type=click.Choice(["failures", "all"]), default="failures", show_default=True)
@json_option()
def verify_command(
    entries: tuple[str, ...],
    matrix: Path,
    base_url: str | None,
    api_key_env: str | None,
    served_model: str | None,
    profiles: tuple[str, ...],
    vllm_python: Path | None,
    any_release: bool,
    results: Path,
    keep_exchanges: str,
    as_json: bool,
) -> int:
    """Serve entries of the matrix and check them, or check a server that runs.

    \b
    qcmatrix verify 480b-fp8-tp8ep-256k-8xh200
    qcmatrix verify --base-url http://host:8000/v1 --api-key-env KEY --profile tools,fim
    """
    if bool(entries) == (base_url is not None):
        raise RequestError("name entries of the matrix, or a server with --base-url", "`qcmatrix matrix` lists entries")
    try:
        import httpx  # noqa: F401 - what the suites need besides
        import pytest
    except ImportError as error:
        raise RequestError(f"{error.name} is not installed", "pip install 'qcmatrix[serve]'") from None
    from qcmatrix.matrix.entries import read_matrix
    from qcmatrix.suites.items import chosen_entries
    from qcmatrix.suites.progress import Progress
    from qcmatrix.suites.registry import find_checks

    for name in (word.strip() for names in profiles for word in names.split(",")):
        find_checks(name)
    if base_url is None:
        chosen_entries(read_matrix(matrix).entry, entries)
    else:
        _is_there(base_url, api_key_env, served_model)
    arguments = ["--pyargs", "qcmatrix.suites.test_suites", "-c", str(_ini()), "-p", "no:terminal"]
    arguments += ["-p", "no:cacheprovider", "--results", str(results.absolute()), "--keep-exchanges", keep_exchanges]
    arguments += [word for name in profiles for word in ("--profile", name)]
    if base_url is not None:
        arguments += ["--base-url", base_url]
        arguments += ["--api-key-env", api_key_env] if api_key_env else []
        arguments += ["--served-model", served_model] if served_model else []
    else:
        arguments += ["--matrix", str(matrix.absolute()), *(word for name in entries for word in ("--entry", name))]
        arguments += ["--vllm-python", str(vllm_python)] if vllm_python else []
        arguments += ["--any-release"] if any_release else []
    shown = _Shown()
    progress = Progress(shown.step)
    keeper = _Keeper()
    code = int(pytest.main(arguments, plugins=[progress, keeper]))
    shown.clear()
    if keeper.problem is not None:
        raise keeper.problem
    for problem in progress.problems:
        click.echo(problem, err=True)
    return _report(keeper.results(), shown, code, as_json)


def _is_there(base_url: str, api_key_env: str | None, served_model: str | None) -> None:
    """A server that does not answer is one message, and no run.

    Raises:
        UserError: it is not there, or cannot be asked so.
    """
    from qcmatrix.exchange.wire import Wire
    from qcmatrix.suites.subject import subject_at, target_of

    target = target_of(base_url, api_key_env, served_model)
    wire = Wire(target.root, api_key=target.api_key)
    try:
        subject_at(target.root, wire, has_key=target.api_key is not None, model=target.model)
    finally:
        wire.close()


class _Keeper:
    """Takes the run's results, and what was wrong with what it was asked, out of pytest."""

    def __init__(self) -> None:
        self.problem: UserError | None = None
        self._written: list[Path] = []

    def pytest_sessionfinish(self, session: Any) -> None:
        """After the plugin's own, which writes them."""
        from qcmatrix.suites.plugin import session_of

        own = session_of(session.config)
        if own is not None:
            own.end_entry()
            self._written = own.run.written

    def results(self) -> list[Result]:
        """The results that were written."""
        from qcmatrix.boundary import read_json
        from qcmatrix.results.schema import Result

        return [read_json(path, Result) for path in self._written]


class _Shown:
    """One line on a terminal; a line per step where there is none to move on."""

    def __init__(self) -> None:
        self._moves = sys.stderr.isatty()
        self._wide = 0
        self.skipped: dict[str, int] = {}

    def step(self, step: Step) -> None:
        """One more has ended."""
        if step.state == "skipped":
            self.skipped[step.text] = self.skipped.get(step.text, 0) + 1
        bad = step.state in _SHOWN or step.state == "failed"
        line = f"[{step.done}/{step.total}] {step.id}: {step.state}"
        if self._moves:
            line = line[: style.width() - 1]
            click.echo("\r" + line.ljust(self._wide), nl=False, err=True)
            self._wide = len(line)
        if bad:
            self.clear()
            click.echo(step.text, err=True)
        elif step.state == "skipped":
            return
        elif not self._moves and (step.done % 50 == 0 or step.done == step.total):
            click.echo(line, err=True)

    def clear(self) -> None:
        """Take the moving line away."""
        if self._moves and self._wide:
            click.echo("\r" + " " * self._wide + "\r", nl=False, err=True)
            self._wide = 0


def _report(results: list[Result], shown: _Shown, code: int, as_json: bool) -> int:
    import msgspec

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(results), indent=2).decode())
    else:
        for result in results:
            for line in _lines(result):
                click.echo(line)
    if not results:
        for reason, count in shown.skipped.items():
            click.echo(f"not asked ({count}): {reason}", err=True)
        return int(ExitCode.ENVIRONMENT) if shown.skipped else int(ExitCode.INTERRUPTED if code == 2 else code)
    if code == 2:
        return int(ExitCode.INTERRUPTED)
    return int(ExitCode.OK if code == 0 else ExitCode.FINDINGS)


def _lines(result: Result) -> Iterator[str]:
    boot = result.boot
    started = "" if boot is None else f", started in {boot.seconds:.0f} s" if boot.ok else ", did not start"
    yield style.bold(f"{result.entry.id}: {result.entry.model or 'a server'}, vLLM {result.entry.vllm}{started}")
    if boot is not None and not boot.ok:
        yield from style.wrapped(boot.cause, first="  ", rest="    ")
    for name, profile in sorted(result.profiles.items()):
        state = click.style(profile.state, fg=_COLOURS.get(profile.state, "yellow"))
        core, more = profile.core, profile.extended
        yield f"  {name}: {state} (core {core[0]} of {core[1]}, extended {more[0]} of {more[1]})"
    counts: dict[str, int] = {}
    for case in result.cases:
        counts[case.state] = counts.get(case.state, 0) + 1
    yield "  " + ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    blocked = [case for case in result.cases if case.state == "blocked"]
    for case in result.cases:
        if case.state in _SHOWN and case not in blocked[1:]:  # they all have the same cause
            yield from _case_lines(case)


def _case_lines(case: CaseResult) -> Iterator[str]:
    yield f"  {click.style(case.state, fg=_COLOURS.get(case.state, 'yellow'))} {case.id} ({case.mode})"
    for label, said in (("expected", case.expected), ("observed", case.observed), ("because", case.reason)):
        if said:
            yield from style.wrapped(f"{label}: {said}", first="    ", rest="      ")


def _ini() -> Path:
    import qcmatrix.suites

    return Path(qcmatrix.suites.__file__).parent / "verify.ini"
