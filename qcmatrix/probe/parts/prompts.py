"""Conversations with earlier calls, rendered by one release."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Final

from qcmatrix.catalogue.releases import Release
from qcmatrix.evidence.records import Record
from qcmatrix.probe.parts.rules import tidy
from qcmatrix.probe.replay.cases import load_tools
from qcmatrix.probe.replay.history import history_digest, judge_prompt, load_history, template
from qcmatrix.probe.replay.judge import CRASH, Verdict
from qcmatrix.probe.session import Reply, Session

__all__ = ["PART", "probe"]

PART: Final = "prompts"
_SUBJECT: Final = "history"
_TIMEOUT: Final = 300.0
"""Seconds for one prompt: the first imports the release's template code."""

Progress = Callable[[str], None]


def probe(session: Session, release: Release, progress: Progress | None = None) -> list[Record]:
    """Asks for the prompt of every conversation; one record with one letter for each.

    Raises:
        SessionError: no worker can be started.
    """
    cases = load_history()
    if progress is not None:
        progress(f"{len(cases)} conversations for the chat template")
    questions = [
        {
            "ask": "prompt",
            "template": template(),
            "messages": case.messages,
            "tools": [load_tools()[name] for name in case.tools],
        }
        for case in cases.values()
    ]
    verdicts: dict[str, str] = {}
    seen: dict[str, str] = {}
    unknown: set[str] = set()
    for (name, case), reply in zip(cases.items(), session.ask_many(questions, timeout=_TIMEOUT), strict=True):
        verdict = _verdict(reply) or judge_prompt(case, reply.answer or {})
        verdicts[f"{name}#{history_digest(case)}"] = verdict.letter
        if verdict.letter == "?":
            unknown.add(verdict.seen)
        if verdict.seen:
            seen[name] = tidy(verdict.seen)
    said = {"answer": {"verdicts": verdicts, "seen": seen}}
    if len(unknown) == 1 and set(verdicts.values()) == {"?"}:
        return [_record(session, release, not_askable=unknown.pop())]
    return [_record(session, release, **said)]


def _verdict(reply: Reply) -> Verdict | None:
    """The verdict where there is no answer to judge."""
    if reply.not_askable is not None:
        return Verdict("?", reply.not_askable)
    if reply.error is not None:
        return Verdict(CRASH, f"{reply.error.type}: {reply.error.text}"[:160])
    return None


def _record(session: Session, release: Release, **said: object) -> Record:
    return Record(
        release=release.name,
        part=PART,
        subject=_SUBJECT,
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        torch=session.hello.torch,
        transformers=session.hello.transformers,
        **said,  # type: ignore[arg-type]  # one of answer and not_askable
    )
