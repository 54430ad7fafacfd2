"""Entries that are expected to fail: started like any other, and judged by how they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from qcmatrix.errors import ExitCode, UserError
from qcmatrix.matrix.entries import Entry
from qcmatrix.serving.hardware import Hardware
from qcmatrix.serving.problems import BootFailed
from qcmatrix.serving.server import start_server
from qcmatrix.serving.watch import Patience
from qcmatrix.startup_log.fingerprints import fingerprints
from qcmatrix.startup_log.lines import clean

__all__ = ["NotRefused", "Refused", "expect_refusal"]

_AROUND = 200


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """It failed as expected."""

    words: str
    """The expected words with what stands around them in the log; where none are expected, the line that tells why."""
    seconds: float
    cause: str
    rule: str | None
    """The rule that the log speaks of."""
    log: Path


class NotRefused(UserError):
    """It did something else than to refuse with the words that are expected."""

    exit_code = ExitCode.FINDINGS

    def __init__(self, observed: str, *notes: str, log: Path, seconds: float) -> None:
        super().__init__(observed, *notes)
        self.observed = observed
        self.log = log
        self.seconds = seconds


def expect_refusal(
    entry: Entry,
    *,
    hardware: Hardware | None = None,
    vllm_python: Path | None = None,
    any_release: bool = False,
    directory: Path,
    progress: Callable[[str], None] = lambda _: None,
    patience: Patience | None = None,
) -> Refused:
    """Start ``entry`` and see it end by itself, with the words of its ``expect.error`` in the log.

    One that starts is stopped at once.

    Raises:
        NotRefused: it started, or failed in another way.
        CannotPlace: this machine cannot try it.
        UserError: the entry cannot be read, or what serves it not be made.
    """
    try:
        server = start_server(
            entry,
            hardware=hardware,
            vllm_python=vllm_python,
            any_release=any_release,
            directory=directory,
            progress=progress,
            patience=patience,
        )
    except BootFailed as failed:
        return _judged(entry, failed)
    seconds = server.boot_seconds or 0.0
    server.stop()
    raise NotRefused(
        f"{entry.id} was expected to be {entry.expect.verdict}, and it started in {seconds:.0f} s",
        *([f"expected words: {entry.expect.error}"] if entry.expect.error else []),
        f"its log: {server.log}",
        log=server.log,
        seconds=seconds,
    )


def _judged(entry: Entry, failed: BootFailed) -> Refused:
    expected = entry.expect.error
    if failed.ending != "exited" or failed.code is None or failed.code <= 0:
        raise NotRefused(
            f"{entry.id} was expected to end by itself with an error, and did not: {failed.cause}",
            f"its log: {failed.log}",
            log=failed.log,
            seconds=failed.seconds,
        )
    if not expected and not _is_of_that_kind(entry, failed):
        raise NotRefused(
            f"{entry.id} was expected to be {entry.expect.verdict}, and failed for another reason: {failed.cause}",
            *([f"observed: {failed.words}"] if failed.words else [f"observed: {line}" for line in failed.tail[-3:]]),
            f"its log: {failed.log}",
            log=failed.log,
            seconds=failed.seconds,
        )
    words = _around(failed.log, expected) if expected else failed.words
    if expected and not words:
        raise NotRefused(
            f"{entry.id} failed, but with other words: {failed.cause}",
            f"expected: {expected}",
            *([f"observed: {failed.words}"] if failed.words else [f"observed: {line}" for line in failed.tail[-3:]]),
            f"its log: {failed.log}",
            log=failed.log,
            seconds=failed.seconds,
        )
    return Refused(words=words, seconds=failed.seconds, cause=failed.cause, rule=failed.rule, log=failed.log)


_KINDS: dict[str, tuple[str, ...]] = {"does-not-fit": ("kv_too_small", "oom"), "refused": ("config_error",)}


def _is_of_that_kind(entry: Entry, failed: BootFailed) -> bool:
    """Where no words are expected: is the cause what a launch of that verdict ends with? A missing library is none."""
    if failed.rule is not None and failed.rule in entry.expect.rules:
        return True
    outcome = next((each.outcome for each in fingerprints() if each.id == failed.fingerprint), "unknown")
    return outcome in _KINDS.get(entry.expect.verdict, ("config_error", "kv_too_small", "oom"))


def _around(log: Path, expected: str) -> str:
    """``expected`` in ``log`` with what stands before and behind it, however the lines are broken; empty: not there."""
    wanted = " ".join(expected.split())
    text = ""
    with log.open("r", encoding="utf-8", errors="replace") as stream:
        for raw in stream:
            # Two lines at a time, so that a message that goes over a line's end is found.
            text = f"{text[-8192:]} {clean(0, raw).text.strip()}"
            text = " ".join(text.split())
            if (at := text.find(wanted)) >= 0:
                return text[max(0, at - _AROUND) : at + len(wanted) + _AROUND]
    return ""
