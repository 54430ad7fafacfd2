"""The lines of a journal, and the result that they come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from qcmatrix.results.schema import BootResult, CaseResult, Host, Result, ResultEntry, State, Suite
from qcmatrix.results.summary import profiles_of

__all__ = ["Asked", "Booted", "Header", "Line", "Served", "lines_in", "result_of"]

_NEVER = "the run ended before it"


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="header", tag_field="line"):
    """The first line: what is going to be asked of what."""

    schema: Literal["qcmatrix.journal/1"] = "qcmatrix.journal/1"
    run: str
    started: str
    trigger: Literal["nightly", "manual", "ci"]
    suite: Suite
    host: Host
    entry: ResultEntry
    planned: tuple[CaseResult, ...]
    """Every case, as one that was not run."""


class Served(msgspec.Struct, frozen=True, kw_only=True, tag="served", tag_field="line"):
    """The entry as the server itself tells it; replaces the header's."""

    entry: ResultEntry
    host: Host | None = None
    """``None``: as in the header."""


class Booted(msgspec.Struct, frozen=True, kw_only=True, tag="boot", tag_field="line"):
    """How it started."""

    boot: BootResult


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag="case", tag_field="line"):
    """What became of a case."""

    case: CaseResult


Line = Header | Served | Booted | Asked
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def lines_in(data: bytes) -> list[Line]:
    """The lines of a journal; what is none (the torn last one of a killed run) is left out."""
    found: list[Line] = []
    for text in data.split(b"\n"):
        try:
            found.append(_DECODER.decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def result_of(lines: Iterable[Line], ended: str) -> Result | None:
    """What ``lines`` come to; ``None``: there is no header among them, so nobody knows of what they tell.

    Of two outcomes of one case the first counts: none is asked again until it passes.
    """
    header: Header | None = None
    entry: ResultEntry | None = None
    host: Host | None = None
    boot: BootResult | None = None
    cases: dict[tuple[str, str], CaseResult] = {}
    for line in lines:
        match line:
            case Header():
                header, entry, host = line, line.entry, line.host
            case Served():
                entry, host = line.entry, line.host or host
            case Booted():
                boot = line.boot
            case Asked():
                cases.setdefault((line.case.id, line.case.mode), line.case)
    if header is None or entry is None or host is None:
        return None
    planned = {(case.id, case.mode): _not_run(case) for case in header.planned}
    every = tuple((planned | cases).values())
    return Result(
        run=header.run,
        started=header.started,
        ended=ended,
        trigger=header.trigger,
        suite=header.suite,
        host=host,
        entry=entry,
        boot=boot,
        cases=every,
        profiles=profiles_of(every),
    )


def _not_run(case: CaseResult) -> CaseResult:
    return msgspec.structs.replace(case, state=State.NOT_RUN, reason=_NEVER)
