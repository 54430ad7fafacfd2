"""Reads one question a line, writes one answer a line, and lives no longer than who asks.

File descriptor 1 is moved away before anything of vLLM is imported, so what vLLM or a C library prints ends up on
stderr and never between the answers.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import platform
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qcmatrix_worker import NotAskable

__all__ = ["main"]

Handler = Callable[[dict[str, Any]], dict[str, Any]]

_PARENT = "QCMATRIX_WORKER_PARENT"
_KIND = re.compile(r"[a-z][a-z_]*")
_FRAMES = 3  # innermost ones that tell where an import failed
_RESERVED = frozenset({"loop"})


def main() -> int:
    """Say hello, then answer until the questions end."""
    questions, answers = _take_streams()
    _die_with_parent()
    try:
        hello = _hello()
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        where = [f"{frame.filename}, line {frame.lineno}: {frame.line}" for frame in frames]
        _write(answers, json.dumps({"dead": f"{type(error).__name__}: {_text(error)}", "where": where}))
        return 1
    _write(answers, json.dumps({"hello": hello}))
    handlers: dict[str, Handler] = {}
    for line in questions:
        if not line.strip():
            continue
        reply = _reply(line, handlers)
        if reply is None:
            break
        _write(answers, reply)
    return 0


def _take_streams() -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
    """Our own copies of stdin and stdout; everybody else reads nothing and writes to stderr."""
    questions = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return questions, answers


def _die_with_parent() -> None:
    """End when the process that asks is gone, whatever we are doing, and take along what we started.

    A process of its own watches: it is not held up by a handler that hangs, and it can end the whole group.
    """
    parent = os.environ.pop(_PARENT, "")
    if not parent:
        return  # started by hand: the end of stdin is enough
    worker = os.getpid()
    if os.fork():
        return
    try:
        os.closerange(0, 256)  # an open end of our pipes would keep them from ending
        while os.getppid() == worker:
            if not _is_parent(int(parent), worker):
                os.killpg(0, signal.SIGKILL)
            time.sleep(0.5)
    finally:
        os._exit(0)


def _is_parent(parent: int, worker: int) -> bool:
    """Whether ``parent``, which started ``worker``, is still there."""
    if sys.platform == "linux":  # a dead one that nobody waited for still has its number
        text = Path(f"/proc/{worker}/stat").read_text(encoding="utf-8")
        return int(text.rpartition(")")[2].split()[1]) == parent
    try:
        os.kill(parent, 0)
    except ProcessLookupError:
        return False
    return True


def _hello() -> dict[str, str]:
    import torch
    import vllm

    try:
        from importlib.metadata import version

        transformers = version("transformers")
    except ImportError:
        transformers = "none"
    return {
        "vllm": str(vllm.__version__),
        "torch": str(torch.__version__),
        "transformers": transformers,
        "python": platform.python_version(),
    }


def _reply(line: str, handlers: dict[str, Handler]) -> str | None:
    """The answer to one line; ``None``: asked to stop."""
    started = time.perf_counter()
    reply: dict[str, Any] = {"id": None}
    try:
        question = json.loads(line)
        reply["id"] = question.get("id")
        kind = question["ask"]
        if kind == "stop":
            return None
        if kind not in handlers:
            handlers.update(_load(kind))
        answer = handlers[kind](question)
        text = json.dumps(answer, allow_nan=False)  # what JSON cannot hold is this handler's fault, not the loop's end
        seconds = round(time.perf_counter() - started, 4)
        return f'{{"id": {json.dumps(reply["id"])}, "seconds": {seconds}, "answer": {text}}}'
    except NotAskable as error:
        reply["not_askable"] = str(error)
    except BaseException as error:
        if os.environ.get("QCMATRIX_TRACEBACK"):
            traceback.print_exc()
        reply["error"] = {"type": type(error).__name__, "text": _text(error)}
    reply["seconds"] = round(time.perf_counter() - started, 4)
    return json.dumps(reply)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _load(kind: str) -> dict[str, Handler]:
    """The handlers of the module that answers ``kind``: the one that bears its name."""
    if not isinstance(kind, str) or not _KIND.fullmatch(kind) or kind in _RESERVED:
        raise ValueError(f"not a kind of question: {kind!r}")
    if not (Path(__file__).resolve().parent / f"{kind}.py").is_file():
        raise ValueError(f"this worker knows no question of the kind {kind!r}")
    found: dict[str, Handler] = importlib.import_module(f"qcmatrix_worker.{kind}").HANDLERS
    return found


def _write(answers: io.TextIOWrapper, reply: str) -> None:
    answers.write(reply + "\n")
    answers.flush()
