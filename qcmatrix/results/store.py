"""Where results lie: one JSON per entry and run, added and never changed; a journal while the run goes on.

``DIR/<entry>/<start>-<run>.json`` is a result, ``DIR/<entry>/<start>-<run>.part.jsonl`` the journal of a run that goes
on or was killed, ``DIR/exchanges/`` what was said, by digest.
"""

from __future__ import annotations

import datetime
import itertools
import os
import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from qcmatrix.errors import FileProblem
from qcmatrix.launch.secrets import MASK, is_secret_name, redact_argv
from qcmatrix.results.durable import StoreProblem, append_durably, sync_directory, write_once
from qcmatrix.results.exchanges import keep_exchange
from qcmatrix.results.journal_lines import Asked, Booted, Header, Line, Served, lines_in, result_of
from qcmatrix.results.masking import Masker
from qcmatrix.results.schema import BootResult, CaseResult, Host, Result, ResultEntry, State, Suite

if TYPE_CHECKING:
    from qcmatrix.exchange.wire import Exchange

__all__ = ["Journal", "StoreProblem", "read_results", "recover"]

_PART = ".part.jsonl"
_WITHOUT_EXCHANGES = frozenset({State.PASS, State.SKIP, State.UNSUPPORTED, State.NOT_RUN})


class Journal:
    """One entry of one run, on disk line by line. May be written by several threads.

    Whatever ends the process, :func:`recover` makes a result of what was written.
    """

    def __init__(self, directory: Path, path: Path, descriptor: int, mask: Masker, keep_all: bool) -> None:
        """Use :meth:`open`."""
        self._directory = directory
        self._path = path
        self._descriptor = descriptor
        self._mask = mask
        self._keep_all = keep_all
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._asked: set[tuple[str, str]] = set()
        self._written: Path | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        run: str,
        started: str,
        suite: Suite,
        host: Host,
        entry: ResultEntry,
        planned: Iterable[CaseResult] = (),
        trigger: Literal["nightly", "manual", "ci"] = "manual",
        secrets: Iterable[str] = (),
        keep_all: bool = False,
    ) -> Journal:
        """Begin: the header is on disk when this returns.

        ``run`` is the run's UUID, ``started`` RFC 3339 with its offset; ``planned`` are all cases that are going to be
        asked, their state does not matter. ``secrets`` are masked in everything that is written. ``keep_all``: the
        exchanges of what passed are kept as well.

        Raises:
            StoreProblem: it cannot be written.
            ValueError: ``started`` is no time (a bug of the caller).
        """
        header = Header(
            run=run, started=started, trigger=trigger, suite=suite, host=host, entry=entry, planned=tuple(planned)
        )
        stem = f"{_compact(started)}-{re.sub(r'[^0-9A-Za-z]', '', run)[:8]}"
        folder = directory / (re.sub(r"[^a-z0-9.-]+", "-", entry.id.lower()).strip(".-") or "server")
        try:
            path, descriptor = _begin(folder, stem)
        except OSError as error:
            raise StoreProblem.of(folder, error) from None
        journal = cls(directory, path, descriptor, Masker(secrets), keep_all)
        try:
            journal._write(msgspec.structs.replace(header, entry=_named_secrets_masked(entry)))
        except StoreProblem:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return journal

    @property
    def path(self) -> Path:
        """The journal itself, until it has become a result."""
        return self._path

    @property
    def log_directory(self) -> Path:
        """Beside the result: where the server's log belongs."""
        return self._path.parent

    @property
    def stem(self) -> str:
        """The name that the result will have, without its ending; nobody else has it."""
        return self._path.name.removesuffix(_PART)

    def hide(self, *secrets: str | None) -> None:
        """From here on mask these as well."""
        with self._lock:
            self._mask = self._mask.and_also(secret for secret in secrets if secret)

    def served(self, entry: ResultEntry, host: Host | None = None) -> None:
        """The entry as the server tells it; replaces the one that the journal was opened with.

        Raises:
            StoreProblem: it cannot be written.
        """
        self._write(Served(entry=_named_secrets_masked(entry), host=host))

    def boot(self, boot: BootResult) -> None:
        """How the server started, or why it did not.

        Raises:
            StoreProblem: it cannot be written.
        """
        self._write(Booted(boot=boot))

    def case(self, case: CaseResult, exchanges: Sequence[Exchange] = ()) -> CaseResult:
        """What became of a case; returned as it was written: masked, with the digests of the exchanges that were kept.

        Raises:
            StoreProblem: it cannot be written; without room for the exchanges the case is written without them.
            ValueError: the case has its outcome already, or one that cannot be written (a bug of the caller).
        """
        with self._lock:
            if (case.id, case.mode) in self._asked:
                raise ValueError(f"{case.id} ({case.mode}) has its outcome already")
            self._asked.add((case.id, case.mode))
        kept: list[str] = []
        trouble: StoreProblem | None = None
        if self._keep_all or case.state not in _WITHOUT_EXCHANGES:
            try:
                kept += (keep_exchange(self._directory, exchange, self._mask) for exchange in exchanges)
            except StoreProblem as problem:
                trouble = problem
        try:
            written = self._write(Asked(case=msgspec.structs.replace(case, exchanges=tuple(kept))))
        except StoreProblem:
            with self._lock:
                self._asked.discard((case.id, case.mode))
            raise
        if trouble is not None:
            raise trouble
        assert isinstance(written, Asked)  # noqa: S101
        return written.case

    def finish(self) -> Path:
        """The end: the result is on disk when this returns, and the journal is gone. Once more is the same path.

        Raises:
            StoreProblem: it cannot be written; the journal is still there, and :func:`recover` tries again.
        """
        with self._lock:
            if self._written is None:
                ended = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                result = result_of(self._lines, ended)
                assert result is not None  # noqa: S101 - the header is the first line
                self._written = _become(self._path, result)
                os.close(self._descriptor)
            return self._written

    def _write(self, line: Line) -> Line:
        with self._lock:
            data = msgspec.json.encode(self._mask(line))
            found = lines_in(data)
            if not found:
                raise ValueError(f"what was written cannot be read again: {data[:200]!r}")
            try:
                append_durably(self._descriptor, data + b"\n")
            except OSError as error:
                raise StoreProblem.of(self._path, error) from None
            self._lines += found
        return found[0]


def read_results(directory: Path) -> tuple[Result, ...]:
    """All results below ``directory``, by entry, the oldest first; none where it does not exist.

    Raises:
        FileProblem: files that are no results, all of them listed.
    """
    found: list[tuple[Path, Result]] = []
    problems: list[str] = []
    decoder = msgspec.json.Decoder(Result)
    for path in sorted(directory.glob("*/*.json")):
        try:
            found.append((path, decoder.decode(path.read_bytes())))
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            problems.append(f"{path.relative_to(directory)}: {error}")
    if problems:
        raise FileProblem(f"{directory}: holds files that are no results of this version", *problems)
    found.sort(key=lambda each: (each[1].entry.id, each[1].started, each[0].name))
    return tuple(result for _, result in found)


def recover(directory: Path) -> tuple[Path, ...]:
    """Make results of the journals that killed runs have left; their paths. Runs that go on are left alone.

    Their ``ended`` is empty, and what was not asked is ``not_run``.

    Raises:
        StoreProblem: a result cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # where there is no such lock, no run that goes on can be told from a dead one
        return ()
    written: list[Path] = []
    for path in sorted(directory.glob(f"*/*{_PART}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # it has just become a result
        except OSError as error:
            raise StoreProblem.of(path, error) from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its run goes on
            if not _is_still(path, descriptor):
                continue
            result = result_of(lines_in(path.read_bytes()), ended="")
            if result is None:
                path.unlink()
            else:
                written.append(_become(path, result))
        finally:
            os.close(descriptor)
    return tuple(written)


def _begin(folder: Path, stem: str) -> tuple[Path, int]:
    """A journal of its own, locked: while the lock is held its run goes on."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        path = folder / f"{stem}{'' if number == 1 else f'-{number}'}{_PART}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_still(path, descriptor):  # somebody took the empty file for a dead run's
            os.close(descriptor)
            continue
        if _result_path(path).exists():
            path.unlink()
            os.close(descriptor)
            continue
        sync_directory(folder)
        return path, descriptor
    raise AssertionError("there are names enough")


def _become(path: Path, result: Result) -> Path:
    """Write the result of the journal ``path``, then remove that. A result that is there is of the same journal."""
    target = _result_path(path)
    write_once(target, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreProblem.of(path, error) from None
    return target


def _result_path(journal: Path) -> Path:
    return journal.with_name(journal.name.removesuffix(_PART) + ".json")


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _compact(started: str) -> str:
    moment = datetime.datetime.fromisoformat(started)
    return f"{moment.astimezone(datetime.UTC):%Y%m%dT%H%M%SZ}"


def _named_secrets_masked(entry: ResultEntry) -> ResultEntry:
    """Without what a flag or a variable names as a key, whether anybody told us its value or not."""
    env = {name: MASK if is_secret_name(name) else value for name, value in entry.env.items()}
    return msgspec.structs.replace(entry, argv=redact_argv(entry.argv), env=env)
