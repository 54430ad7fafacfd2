"""One line of a log: colours and prefixes taken off, so that the message is left.

Known prefixes: docker compose, ``kubectl logs --prefix``, the container runtime's own format, journald and syslog,
GitHub Actions and other time stamps, quotation marks of Markdown, vLLM's processes (``(EngineCore_DP0 pid=94)``), Ray's
workers, ``[rank0]:``, and vLLM's logger itself (``INFO 04-22 00:58:54 [gpu_worker.py:436]``), as text or as JSON.
"""

from __future__ import annotations

import json
import re

import msgspec

__all__ = ["Line", "clean"]

_LONGEST = 16_384
"""Characters of a line that are looked at: the longest line that matters holds an engine's whole configuration."""

_ANSI = re.compile(
    r"\x1b\[[0-9;?:]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]|#033\[[0-9;]*m|\\u001b\[[0-9;]*m"
)
_ANSI_WITHOUT_ESCAPE = re.compile(r"\[(?:[0-9]{1,3}(?:;[0-9]{1,3})*m|m(?!\w))")
"""What is left of a colour where the escape character was lost on the way into a web page; ``[multiproc`` is none."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_WRAPPINGS = re.compile(
    "|".join(
        (
            r"\ufeff",
            r"> ",
            r"\[pod/[^\]]{1,200}\] ",
            r"[\w.-]{1,80}(?:-\d+)?\s+\| ?",  # docker compose
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d) (?:stdout|stderr) [FP] ",
            r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?Z| ?[+-]\d\d:?\d\d)?\]?[ \t]+(?:\| )?(?=\S)",
            r"[JFMASOND][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S{1,80} [\w./@:-]{1,80}(?:\[\d+\])?: ",
            r"\[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]?[ \t]+(?=[(\[A-Z])",
            r"\[rank\d+\]:[ \t]?",
            r"\[(?:Info|Error|Warn|Debug)\] \(\w+\) ",
            r"\[(?:stdout|stderr|vllm|vLLM|VLLM LOG)\][ \t]?",
            r"(?:stdout|stderr) [FP] ",
        )
    )
)
_PROCESS = re.compile(r"\((?P<name>[^()]{0,80}?pid=\d+[^()]{0,80})\)[ \t]?")
_SHORT_PROCESS = re.compile(
    r"\((?P<name>(?:EngineCore|Worker|VllmWorker|APIServer|ApiServer|RayWorker\w*)[\w ./=:-]{0,60})\)[ \t]?"
)
_LOGGER = re.compile(
    r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):?[ \t]+"
    r"(?P<time>(?:\d{4}-)?\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d+)?) "
    r"\[?(?P<file>[\w./-]{1,120}\.py):(?P<line>\d+)\] ?"
)
_UVICORN = re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):[ \t]+")
_MOST_PREFIXES = 8


class Line(msgspec.Struct, frozen=True):
    """What is left of one line."""

    number: int
    """In the log, from 1."""
    text: str
    """The message; blanks at its start are kept, since a traceback's code is told by them."""
    process: str = ""
    """``EngineCore_DP0 pid=94``; empty: not told."""
    level: str = ""
    """``INFO`` ...; empty: no line of a logger."""
    time: str = ""
    """As printed, without a year."""
    file: str = ""
    """The source file that printed it."""
    source_line: int = 0


def clean(number: int, raw: str) -> Line:
    """``raw`` without colours and prefixes. Any text is taken."""
    text = raw[:_LONGEST].rstrip("\r\n")
    if "\x1b" in text or "#033" in text or "\\u001b" in text:
        text = _ANSI.sub("", text)
    if "[" in text:
        text = _ANSI_WITHOUT_ESCAPE.sub(_colour, text)
    if not text.isprintable():
        text = _CONTROL.sub("", text)
    if text.lstrip().startswith("{") and '"message"' in text:
        unpacked = _json_line(number, text)
        if unpacked is not None:
            return unpacked
    process = ""
    for _ in range(_MOST_PREFIXES):
        stop, name = _prefix(text)
        if not stop:
            break
        process = name or process
        text = text[stop:]
    logger = _LOGGER.match(text)
    if logger is not None:
        rest = text[logger.end() :]
        return Line(
            number, rest, process, logger["level"], logger["time"] or "", logger["file"], _small(logger["line"])
        )
    uvicorn = _UVICORN.match(text)
    if uvicorn is not None:
        return Line(number, text[uvicorn.end() :], process, uvicorn["level"])
    return Line(number, text, process)


def _colour(found: re.Match[str]) -> str:
    """Nothing in place of a colour; a bracket behind a word or another bracket is no colour's."""
    before = found.string[found.start() - 1 : found.start()]
    return found[0] if before == "]" or before.isalnum() or before == "_" else ""


def _prefix(text: str) -> tuple[int, str]:
    """Where the message behind one more prefix starts (0: there is none), and the process that it names."""
    start = len(text) - len(text.lstrip(" \t")) if text[:1] in " \t" else 0
    named = _PROCESS.match(text, start) or _SHORT_PROCESS.match(text, start)
    if named is not None:
        return named.end(), named["name"].strip()
    match = _WRAPPINGS.match(text)
    return (0, "") if match is None else (match.end(), "")


def _json_line(number: int, text: str) -> Line | None:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("message"), str):
        return None
    inner = clean(number, entry["message"].replace("\n", " ")) if not entry["message"].startswith("{") else None
    if inner is None:
        return None
    level = next((entry[key] for key in ("levelname", "level", "severity") if isinstance(entry.get(key), str)), "")
    process = entry.get("processName")
    return Line(
        number,
        inner.text,
        inner.process or (process if isinstance(process, str) and process != "MainProcess" else ""),
        inner.level or level.upper(),
        inner.time,
        inner.file,
        inner.source_line,
    )


def _small(digits: str) -> int:
    return int(digits) if len(digits) < 8 else 0
