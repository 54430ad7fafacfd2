"""The pytest plugin: an item per entry, check and mode; a server per entry; a result per run.

Loaded in every pytest of an environment that has qcmatrix: nothing heavy is imported before an item of ours is wanted.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from qcmatrix.suites.session import Session

__all__ = ["session_of"]

_SESSION: pytest.StashKey[Session] = pytest.StashKey()
_PROBLEM: pytest.StashKey[str] = pytest.StashKey()
_RESULTS = "reports/runs"
_ENTRY_IN_ID = re.compile(r"::test_check\[([a-z0-9.-]+)-[A-Z]+-\d")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a run."""
    group = parser.getgroup("qcmatrix", "qcmatrix: serve the entries of a matrix and check them")
    group.addoption("--matrix", metavar="FILE", help="the matrix (default: matrix.toml of the root directory)")
    group.addoption("--entry", action="append", default=[], metavar="ID", help="only this entry, or this pattern")
    group.addoption(
        "--profile",
        action="append",
        default=[],
        metavar="NAMES",
        help="only these profiles, suites or checks (tools,fim-raw,TC-14)",
    )
    group.addoption(
        "--require-hardware", action="store_true", help="what cannot run for lack of hardware fails, and is not skipped"
    )
    group.addoption("--nightly", action="store_true", help="entries marked `nightly` as well")
    group.addoption("--base-url", metavar="URL", help="ask this server, which runs already, in place of the matrix")
    group.addoption("--api-key-env", metavar="NAME", help="the variable that holds its API key")
    group.addoption("--served-model", metavar="NAME", help="the name that it serves the model by (default: the first)")
    group.addoption("--vllm-python", metavar="PYTHON", help="the Python whose vLLM serves")
    group.addoption("--any-release", action="store_true", help="an entry may be served by another release than its own")
    group.addoption("--results", metavar="DIR", help=f"where results go (default: {_RESULTS})")
    group.addoption("--keep-exchanges", choices=("failures", "all"), default="failures", help="which bodies are kept")
    group.addoption("--checks-at-once", type=int, default=8, metavar="N", help="checks asked of a server side by side")
    group.addoption(
        "--hung-after",
        type=float,
        metavar="SECONDS",
        help="a server that answers nothing for so long is ended (20; CPU 60)",
    )
    group.addoption("--trigger", choices=("manual", "nightly", "ci"), default="manual", help="noted in the result")


def pytest_configure(config: pytest.Config) -> None:
    """The markers: one per kind of card."""
    from qcmatrix.suites.items import gpu_marks

    for name, meaning in gpu_marks().items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    config.addinivalue_line("markers", "suite(name): the suite of a check")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The items: entry by entry, in the order in which they are asked."""
    if "suite_case" not in metafunc.fixturenames:
        return
    from qcmatrix.suites.items import marks_of

    try:
        session = _session(metafunc.config)
    except pytest.UsageError as error:  # raised here it would be shown as an error of the module
        metafunc.config.stash[_PROBLEM] = str(error)
        metafunc.parametrize("suite_case", [])
        return
    parameters = []
    for case in session.cases:
        marks = [getattr(pytest.mark, name) for name in marks_of(case.entry)]
        marks.append(pytest.mark.suite("boot" if case.check is None else case.check.suite))
        parameters.append(pytest.param(case, id=case.id, marks=marks))
    metafunc.parametrize("suite_case", parameters)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ours come last: a server is not started while unit tests wait."""
    own = [item for item in items if _case(item) is not None]
    if own and len(own) != len(items):
        items[:] = [item for item in items if _case(item) is None] + own


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadgroup`` one worker has all items of an entry, and its server.

    By the ids of the items: xdist 3.8 marks groups in a way that pytest 9.2 does not see.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByEntry(LoadScopeScheduling):  # type: ignore[misc]  # xdist may not be installed
        def _split_scope(self, nodeid: str) -> str:
            found = _ENTRY_IN_ID.search(nodeid)
            return found[1] if found else nodeid

    return ByEntry(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was chosen by ``-m`` and ``-k`` is all that is asked, and all that a result promises."""
    if _PROBLEM in session.config.stash:
        raise pytest.UsageError(session.config.stash[_PROBLEM])
    chosen = [case for item in session.items if (case := _case(item)) is not None]
    if chosen:
        _session(session.config).choose(chosen)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here, before anything is started."""
    case = _case(item)
    if case is None:
        return
    reason = _session(item.config).cannot_run(case)
    if reason:
        if item.config.getoption("--require-hardware"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The server goes when the next item is another entry's."""
    case = _case(item)
    following = None if nextitem is None else _case(nextitem)
    if case is not None and (following is None or following.entry.id != case.entry.id):
        _session(item.config).end_entry()


@pytest.fixture(scope="session")
def qcmatrix_run(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The run, ended in good order however the session ends; SIGTERM is taken as Ctrl-C."""
    session = _session(request.config)

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield session
    finally:
        signal.signal(signal.SIGTERM, before)
        session.end_entry()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Whatever still runs ends here."""
    if _SESSION in session.config.stash:
        session.config.stash[_SESSION].end_entry()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Where the results are, and the rates that are open."""
    if _SESSION not in config.stash:
        return
    for line in config.stash[_SESSION].summary():
        terminalreporter.write_line(line)


def session_of(config: pytest.Config) -> Session | None:
    """The cases and the run of this pytest session; ``None``: none was wanted."""
    return config.stash.get(_SESSION, None)


def _case(item: pytest.Item) -> Any:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("suite_case")


def _session(config: pytest.Config) -> Session:
    if _SESSION not in config.stash:
        from qcmatrix.errors import UserError
        from qcmatrix.suites.session import Session

        try:
            config.stash[_SESSION] = Session.of(config, _default_results(config))
        except UserError as error:
            raise pytest.UsageError("\n".join((error.what, *(f"  = {note}" for note in error.notes)))) from None
    return config.stash[_SESSION]


def _default_results(config: pytest.Config) -> Path:
    return config.rootpath / _RESULTS
