"""What the log of a server says: the cause of its end, and what it measured."""

from __future__ import annotations

import signal
from pathlib import Path

import msgspec

from qcmatrix.answers.explain import explain
from qcmatrix.answers.explain_schema import ExplainAnswer, MeasuredAnswer
from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.errors import UserError
from qcmatrix.launch.secrets import MASK, scrub_tokens
from qcmatrix.startup_log.reader import read_log

__all__ = ["Told", "ended", "explained", "measured_in", "tail_of", "told"]

_TAIL_BYTES = 16_384
_TAIL_LINES = 20
_LONGEST = 400


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Why a server ended, as its log tells it. All empty: it does not."""

    cause: str = ""
    rule: str | None = None
    """Id of the rule about the same mistake."""
    fingerprint: str | None = None
    words: str = ""
    """The line that tells it."""


def explained(log: Path, release: str | None = None) -> tuple[str, str | None]:
    """The cause of a failure in ``log`` and the rule about it; an empty text: the log tells of none."""
    found = told(log, release)
    return found.cause, found.rule


def told(log: Path, release: str | None = None, secret: str = "") -> Told:
    """The same with the words of the log, ``secret`` masked."""
    answer = _answer(log, release)
    failure = None if answer is None else answer.failure
    if failure is None:
        return Told()
    words = _hidden(failure.text, secret)
    if failure.cause is not None:
        cause = f"{failure.title}: {failure.because}" if failure.because != failure.title else failure.title
    else:
        cause = f"{failure.title}: {words}" if words else failure.title
    return Told(cause=_hidden(cause, secret), rule=failure.rule, fingerprint=failure.cause, words=words)


def measured_in(log: Path, release: str | None = None) -> dict[str, float]:
    """What a start measured, by name; GiB of one GPU, the one with the least KV cache; only what is there."""
    answer = _answer(log, release)
    return {} if answer is None else _figures(answer.measured)


def _figures(measured: MeasuredAnswer) -> dict[str, float]:
    figures = {
        "usable_gib": measured.usable_gib,
        "free_at_start_gib": measured.free_at_start_gib,
        "model_load_gib": measured.weights_gib,
        "activation_gib": measured.activation_gib,
        "non_torch_gib": measured.non_torch_gib,
        "cudagraph_gib": measured.graphs_gib,
        "available_kv_gib": measured.kv_gib,
        "kv_cache_tokens": measured.kv_tokens,
        "max_concurrency": measured.max_concurrency,
        "concurrency_tokens": measured.concurrency_tokens,
        "load_seconds": measured.load_seconds,
        "init_seconds": measured.init_seconds,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _answer(log: Path, release: str | None) -> ExplainAnswer | None:
    known: Release | None = None
    if release is not None:
        try:
            known = load_release(release)
        except UserError:
            known = None  # one that the catalogue does not have: the log is read all the same
    try:
        with log.open("rb") as stream:
            return explain(read_log(stream, str(log)), release=known).answer
    except (OSError, UserError):
        return None


def tail_of(log: Path, secret: str = "", lines: int = _TAIL_LINES) -> tuple[str, ...]:
    """The last lines of ``log``, keys masked."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ()
    kept = [line.rpartition("\r")[2].rstrip() for line in text.splitlines()]
    return tuple(_hidden(line[:_LONGEST], secret) for line in kept if line.strip())[-lines:]


def _hidden(text: str, secret: str) -> str:
    text = scrub_tokens(text)
    return text.replace(secret, MASK) if secret else text


def ended(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (for want of host memory? `dmesg` tells)" if code == -signal.SIGKILL else ""
    return f"was killed by {name}{hint}"
