"""A session: one worker in the environment of one release, asked questions, restarted when one of them kills it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from qcmatrix.errors import ExitCode, UserError
from qcmatrix.probe.environments.directories import cache_directory
from qcmatrix.probe.process import Silent, WorkerProcess

__all__ = ["WORKER", "Hello", "Reply", "Session", "SessionError", "WorkerError"]

WORKER = Path(__file__).resolve().parent / "worker"
CRASHED, TIMED_OUT = "WorkerCrashed", "TimedOut"

_AHEAD = 16
"""Questions sent before the first is answered: enough that the worker never waits for us."""
_SHOWN = 8
"""Lines of stderr that an error message shows."""


class SessionError(UserError):
    """The worker of a release cannot be started, or not started again."""

    exit_code = ExitCode.ENVIRONMENT


class Hello(msgspec.Struct, frozen=True):
    """Who answers."""

    vllm: str
    """As the release spells itself: ``0.32.0``, ``0.28.0+cpu``."""
    torch: str
    transformers: str
    python: str


class WorkerError(msgspec.Struct, frozen=True):
    """Why a question has no answer."""

    type: str
    """The exception's class, or ``WorkerCrashed`` or ``TimedOut``."""
    text: str
    last_words: tuple[str, ...] = ()
    """The end of the worker's stderr, where it did not survive the question."""


class Reply(msgspec.Struct, frozen=True):
    """What came of one question: exactly one of ``answer``, ``error`` and ``not_askable``."""

    answer: dict[str, Any] | None
    error: WorkerError | None
    not_askable: str | None
    seconds: float


class _Asked(msgspec.Struct, frozen=True):
    question: dict[str, Any]
    timeout: float


class Session:
    """Questions to one worker. Starts at the first use; a context manager that ends it. Not thread-safe.

    ``python`` is the interpreter of the environment, ``env`` is added to the worker's environment variables (``None``
    takes one away). A worker that a question crashes, or that exceeds its time limit, is ended and started
    again for the next question, and is sent the configs again.
    """

    def __init__(
        self,
        python: Path,
        *,
        env: Mapping[str, str | None] | None = None,
        start_timeout: float = 180.0,
        worker: Path = WORKER,
    ) -> None:
        self._python = Path(os.path.abspath(python))  # noqa: PTH100 - resolving the link would leave the environment
        self._worker = worker
        self._env = dict(env or {})
        self._start_timeout = start_timeout
        self._configs: dict[str, Any] = {}
        self._process: WorkerProcess | None = None
        self._hello: Hello | None = None
        self._count = 0
        self._in_flight: dict[int, _Asked] = {}
        self._arrived: dict[int, Reply] = {}
        self._since = 0.0

    def __enter__(self) -> Session:
        self._running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker; a later question starts a new one."""
        if self._process is not None:
            self._process.end()
            self._process = None
        self._in_flight.clear()
        self._arrived.clear()

    @property
    def hello(self) -> Hello:
        """Who answers.

        Raises:
            SessionError: the worker does not start.
        """
        self._running()
        assert self._hello is not None  # noqa: S101 - a running worker has said it
        return self._hello

    @property
    def pid(self) -> int | None:
        """The worker's process id, while there is one."""
        return None if self._process is None else self._process.pid

    def configs(self, configs: Mapping[str, dict[str, Any]]) -> None:
        """Make ``config.json`` objects known by name; a restarted worker is told again.

        Raises:
            SessionError: the worker does not start, or does not take them.
        """
        new = {name: config for name, config in configs.items() if self._configs.get(name) != config}
        if not new:
            return
        self._configs.update(new)
        if self._process is None:
            return  # sent when it starts
        reply = self.ask("configs", configs=new)
        if reply.error is not None:
            raise SessionError(f"the worker did not take the configs: {reply.error.type}: {reply.error.text}")

    def ask(self, kind: str, *, timeout: float = 60.0, **question: Any) -> Reply:
        """Ask one question and wait for what comes of it, at most ``timeout`` seconds.

        Raises:
            SessionError: no worker can be started.
        """
        return self._wait(self._send({**question, "ask": kind}, timeout))

    def ask_many(self, questions: Iterable[Mapping[str, Any]], *, timeout: float = 60.0) -> Iterator[Reply]:
        """Ask many questions, each with its kind as ``"ask"``; the replies in their order, as they come.

        The worker is kept busy by sending some ahead. ``timeout`` is for each one, from when its turn comes.

        Raises:
            SessionError: no worker can be started.
        """
        sent: deque[int] = deque()
        for question in questions:
            sent.append(self._send(dict(question), timeout))
            if len(sent) >= _AHEAD:
                yield self._wait(sent.popleft())
        while sent:
            yield self._wait(sent.popleft())

    def _send(self, question: dict[str, Any], timeout: float) -> int:
        process = self._running()
        if not self._in_flight:
            if process.has_ended():  # between two questions: not the next one's fault
                process = self._restart()
            self._since = time.monotonic()
        self._count += 1
        self._in_flight[self._count] = _Asked(question, timeout)
        process.send(_encode({**question, "id": self._count}))
        return self._count

    def _wait(self, number: int) -> Reply:
        while number not in self._arrived:
            if number not in self._in_flight:
                raise SessionError("the session was closed before that question was answered")
            self._pump()
        return self._arrived.pop(number)

    def _pump(self) -> None:
        """Take in one line. The worker goes by order: silence and the end are the doing of the oldest question."""
        assert self._process is not None  # noqa: S101 - something is in flight
        oldest, asked = next(iter(self._in_flight.items()))
        try:
            line = self._process.receive(self._since + asked.timeout - time.monotonic())
        except Silent:
            self._lose(oldest, TIMED_OUT, f"no answer within {asked.timeout:g} s")
            return
        if line is None:
            self._lose(oldest, CRASHED, "the worker ended while it worked on this question")
            return
        try:
            told = json.loads(line)
            number = told["id"]
        except (ValueError, TypeError, KeyError):
            self._lose(oldest, CRASHED, f"the worker wrote what is no answer: {line[:200]!r}")
            return
        self._since = time.monotonic()
        if self._in_flight.pop(number, None) is not None:
            self._arrived[number] = _reply(told)

    def _lose(self, number: int, kind: str, text: str) -> None:
        """Give up the worker and the question that it was on; the rest is asked again of a new one."""
        assert self._process is not None  # noqa: S101 - something is in flight
        ended = self._process.end()
        words = self._process.last_words()
        self._process = None
        if kind == CRASHED:
            text = f"{text} ({ended})"
        del self._in_flight[number]
        seconds = round(time.monotonic() - self._since, 3)
        self._arrived[number] = Reply(None, WorkerError(kind, text, words), None, seconds)
        if self._in_flight:
            self._restart()

    def _restart(self) -> WorkerProcess:
        if self._process is not None:
            self._process.end()
            self._process = None
        process = self._running()
        for number, asked in self._in_flight.items():
            process.send(_encode({**asked.question, "id": number}))
        self._since = time.monotonic()
        return process

    def _running(self) -> WorkerProcess:
        if self._process is None:
            try:
                self._process, self._hello = self._start()
            except SessionError:
                self._in_flight.clear()
                raise
        return self._process

    def _start(self) -> tuple[WorkerProcess, Hello]:
        if sys.platform == "win32":
            raise SessionError("vLLM does not run on Windows", "run `qcmatrix probe` on Linux, or in WSL")
        if not self._python.exists():
            raise SessionError(f"{self._python}: no such Python", "give the interpreter of an environment with vLLM")
        try:
            command = [str(self._python), "-X", "faulthandler", str(self._worker)]
            process = WorkerProcess(command, self._environment())
        except OSError as error:
            raise SessionError(f"{self._python}: cannot be run: {error.strerror or error}") from None
        try:
            hello = self._greet(process)
            if self._configs:
                self._send_configs(process)
        except Silent:
            process.end()
            raise SessionError(
                f"{self._python}: vLLM was not imported within {self._start_timeout:g} s", *_shown(process)
            ) from None
        except BaseException:
            process.end()
            raise
        return process, hello

    def _send_configs(self, process: WorkerProcess) -> None:
        process.send(_encode({"id": 0, "ask": "configs", "configs": self._configs}))
        told = json.loads(process.receive(self._start_timeout) or "{}")
        if "answer" not in told:
            raise SessionError("the worker did not take the configs", str(told.get("error", "it ended")))

    def _greet(self, process: WorkerProcess) -> Hello:
        line = process.receive(self._start_timeout)
        told: Any = None
        if line is not None:
            try:
                told = json.loads(line)
            except ValueError:
                raise SessionError(f"{self._python}: the worker began with {line[:200]!r}", *_shown(process)) from None
        if told is None:
            ended = process.end()
            raise SessionError(f"{self._python}: vLLM's import ended the process ({ended})", *_shown(process))
        if "dead" in told:
            process.end()
            where = told.get("where", ())
            raise SessionError(f"{self._python}: vLLM cannot be imported: {told['dead']}", *map(str, where))
        return msgspec.convert(told["hello"], Hello)

    def _environment(self) -> dict[str, str]:
        """Ours without what would change vLLM's answers or lead its Python to our packages."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VLLM_", "HF_"))}
        where = hashlib.sha256(str(self._python).encode()).hexdigest()[:16]
        env |= {
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
            "PYTHONUTF8": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "VLLM_CACHE_ROOT": str(cache_directory() / "vllm" / where),
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_NO_USAGE_STATS": "1",
            "QCMATRIX_WORKER_PARENT": str(os.getpid()),
        }
        for name, value in self._env.items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        return env


def _encode(question: Mapping[str, Any]) -> str:
    return json.dumps(question)


def _reply(told: Mapping[str, Any]) -> Reply:
    seconds = float(told.get("seconds", 0.0))
    if "error" in told:
        return Reply(None, WorkerError(str(told["error"]["type"]), str(told["error"]["text"])), None, seconds)
    if "not_askable" in told:
        return Reply(None, None, str(told["not_askable"]), seconds)
    return Reply(told["answer"], None, None, seconds)


def _shown(process: WorkerProcess) -> tuple[str, ...]:
    """The end of what the worker said, as notes; the process is ended so that all of it is there."""
    process.end()
    return process.last_words()[-_SHOWN:]
