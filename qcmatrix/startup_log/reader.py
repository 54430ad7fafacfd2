"""A log, line by line, in bounded memory -> the last start in it: what it states, and what went wrong."""

from __future__ import annotations

import re
import zlib
from typing import BinaryIO

import msgspec

from qcmatrix.errors import FileProblem
from qcmatrix.startup_log.facts import Readings, facts_in, stage_in
from qcmatrix.startup_log.fingerprints import Match, match_all
from qcmatrix.startup_log.lines import Line, clean
from qcmatrix.startup_log.opening import numbered_lines

__all__ = ["Attempt", "Failed", "Raised", "StartupLog", "read_log"]

_EVERY_LINE = 6_000
"""So many lines are looked at one by one; of a longer log only those that one of the words below stands in."""
_WORDS = (
    b"rror", b"ERROR", b"xception", b"ssert", b"raceback", b"illed", b"enied", b"NCCL", b"nccl", b"emory", b"OOM",
    b"ailed", b"atal", b"ot supported", b"ivisible", b"unsatisf", b"died", b"SIG", b"dumped", b"egmentation", b"Xid",
    b"ignal", b"o space", b"nterrupt", b"annot", b"must be", b"unexpected", b"invalid", b"Invalid", b"nsupported",
    b"not found", b"Unknown", b"too old", b"insufficient", b"version", b"args", b"config", b"took", b"GiB",
    b"KV cache size", b"max model len", b"device_name", b"world size", b"startup complete", b"vllm serve", b"Maximum",
    b"Uvicorn running", b"server on", b"api_server", b"exceeds", b"mismatch",
)  # fmt: skip
_OF_REQUESTS = (b" throughput: ", b'HTTP/1.1" 200')
"""A server at work writes these, line after line."""
_WORDS_AFTER = (b"rror", b"ERROR", b"xception", b"raceback", b"emory", b"illed", b"died", b"SIG", b"version")
"""Once it serves, only what ends it is of interest, and a new start."""
_MOST_LOOKED_AT = 60_000
"""Lines of one start that are taken apart: more are no start-up log's. Behind them only a new start is looked for."""
_FOLLOWING = 5
"""Lines behind the start of a message that may belong to it."""
_LONGEST_MESSAGE = 4_096
_MOST_FAILURES = 2_000
"""Different messages that are judged: the cause is not behind so many others."""
_MOST_COMPLAINTS = 16
_COMPLAINT = re.compile(r"(?:[\w./ -]{1,40}: )?(?:fatal |runtime )?error:? \S", re.IGNORECASE)
_MOST_ARGUMENT_LINES = 60
_RAISED = re.compile(
    r"(?:\w+\.)*(?P<type>[A-Za-z]\w*(?:Error|Exception|Interrupt|Exit|Timeout|Fault)|Exception|OSError)"
    r"(?P<rest>: .*|:?\s*$)"
)
_FRAME = re.compile(r'\s*File "(?P<file>[^"]{1,400})", line (?P<line>\d+), in (?P<function>\S+)')
_NOISE = re.compile(r"\[W\d{3,}|(?:\S+:\d+: )?\w*Warning: |warnings\.warn|Exception ignored in|# |\s*\^+\s*$")
_COMMAND = re.compile(r"\bvllm serve\s+\S|vllm\.entrypoints\.openai\.api_server\b")
_ARGUMENTS = ("non-default args:", " with config: ", "args: Namespace(")
_TRUSTED_LEVELS = frozenset({"", "ERROR", "CRITICAL"})
_DOING = (
    ("_dummy_sampler_run", "warming up the sampler"),
    ("capture_model", "capturing CUDA graphs"),
    ("_capture_cudagraphs", "capturing CUDA graphs"),
    ("profile_cudagraph_memory", "capturing CUDA graphs"),
    ("profile_run", "the profile run"),
    ("determine_available_memory", "the profile run"),
    ("process_weights_after_loading", "loading the weights"),
    ("load_weights", "loading the weights"),
    ("load_model", "loading the weights"),
    ("initialize_kv_cache", "allocating the KV cache"),
    ("initialize_from_config", "allocating the KV cache"),
    ("compile_or_warm_up_model", "the warm-up"),
    ("init_device", "starting the ranks"),
)
"""Functions of vLLM in a traceback, the most telling first, and what goes on in them (0.10 to 0.33)."""
_MOST_FUNCTIONS = 80
_ANCHOR_OF_START = ("vLLM API server version", "vLLM server version", "█  version", "█ version")


class Failed(msgspec.Struct, frozen=True):
    """One message that a fingerprint matches."""

    match: Match
    line: int
    process: str
    text: str
    """The message, as long as it is of use."""
    during: str = ""
    """What the process was doing, by the frames of its traceback, else by the last stage that it told of."""
    where: str = ""
    """``file.py:12 in function`` of the last frame before it; empty: not in the log."""


class Raised(msgspec.Struct, frozen=True):
    """An exception that a traceback ends with, or that is printed like one."""

    type: str
    message: str
    line: int
    process: str
    where: str
    """``file.py:12 in function`` of its last frame; empty: not in the log."""
    level: str = ""


class Attempt(msgspec.Struct):
    """One start of a server."""

    first_line: int
    readings: Readings = msgspec.field(default_factory=dict)
    failed: list[Failed] = msgspec.field(default_factory=list)
    """In the order of their lines; of one fingerprint the first, or the first that gives more numbers."""
    raised: list[Raised] = msgspec.field(default_factory=list)
    complaints: list[Raised] = msgspec.field(default_factory=list)
    """Lines of level ERROR, or that begin like one, that are no exception: told where nothing else is."""
    arguments: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """Lines that hold arguments: their number and text."""
    commands: list[tuple[int, str]] = msgspec.field(default_factory=list)
    served_line: int = 0
    """Where the server says that it listens; 0: it does not."""
    stage: str = ""
    """The last stage that it tells of."""
    stage_line: int = 0
    quoted: list[str] = msgspec.field(default_factory=list)
    """Logger lines whose place in the sources may tell the release."""

    @property
    def empty(self) -> bool:
        """Does it hold nothing?"""
        return not (self.readings or self.failed or self.raised or self.arguments or self.commands)


class StartupLog(msgspec.Struct, frozen=True):
    """A whole log."""

    lines: int
    attempts: int
    """Starts in it; the last one that says something is told."""
    attempt: Attempt
    vllm: bool
    """Is there anything of vLLM in it?"""
    passed_over: int = 0
    """Lines behind the first 60,000 of a start that were not looked at."""


def read_log(stream: BinaryIO, name: str = "the log") -> StartupLog:
    """Read ``stream`` to its end.

    Text may be UTF-8, UTF-16 with its mark, or neither (bytes that are no text are replaced), plain or gzip. Lines end
    with LF or CR LF; of a progress bar (CR) the last state counts.

    Raises:
        FileProblem: the stream cannot be read, or holds no text.
    """
    reader = _Reader()
    try:
        for number, raw in numbered_lines(stream, name):
            reader.feed(number, raw)
    except (OSError, EOFError, UnicodeError, zlib.error) as error:
        raise FileProblem(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return reader.finish()


def _is_complaint(line: Line, text: str) -> bool:
    if line.level:
        return not text.startswith(("^", "~", "|")) and "encountered" not in text
    return bool(_COMPLAINT.match(text))


class _Pending(msgspec.Struct):
    """A message whose next lines may belong to it."""

    line: Line
    texts: list[str]
    during: str = ""
    where: str = ""
    closed: bool = False
    """A command has come behind it, which is no part of it."""


class _Reader:
    """The state while a log is read."""

    def __init__(self) -> None:
        self._lines = 0
        self._attempts = 1
        self._attempt = Attempt(first_line=1)
        self._told: Attempt | None = None
        self._pending: list[_Pending] = []
        self._seen: set[int] = set()
        self._frames: dict[str, str] = {}
        self._functions: dict[str, list[str]] = {}
        self._code_follows: set[str] = set()
        self._argument: _Pending | None = None
        self._vllm = False
        self._looked_at = 0
        self._passed_over = 0

    def feed(self, number: int, raw: bytes) -> None:
        self._lines = number
        if number > _EVERY_LINE and not self._wanted(raw):
            return
        if b"\r" in raw:
            raw = raw.rstrip(b"\r\n").rpartition(b"\r")[2] or raw.replace(b"\r", b" ")
        self._take(clean(number, raw.decode("utf-8", "replace")))

    def _wanted(self, raw: bytes) -> bool:
        for word in _OF_REQUESTS:
            if word in raw:
                return False
        if self._looked_at > _MOST_LOOKED_AT:
            if b"version" not in raw:
                self._passed_over += 1
                return False
            return True
        if self._attempt.served_line:
            return any(word in raw for word in _WORDS_AFTER)
        return bool(self._pending) or any(word in raw for word in _WORDS)

    def finish(self) -> StartupLog:
        self._flush(everything=True)
        self._close_argument()
        attempt = self._attempt
        if self._told is not None and not attempt.failed and not attempt.served_line and not attempt.raised:
            attempt = self._told  # the last start breaks off early: the one before tells more
        vllm = self._vllm or bool(attempt.readings)  # an excerpt without the lines' heads
        return StartupLog(self._lines, self._attempts, attempt, vllm, self._passed_over)

    def _take(self, line: Line) -> None:
        text = line.text
        if not text.strip():
            return
        self._looked_at += 1
        self._vllm = self._vllm or "vllm" in text or "vLLM" in text or bool(line.source_line)
        if any(anchor in text for anchor in _ANCHOR_OF_START):
            self._maybe_new_start(line)
        self._follow(line)
        if self._collect_argument(line):
            return
        if facts_in(line, self._attempt.readings) and line.source_line and len(self._attempt.quoted) < 64:
            file = line.file.rpartition("/")[2]
            self._attempt.quoted.append(f"{file}:{line.source_line}] {text[:60]}")
        if (stage := stage_in(text)) is not None and line.level in ("INFO", "", "WARNING"):
            self._attempt.stage, self._attempt.stage_line = stage, line.number
            if stage == "served":
                self._attempt.served_line = self._attempt.served_line or line.number
        self._maybe_failure(line)

    def _maybe_new_start(self, line: Line) -> None:
        attempt = self._attempt
        if not attempt.readings.get("release", ()):
            return
        self._flush(everything=True)
        if not (attempt.failed or attempt.served_line or attempt.raised):
            return
        if attempt.failed or attempt.served_line:
            self._told = attempt
        self._attempts += 1
        self._looked_at = 0
        self._attempt = Attempt(first_line=line.number)
        self._seen.clear()
        self._frames.clear()

    def _collect_argument(self, line: Line) -> bool:
        """Arguments and commands may run over several lines."""
        text = line.text
        if self._argument is not None:
            open_command = self._argument.texts[-1].rstrip().endswith("\\")
            if open_command or (not line.level and self._argument.line.level and not text.startswith("  File")):
                self._argument.texts.append(text)
                if len(self._argument.texts) >= _MOST_ARGUMENT_LINES:
                    self._close_argument()
                return open_command
            self._close_argument()
        # A whole command starts a line, or stands behind a prompt or a key; in a sentence it is none.
        if any(word in text for word in _ARGUMENTS) or (
            not line.level and _COMMAND.search(text) and 'File "' not in text and "error:" not in text
        ):
            self._argument = _Pending(line, [text])
        return False

    def _close_argument(self) -> None:
        pending, self._argument = self._argument, None
        if pending is None:
            return
        whole = " ".join(text.rstrip().removesuffix("\\") for text in pending.texts)[: 4 * _LONGEST_MESSAGE]
        kept = self._attempt.arguments if any(word in whole for word in _ARGUMENTS) else self._attempt.commands
        if len(kept) < 64:
            kept.append((pending.line.number, whole))

    def _maybe_failure(self, line: Line) -> None:
        text = line.text
        process = line.process
        frame = _FRAME.match(text)
        if frame is not None:
            file = "/".join(frame["file"].replace("\\", "/").rsplit("/", 3)[-3:])
            self._frames[process] = f"{file}:{frame['line']} in {frame['function']}"
            self._code_follows.add(process)
            functions = self._functions.setdefault(process, [])
            if len(functions) < _MOST_FUNCTIONS:
                functions.append(frame["function"])
            if len(self._frames) > _MOST_FAILURES:
                self._frames.clear()
                self._functions.clear()
                self._code_follows.clear()
            return
        if process in self._code_follows:
            self._code_follows.discard(process)
            if text.startswith("  "):
                return  # a line of source code: what stands in it did not happen
        if text.startswith("Traceback"):
            self._functions.pop(process, None)
            self._frames.pop(process, None)
            return
        if line.level not in _TRUSTED_LEVELS or _NOISE.match(text):
            return
        key = hash((text, process.partition(" ")[0]))
        if key in self._seen or len(self._seen) >= _MOST_FAILURES:
            return
        self._seen.add(key)
        self._pending.append(_Pending(line, [text], self._doing(process, text), self._frames.get(process, "")))

    def _doing(self, process: str, text: str) -> str:
        functions = self._functions.get(process, ())
        told = next((doing for function, doing in _DOING if function in functions), "")
        if told or "emory" not in text or self._attempt.stage == "served":
            return told
        return self._attempt.stage

    def _follow(self, line: Line) -> None:
        """``line`` may continue a message of the same process."""
        if not self._pending:
            return
        command = not line.level and _COMMAND.search(line.text) is not None and 'File "' not in line.text
        for pending in self._pending:
            first = pending.line
            pending.closed = pending.closed or command
            same = line.process == first.process and line.level == first.level
            # a terminal's wrapped line has lost the head of the one above it
            same = same or (line.number == first.number + len(pending.texts) and not (line.process or line.level))
            if (
                same
                and not pending.closed
                and len(pending.texts) <= _FOLLOWING
                and line.number - first.number <= 4 * _FOLLOWING
            ):
                pending.texts.append(line.text)
        self._flush(now=line.number)

    def _flush(self, *, everything: bool = False, now: int = 0) -> None:
        kept = []
        for pending in self._pending:
            waited = now - pending.line.number >= 4 * _FOLLOWING
            if everything or waited or len(pending.texts) > _FOLLOWING:
                self._judge(pending)
            else:
                kept.append(pending)
        self._pending = kept

    def _judge(self, pending: _Pending) -> None:
        line, texts = pending.line, pending.texts
        own = texts[0].rstrip()
        whole = " ".join(text.strip() for text in texts)[:_LONGEST_MESSAGE]
        own = own.strip()
        matches = match_all(whole, within=max(0, len(own) - 1))
        if not matches and len(texts) > 1 and len(own) >= 60:
            # A terminal breaks in the middle of words.
            matches = match_all("".join(text.strip() for text in texts)[:_LONGEST_MESSAGE], within=len(own) - 1)
        for match in matches:
            self._add(Failed(match, line.number, line.process, whole[:600], pending.during, pending.where))
        raised = _RAISED.match(own)
        if raised is not None and len(self._attempt.raised) < 256:
            message = raised["rest"].removeprefix(":").strip()
            if not message and len(texts) > 1:
                message = texts[1].strip()
            self._attempt.raised.append(
                Raised(raised["type"], message[:600], line.number, line.process, pending.where, line.level)
            )

        elif not matches and len(self._attempt.complaints) < _MOST_COMPLAINTS and _is_complaint(line, own):
            self._attempt.complaints.append(Raised("", own[:600], line.number, line.process, "", line.level))

    def _add(self, failed: Failed) -> None:
        attempt = self._attempt
        for index, other in enumerate(attempt.failed):
            if other.match.fingerprint is failed.match.fingerprint:
                served = attempt.served_line
                if (served and other.line < served <= failed.line) or len(failed.match.values) > len(
                    other.match.values
                ):
                    attempt.failed[index] = failed
                return
        attempt.failed.append(failed)
