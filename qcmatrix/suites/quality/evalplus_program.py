"""EvalPlus, run as a program: its requests, its judgement of the answers."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from qcmatrix.suites.declare import NotApplicable

__all__ = [
    "PYTHON_VARIABLE",
    "Asked",
    "Dataset",
    "Scores",
    "find_python",
    "judge_answers",
    "read_scores",
    "requests_of",
]

Dataset = Literal["humaneval", "mbpp"]

PYTHON_VARIABLE = "QCMATRIX_EVALPLUS_PYTHON"
"""An interpreter that has EvalPlus, where ours has not: its dependencies are many and old."""

_WORKER = Path(__file__).with_name("evalplus_worker.py")
_SECONDS = 3600.0
_LONGEST_FILE = 1 << 30
_PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME"),
    *("HUMANEVAL_OVERRIDE_PATH", "MBPP_OVERRIDE_PATH", "EVALPLUS_MAX_MEMORY_BYTES"),
)
"""All of the environment that code written by a model gets to see."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request that EvalPlus makes."""

    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    temperature: float = 0.0
    top_p: float | None = None


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """How many problems passed."""

    problems: int
    base: int
    """The tests of the original data set."""
    plus: int
    """Those and EvalPlus' own."""
    failed: tuple[str, ...] = ()
    """Ids of what did not pass all."""


def find_python() -> Path:
    """An interpreter with EvalPlus.

    Raises:
        NotApplicable: there is none; the text says what to install.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise NotApplicable(f"{PYTHON_VARIABLE} names {named}, which is not there")
        return Path(named)
    if importlib.util.find_spec("evalplus") is None:
        raise NotApplicable(
            "EvalPlus is not installed: `pip install 'qcmatrix[quality]'`, or name the Python of an environment that "
            f"has it in {PYTHON_VARIABLE}"
        )
    return Path(sys.executable)


def requests_of(python: Path, dataset: Dataset) -> tuple[Asked, ...]:
    """What EvalPlus asks a chat model, greedy, one request per problem.

    Raises:
        NotApplicable: the data is not there, or EvalPlus does not run.
    """
    with tempfile.TemporaryDirectory(prefix="qcmatrix-evalplus-") as folder:
        out = Path(folder, "asked.json")
        _run([str(python), str(_WORKER), "prompts", dataset, str(out)], folder)
        told = json.loads(out.read_text(encoding="utf-8"))
    if told.get("missing"):
        variable = "HUMANEVAL_OVERRIDE_PATH" if dataset == "humaneval" else "MBPP_OVERRIDE_PATH"
        raise NotApplicable(
            f"EvalPlus' data is not at {told['missing']}: let `evalplus` fetch it once, or name the file in {variable}"
        )
    try:
        return msgspec.convert(told["requests"], tuple[Asked, ...])
    except (KeyError, msgspec.ValidationError) as error:
        raise NotApplicable(f"this EvalPlus asks in another way: {error}") from None


def judge_answers(python: Path, dataset: Dataset, answers: Sequence[tuple[Asked, str]]) -> Scores:
    """EvalPlus' judgement of ``answers``, one to each of its requests. It runs the code that the model wrote.

    In a directory of its own, in processes that EvalPlus limits in memory and time, without our environment, and ended
    with all that it started after an hour. Not a sandbox: whoever runs it trusts the model, or isolates the machine.

    Raises:
        NotApplicable: EvalPlus does not run.
    """
    with tempfile.TemporaryDirectory(prefix="qcmatrix-evalplus-") as folder:
        given, made = Path(folder, "answers.json"), Path(folder, "samples.jsonl")
        given.write_text(json.dumps([[asked.messages, text] for asked, text in answers]), encoding="utf-8")
        _run([str(python), str(_WORKER), "samples", dataset, str(given), folder], folder)
        _run([str(python), "-m", "evalplus.evaluate", "--dataset", dataset, "--samples", str(made)], folder)
        return read_scores(json.loads(Path(folder, "samples_eval_results.json").read_text(encoding="utf-8")))


def read_scores(results: Mapping[str, Any]) -> Scores:
    """The counts in the file that ``evalplus.evaluate`` writes.

    Raises:
        NotApplicable: it has another form.
    """
    try:
        first = {task: given[0] for task, given in results["eval"].items()}
        base = {task for task, each in first.items() if each["base_status"] == "pass"}
        plus = {task for task in base if first[task]["plus_status"] == "pass"}
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise NotApplicable(f"this EvalPlus writes another form of results: {error!r}") from None
    return Scores(problems=len(first), base=len(base), plus=len(plus), failed=tuple(sorted(set(first) - plus)))


def _run(words: Sequence[str], folder: str) -> None:
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    process = subprocess.Popen(  # noqa: S603 - the interpreter that the user named
        words,
        env=env | {"PYTHONUTF8": "1", "TOKENIZERS_PARALLELISM": "false"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_LONGEST_FILE, _LONGEST_FILE))
        said, _ = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise NotApplicable(f"EvalPlus did not end within {_SECONDS:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if process.returncode != 0:
        last = " | ".join(said.strip().splitlines()[-3:])
        raise NotApplicable(f"EvalPlus does not run: exit code {process.returncode}: {last[:400]}")
