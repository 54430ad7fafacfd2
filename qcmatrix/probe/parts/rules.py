"""The rules' cases, put to one release: on both sides of every version bound and on every release between."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.evidence.records import Record
from qcmatrix.probe.configs import config_json
from qcmatrix.probe.graded import Graded, Mark
from qcmatrix.probe.proof import ABSENT, CUT, PART, Asked, Grade, asked_of
from qcmatrix.probe.session import Reply, Session
from qcmatrix.probe.status import judged
from qcmatrix.rules.declare import Breach, Rule

__all__ = ["PART", "graded", "kept", "probe"]

_TIMEOUT: Final = 180.0
"""Seconds for one launch: the first of a model imports its code."""
_LONGEST: Final = 400
"""Characters of an error that are kept."""
_MOST: Final = 24
"""Values that differ between two launches: more are counted."""

_MARKS: Final = {
    Grade.AGREE: Mark.AGREE,
    Grade.DISAGREE: Mark.DISAGREE,
    Grade.EXPLAINED: Mark.EXPLAINED,
    Grade.MASKED: Mark.NOT_ASKABLE,
    Grade.NOT_ASKABLE: Mark.NOT_ASKABLE,
}

Progress = Callable[[str], None]


def probe(
    session: Session, release: Release, progress: Progress | None = None, rules: Mapping[str, Rule] | None = None
) -> list[Record]:
    """Asks every case (of ``rules``; ``None``: all) and returns what came of each, one record per case.

    A launch that several cases share is asked once. Whether an answer agrees with its rule is not said here:
    :func:`qcmatrix.probe.proof.proof_of` judges it whenever it is read.

    Raises:
        SessionError: no worker can be started.
    """
    wanted = list(asked_of(release, rules))
    launches: dict[bytes, dict[str, Any]] = {}
    for asked in wanted:
        for launch in (asked.launch, asked.without):
            if launch is not None:
                launches.setdefault(_key(launch), launch)
    # A release remembers much by the card and the variables, and is made to forget at each change: few changes.
    order = sorted(launches, key=lambda key: [str(launches[key][name]) for name in ("gpu", "env", "config")])
    session.configs(
        {name: config_json(find_checkpoint(name)) for name in sorted({launches[k]["config"] for k in order})}
    )
    replies: dict[bytes, Reply] = {}
    questions: Iterable[dict[str, Any]] = ({"ask": "launch", **launches[key]} for key in order)
    for key, reply in zip(order, session.ask_many(questions, timeout=_TIMEOUT), strict=True):
        replies[key] = reply
        if progress is not None and len(replies) % 20 == 0:
            progress(f"{len(replies)} of {len(order)} launches for {len(wanted)} cases of rules")
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return [
        Record(
            release=release.name,
            part=PART,
            subject=asked.subject,
            question=asked.digest,
            date=today,
            torch=session.hello.torch,
            transformers=session.hello.transformers,
            **kept(asked, replies[_key(asked.launch)], None if asked.without is None else replies[_key(asked.without)]),
        )
        for asked in wanted
    ]


def graded(records: Iterable[Record], release: Release) -> Iterator[Graded]:
    """Each record against what its rule says today; those of questions that are asked no more are left out."""
    for one in judged(records, release):
        verdict, answer = one.asked.verdict, one.record.answer or {}
        yield Graded(
            subject=one.asked.subject,
            mark=_MARKS[one.proof.grade],
            ours=verdict.because if isinstance(verdict, Breach) else "no breach",
            said=answer.get("error") or answer.get("stage") or one.record.error or "",
            why=one.proof.why,
        )


def _key(launch: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(launch, order="deterministic")


def kept(asked: Asked, reply: Reply, without: Reply | None = None) -> dict[str, Any]:
    """What a record keeps of the reply: no more than the proof needs."""
    if reply.answer is None or (without is not None and without.answer is None):
        failed = reply if reply.answer is None or without is None else without
        if failed.error is not None:
            return {"error": tidy(f"{failed.error.type}: {failed.error.text}")}
        return {"not_askable": failed.not_askable or "no answer"}
    answer = _kept(asked, reply.answer)
    if without is not None and without.answer is not None and "error" not in answer:
        if "error" in without.answer:
            answer["changes"] = {"error": [None, tidy(_error(without.answer["error"]))]}
        else:
            answer["changes"] = _changes(reply.answer.get("resolved") or {}, without.answer.get("resolved") or {})
    return {"answer": answer}


def _kept(asked: Asked, answer: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"stage": answer["stage"]}
    if "error" in answer:
        made["error"] = tidy(_error(answer["error"]))
        if answer.get("not_askable"):
            made["excuse"] = answer["not_askable"]
    elif asked.case.shows:
        resolved = answer.get("resolved") or {}
        made["resolved"] = {name: _at(resolved, name) for name in asked.case.shows}
    return made


def _at(values: Any, name: str) -> Any:
    """The value under a dotted name, or ``ABSENT``."""
    for step in name.split("."):
        if not isinstance(values, Mapping) or step not in values:
            return ABSENT
        values = values[step]
    return values


def _changes(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = [name for name in sorted({*here, *there}) if here.get(name, ABSENT) != there.get(name, ABSENT)]
    return {name: [here.get(name, ABSENT), there.get(name, ABSENT)] for name in names[:_MOST]}


def _error(error: Any) -> str:
    return f"{error.get('type', 'Error')}: {error.get('text', '')}" if isinstance(error, Mapping) else str(error)


def tidy(text: str) -> str:
    """vLLM's words in one line: without paths, addresses in memory, usage texts and pointers to documentation."""
    text = re.sub(r"^(\w+: )?usage: .*?: error: ", r"\1", text, flags=re.DOTALL)
    text = re.sub(r"For further information visit \S+", "", text)
    text = re.sub(r"\[type=\w+, input_value=.*?\](?=\s|$)", "", text, flags=re.DOTALL)
    text = re.sub(r"(?<![\w:/.])(/[\w.+@-]+){2,}/?", "...", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", text)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - len(CUT)] + CUT
