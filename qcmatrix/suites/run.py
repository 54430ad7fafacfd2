"""One run: the entries one after the other, each with one start of its server, every outcome kept as it comes."""

from __future__ import annotations

import datetime
import hashlib
import platform
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import msgspec

from qcmatrix import __version__
from qcmatrix.errors import UserError
from qcmatrix.exchange.wire import Wire
from qcmatrix.launch.secrets import redact_argv, secret_values
from qcmatrix.launch.shell import split_shell
from qcmatrix.matrix.entries import CPU, Entry, ExpectedFailure
from qcmatrix.results.schema import BootResult, CaseResult, Host, ResultEntry, State, Suite
from qcmatrix.results.store import Journal, read_results, recover
from qcmatrix.suites.bench import Subject
from qcmatrix.suites.items import Case
from qcmatrix.suites.registry import all_checks
from qcmatrix.suites.runner import Outcome, run_check
from qcmatrix.suites.subject import Target, subject_at, subject_of

__all__ = ["EntryRun", "Options", "Run"]

Say = Callable[[str], None]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is done."""

    results: Path
    """Where results go."""
    vllm_python: Path | None = None
    any_release: bool = False
    """An entry may be served by another release than its own."""
    hung_after: float | None = None
    """Seconds without an answer from ``/health`` after which a server is hung; ``None``: 20, on a CPU 60."""
    at_once: int = 8
    """So many checks of one server at the same time, of those that may."""
    seed: int = 0
    keep_all: bool = False
    """Exchanges of what passed are kept as well."""
    trigger: Literal["nightly", "manual", "ci"] = "manual"
    today: datetime.date
    expected_failures: tuple[ExpectedFailure, ...] = ()
    target: Target | None = None


class Run:
    """All entries that share a run's id. Not for several threads."""

    def __init__(self, options: Options, say: Say = lambda _: None) -> None:
        self.options = options
        self.id = str(uuid.uuid4())
        self.say = say
        self.current: EntryRun | None = None
        self.written: list[Path] = []
        """The results, in the order in which entries ended."""

    def result(self, case: Case, cases: Sequence[Case]) -> CaseResult:
        """What becomes of ``case``; ``cases`` are all that are wanted of its entry, this one among them.

        The first case of an entry ends the entry before it and starts its server.
        """
        if self.current is None or self.current.entry.id != case.entry.id:
            if self.current is None and not self.written:
                for path in recover(self.options.results):
                    self.say(f"a run that was cut off: {path}")
            self.end_entry()
            self.current = EntryRun(self, case.entry, tuple(cases))
            self.current.begin()
        return self.current.result(case)

    def end_entry(self) -> None:
        """Stop the server that runs, if any, and write its result.

        Raises:
            StoreProblem: it cannot be written; what the journal has stays.
        """
        if self.current is not None:
            ended, self.current = self.current, None
            self.written.append(ended.end())


class EntryRun:
    """One entry of a run."""

    def __init__(self, run: Run, entry: Entry, cases: tuple[Case, ...]) -> None:
        self.run = run
        self.entry = entry
        self.cases = cases
        self.blocked = ""
        """Why nothing more can be asked."""
        self._server: Any = None
        self._subject: Subject | None = None
        self._wire: Wire | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._futures: dict[tuple[str, str], Future[Outcome]] = {}
        self._lock = threading.Lock()
        options = run.options
        self._journal = Journal.open(
            options.results,
            run=run.id,
            started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            trigger=options.trigger,
            suite=Suite(version=__version__, catalogue_sha256=catalogue_digest()),
            host=_host(entry),
            entry=_asked(entry) if options.target is None else _somebodys(entry),
            planned=[_planned(case) for case in cases],
            secrets=self._secrets(),
            keep_all=options.keep_all,
        )

    # --- life ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the server, or find the one that runs. What keeps it from serving blocks the cases; nothing is raised
        but for Ctrl-C and the like."""
        if any(case.check is None for case in self.cases):
            return  # it is expected to fail: the case itself starts it
        target = self.run.options.target
        try:
            if target is not None:
                self._wire = Wire(target.root, api_key=target.api_key)
                self._subject = subject_at(
                    target.root, self._wire, has_key=target.api_key is not None, model=target.model
                )
                self._subject = msgspec.structs.replace(self._subject, entry=None)
                self._journal.served(self._resolved())
            else:
                self._start()
        except UserError as problem:
            self.blocked = "; ".join((problem.what, *problem.notes))
        self._ask_ahead()

    def _start(self) -> None:
        from qcmatrix.serving.server import BootFailed, start_server
        from qcmatrix.suites.boot.prediction import predicted

        options = self.run.options
        try:
            self._server = start_server(
                self.entry,
                vllm_python=options.vllm_python,
                any_release=options.any_release,
                directory=self._logs,
                progress=self.run.say,
                patience=_patience(self.entry, options.hung_after),
            )
        except BootFailed as failed:
            rule = f" [{failed.rule}]" if failed.rule else ""
            self.blocked = f"the server did not start: {failed.cause}{rule}"
            self._journal.boot(
                BootResult(ok=False, seconds=failed.seconds, cause=f"{failed.cause}{rule}", log=self._shown(failed.log))
            )
            return
        server = self._server
        self._wire = Wire(server.root, api_key=server.api_key)
        self._subject = msgspec.structs.replace(
            subject_of(self.entry, server, self._wire), twin=self._newest_of_twin(options.results)
        )
        self._journal.hide(server.api_key)
        self._journal.served(self._resolved(), _host(self.entry, tuple(card.sku for card in server.cards)))
        self._journal.boot(
            BootResult(
                ok=True,
                seconds=server.boot_seconds,
                measured=dict(server.measured),
                predicted=predicted(self.entry),
                log=self._shown(server.log),
            )
        )

    def end(self) -> Path:
        """Stop asking, stop the server, write the result; its path."""
        try:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            if self._server is not None:
                self._server.stop()
            if self._pool is not None:
                self._pool.shutdown(wait=True)  # what was under way ends with the server
            if self._wire is not None:
                self._wire.close()
        finally:
            path = self._journal.finish()
        return path

    # --- asking -------------------------------------------------------------------------------------------------

    def result(self, case: Case) -> CaseResult:
        """What became of ``case``, which is asked now unless it was already; kept before it is returned."""
        outcome = self._outcome(case)
        return self._journal.case(self._as_result(case, outcome), outcome.exchanges)

    def _outcome(self, case: Case) -> Outcome:
        if case.check is None:
            return self._refusal()
        future = self._futures.get((case.check_id, case.mode))
        if self.blocked and not (future is not None and future.done() and not future.cancelled()):
            return Outcome(state=State.BLOCKED, reason=self.blocked)
        if future is None:
            self._drain()
            outcome = self._ask(case)
        else:
            try:
                outcome = future.result()
            except CancelledError:
                outcome = Outcome(state=State.NOT_RUN, reason="the run ended before it")
        if self._server is None:
            return outcome
        # A client may see a connection break before the watcher sees why.
        if outcome.state is not State.ERROR and not self._server.trouble:
            return outcome
        trouble = self._server.what_happened()
        if not trouble:
            return outcome
        self.blocked = f"the server has ended: {trouble}"
        if outcome.state not in (State.FAIL, State.FLAKY, State.ERROR):
            return outcome
        reason = "; ".join(part for part in (outcome.reason, self.blocked) if part)
        return msgspec.structs.replace(outcome, state=State.ERROR, reason=reason)

    def _ask_ahead(self) -> None:
        """Ask what may share the server, several at a time; each case then waits for its own outcome."""
        if self.blocked or self.run.options.at_once < 2:
            return
        together = [case for case in self.cases if not case.alone]
        self._pool = ThreadPoolExecutor(self.run.options.at_once, thread_name_prefix="qcmatrix-check")
        self._futures = {(case.check_id, case.mode): self._pool.submit(self._ask, case) for case in together}

    def _drain(self) -> None:
        for future in list(self._futures.values()):
            if not future.done():
                future.exception()

    def _ask(self, case: Case) -> Outcome:
        assert case.check is not None and self._subject is not None and self._wire is not None  # noqa: S101, PT018
        if self.blocked:
            return Outcome(state=State.BLOCKED, reason=self.blocked)
        return run_check(case.check, case.mode, self._subject, self._wire, seed=self.run.options.seed)

    def _refusal(self) -> Outcome:
        from qcmatrix.serving.refusal import NotRefused, expect_refusal

        options = self.run.options
        words = self.entry.expect.error
        try:
            seen = expect_refusal(
                self.entry,
                vllm_python=options.vllm_python,
                any_release=options.any_release,
                directory=self._logs,
                progress=self.run.say,
            )
        except NotRefused as not_refused:
            said = "; ".join((not_refused.what, *not_refused.notes))
            return Outcome(
                state=State.FAIL,
                seconds=not_refused.seconds,
                expected=f"it ends with an error{f' that says: {words}' if words else ''}",
                observed=said,
            )
        except UserError as problem:
            return Outcome(state=State.BLOCKED, reason="; ".join((problem.what, *problem.notes)))
        rule = f" [{seen.rule}]" if seen.rule else ""
        self._journal.boot(
            BootResult(ok=False, seconds=seen.seconds, cause=f"{seen.cause}{rule}", log=self._shown(seen.log))
        )
        return Outcome(state=State.PASS, seconds=seen.seconds, observed=seen.words)

    # --- telling ------------------------------------------------------------------------------------------------

    def _as_result(self, case: Case, outcome: Outcome) -> CaseResult:
        state, issue, reason = outcome.state, "", outcome.reason
        failure = self._expected_failure(case)
        if failure is not None and state in (State.FAIL, State.PASS, State.FLAKY):
            issue = failure.issue
            if failure.expires <= self.run.options.today:
                reason = f"expected to fail until {failure.expires}, and nobody has looked since: {failure.reason}"
                state = State.FAIL
            elif state is State.PASS:
                state, reason = State.XPASS, f"expected to fail and does not: {failure.reason}"
            else:
                state, reason = State.XFAIL, failure.reason
        rate = outcome.rate
        planned = _planned(case)
        return msgspec.structs.replace(
            planned,
            state=state,
            seconds=outcome.seconds,
            expected=outcome.expected,
            observed=outcome.observed,
            reason=reason,
            passes=None if rate is None else rate.passes,
            trials=None if rate is None else rate.trials,
            threshold=None if rate is None else rate.threshold,
            wilson=outcome.interval,
            seed=self.run.options.seed,
            curl=outcome.curl,
            issue=issue,
            figures=outcome.figures,
        )

    def _expected_failure(self, case: Case) -> ExpectedFailure | None:
        release = (self._subject.release if self._subject is not None else None) or self.entry.vllm
        return next(
            (
                failure
                for failure in self.run.options.expected_failures
                if failure.covers(case.check_id, case.mode, self.entry.id, release)
            ),
            None,
        )

    def _resolved(self) -> ResultEntry:
        """The entry as it is served: by which release, with which words."""
        assert self._subject is not None  # noqa: S101
        from qcmatrix.serving.installation import packages_of

        asked = _asked(self.entry) if self.run.options.target is None else _somebodys(self.entry)
        server = self._server
        return msgspec.structs.replace(
            asked,
            model=self._subject.model if server is None else asked.model,
            vllm=self._subject.release or asked.vllm,
            argv=asked.argv if server is None else tuple(map(_without_home, server.masked_argv)),
            env=asked.env if server is None else {k: _without_home(v) for k, v in server.masked_env.items()},
            packages={} if server is None else packages_of(server.command),
            resolved={"max_model_len": self._subject.max_model_len, "served_model_name": self._subject.model},
        )

    def _newest_of_twin(self, results: Path) -> dict[str, CaseResult]:
        """What the newest run of the entry's twin gave, whole before streamed."""
        if not self.entry.twin:
            return {}
        newest = [result for result in read_results(results) if result.entry.id == self.entry.twin][-1:]
        return {case.id: case for result in newest for case in sorted(result.cases, key=lambda case: case.mode)}

    @property
    def _logs(self) -> Path:
        """Where this run's server of this entry writes its log."""
        return self._journal.log_directory / self._journal.stem

    def _shown(self, log: Path) -> str:
        """The log's path, from the result's directory."""
        return str(log.relative_to(self._journal.log_directory))

    def _secrets(self) -> tuple[str, ...]:
        target = self.run.options.target
        own = (target.api_key,) if target is not None and target.api_key else ()
        return (*own, *secret_values(split_shell(self.entry.command).argv))


def _patience(entry: Entry, hung_after: float | None) -> Any:
    """On a CPU the engine takes the cores that ``/health`` is answered with."""
    from qcmatrix.serving.watch import Patience

    hung = hung_after or (60.0 if entry.fleet == CPU else 20.0)
    return Patience(boot=entry.boot_seconds or 3600.0, hung=hung, probe=min(5.0, hung / 4))


def _without_home(word: str) -> str:
    """Results are published: whose machine it was is nobody's business."""
    return word.replace(str(Path.home()), "~")


def catalogue_digest() -> str:
    """Changes with what is asked: ids, modes and pages of all checks."""
    told = [[check.id, list(check.modes), check.core, check.page] for check in all_checks()]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _planned(case: Case) -> CaseResult:
    check = case.check
    return CaseResult(
        id=case.check_id,
        mode=case.mode,
        suite="boot" if check is None else check.suite,
        profiles=() if check is None else check.profiles,
        core=True if check is None else check.core,
        tier="T1" if check is None else check.tier,
        state=State.NOT_RUN,
    )


def _asked(entry: Entry) -> ResultEntry:
    command = split_shell(entry.command)
    env: Mapping[str, str] = command.env
    masked = redact_argv((*(f"{name}={value}" for name, value in env.items()),))
    return ResultEntry(
        id=entry.id,
        model=entry.checkpoint or next((word for word in command.argv[2:3]), ""),
        fleet=entry.fleet,
        vllm=entry.vllm,
        argv=redact_argv(command.argv),
        env=dict(word.split("=", 1) for word in masked),
        image=entry.image,
    )


def _somebodys(entry: Entry) -> ResultEntry:
    """A server that runs already: how it was started is not known."""
    return ResultEntry(id=entry.id, model="", fleet="", vllm="", argv=(), env={})


def _host(entry: Entry, cards: Sequence[str] = ()) -> Host:
    """This machine, with the ``cards`` that serve; before they are known, with all that it has."""
    system = f"{platform.system().lower()}-{platform.machine()}"
    if entry.fleet == CPU:
        return Host(platform=system)
    from qcmatrix.serving.hardware import this_machine

    machine = this_machine()
    return Host(
        gpus=tuple(cards) or tuple(card.sku for card in machine.cards if card.sku),
        driver=machine.driver,
        cuda=machine.cuda,
        platform=system,
    )
