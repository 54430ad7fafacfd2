"""The tool-call cases, put to the parsers of one release."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from qcmatrix.catalogue.releases import Release
from qcmatrix.evidence.records import Record
from qcmatrix.probe.replay.cases import Case, Fill, case_digest, load_tools
from qcmatrix.probe.replay.judge import CRASH, Verdict, judge
from qcmatrix.probe.replay.modes import MODES, WRONG_PARSER, cases_of, modes_of
from qcmatrix.probe.session import Reply, Session

__all__ = ["PARSERS", "PART", "probe", "question_of", "verdicts_of"]

PART: Final = "replay"

PARSERS: Final = ("qwen3_coder", "qwen3_xml", WRONG_PARSER)
"""The two that are made for this family, and the one that guides for other Qwen models name."""

_TIMEOUT: Final = 120.0
_LONG: Final = 5_000
"""Letters from which on the worker sums a reply up and does not send it."""
_SIZES: Final = (500, 2_000)
"""Letters of the value whose CPU time is measured."""

Progress = Callable[[str], None]


def probe(session: Session, release: Release, progress: Progress | None = None) -> list[Record]:
    """Asks every case of every parser; one record per parser, and one on how its time grows with the size of a value.

    Raises:
        SessionError: no worker can be started.
    """
    records: list[Record] = []
    known: dict[str, str] = {}
    for parser in PARSERS:
        reply = session.ask("tools", parser=parser, timeout=300.0)
        if reply.answer is None:
            said = reply.not_askable or (f"{reply.error.type}: {reply.error.text}" if reply.error else "no answer")
            records.append(_record(session, release, parser, not_askable=said))
        elif reply.answer["class"] is None:
            records.append(_record(session, release, parser, not_askable="this release has no parser of that name"))
        elif reply.answer["class"] in known:
            records.append(_record(session, release, parser, answer={"same_as": known[reply.answer["class"]]}))
        else:
            known[reply.answer["class"]] = parser
            if progress is not None:
                progress(f"{len(cases_of(parser))} cases for the tool parser {parser}")
            records.append(_record(session, release, parser, answer=_replayed(session, parser)))
            if parser != WRONG_PARSER:
                records.append(_record(session, release, f"{parser}/time", answer=_timed(session, parser)))
    return records


def _record(session: Session, release: Release, subject: str, **said: Any) -> Record:
    return Record(
        release=release.name,
        part=PART,
        subject=subject,
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        torch=session.hello.torch,
        transformers=session.hello.transformers,
        **said,
    )


def question_of(parser: str, case: Case) -> dict[str, Any]:
    """The question to the worker."""
    splits = [MODES[letter].split for letter in modes_of(parser, case) if letter != "w"]
    text = case.model_output
    return {
        "ask": "tools",
        "parser": parser,
        "tools": [load_tools()[name] for name in case.tools],
        "text": text,
        "finish": "length" if case.cut else "stop",
        "request": case.request,
        "splits": splits,
        "compact": len(text) > _LONG,
    }


def verdicts_of(parser: str, case: Case, reply: Reply) -> tuple[str, dict[str, str]]:
    """One letter per mode, and what was seen by the modes that saw it."""
    letters = modes_of(parser, case)
    if reply.answer is None:
        error = f"{reply.error.type}: {reply.error.text}" if reply.error else reply.not_askable or "no answer"
        mark = "?" if reply.error is None else CRASH
        return mark * len(letters), {letters: error[:110]}
    streamed: Iterator[Mapping[str, Any]] = iter(reply.answer["streamed"])
    whole = reply.answer["whole"]
    found: list[Verdict] = [
        judge(case, letter, whole if letter == "w" else next(streamed), whole) for letter in letters
    ]
    seen: dict[str, str] = {}
    for letter, verdict in zip(letters, found, strict=True):
        if verdict.seen:
            seen[verdict.seen] = seen.get(verdict.seen, "") + letter
    return "".join(verdict.letter for verdict in found), _most_told(seen)


def _most_told(seen: Mapping[str, str]) -> dict[str, str]:
    """The two sights that most modes share: more is noise of the split points."""
    ranked: Sequence[tuple[str, str]] = sorted(seen.items(), key=lambda item: -len(item[1]))
    return {letters: text for text, letters in ranked[:2]}


def _replayed(session: Session, parser: str) -> dict[str, Any]:
    cases = cases_of(parser)
    questions = [question_of(parser, case) for case in cases.values()]
    verdicts: dict[str, str] = {}
    seen: dict[str, dict[str, str]] = {}
    for (name, case), reply in zip(cases.items(), session.ask_many(questions, timeout=_TIMEOUT), strict=True):
        letters, sights = verdicts_of(parser, case, reply)
        verdicts[f"{name}#{case_digest(case)}"] = letters
        if sights:
            seen[name] = sights
    return {"verdicts": verdicts, "seen": seen}


def _timed(session: Session, parser: str) -> dict[str, Any]:
    """CPU seconds for one long value in three modes, to one digit: the machine is part of the figure."""
    measured: dict[str, Any] = {}
    for size in _SIZES:
        line = "    value_{i} = compute({i}, 'x')\n"
        case = Case(
            id="time",
            title="",
            tools=("write",),
            say=(("write", {"path": "a.py", "content": "{}"}),),
            fill=Fill(line, size // len(line)),
            modes="wt4",
        )
        question = question_of(parser, case) | {"compact": True}
        (reply,) = session.ask_many([question], timeout=_TIMEOUT)
        if reply.answer is None:
            measured[str(size)] = reply.error.type if reply.error else reply.not_askable
            continue
        whole, (by_one, by_four) = reply.answer["whole"], reply.answer["streamed"]
        measured[str(size)] = {
            "whole": _rounded(whole["seconds"]),
            "streamed": _rounded(by_one["seconds"]),
            "streamed_by_four": _rounded(by_four["seconds"]),
            "deltas": by_one.get("compact", {}).get("deltas"),
        }
    return measured


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.0e}")
