"""Judges what a client got: right, wrong, in a wrong shape, or a crash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from qcmatrix.probe.replay.cases import Case, ExpectedCall

__all__ = ["CRASH", "FAIL", "PASS", "SHAPE", "Call", "Heard", "Verdict", "heard", "judge", "shape_faults"]

PASS, FAIL, SHAPE, CRASH = "p", "f", "s", "c"
"""Right; wrong; the values are right and the deltas are not what a client may expect; an error instead of a reply."""

_SEEN = 110
"""Letters that are kept of what was seen."""


class Call(msgspec.Struct, frozen=True):
    """One call as a client puts it together."""

    id: str
    name: str
    arguments: str


class Heard(msgspec.Struct, frozen=True):
    """One reply as a client puts it together from its deltas, or got it whole."""

    content: str = ""
    calls: tuple[Call, ...] = ()
    finish: str | None = None
    faults: tuple[str, ...] = ()
    """What is wrong with the shape of the deltas."""
    argument_deltas: int = 0
    crash: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """One letter, and what was seen where it is not ``p``."""

    letter: str
    seen: str = ""


def heard(reply: Mapping[str, Any]) -> Heard:
    """A worker's reply as a client hears it."""
    if "crash" in reply:
        crash = reply["crash"]
        return Heard(crash=f"{crash['type']}: {crash['text']}")
    if "message" in reply:
        message = reply["message"]
        calls = tuple(Call(c["id"] or "", c["name"] or "", c["arguments"] or "") for c in message["calls"])
        faults = tuple(_id_faults([call.id for call in calls]))
        return Heard(message["content"] or "", calls, message["finish"], faults)
    deltas = reply["deltas"]
    by_index: dict[Any, list[Any]] = {}
    for delta in deltas:
        for part in delta[1]:
            by_index.setdefault(part[0], []).append(part)
    calls = tuple(
        Call(
            next((part[1] for part in parts if part[1]), ""),
            next((part[3] for part in parts if part[3]), ""),
            "".join(part[4] or "" for part in parts),
        )
        for _, parts in sorted(by_index.items(), key=lambda item: (item[0] is None, item[0]))
    )
    return Heard(
        content="".join(delta[0] or "" for delta in deltas),
        calls=calls,
        finish=next((delta[2] for delta in reversed(deltas) if delta[2]), None),
        faults=shape_faults(deltas),
        argument_deltas=sum(1 for delta in deltas for part in delta[1] if part[4]),
    )


def shape_faults(deltas: Sequence[Any]) -> tuple[str, ...]:
    """What in the deltas breaks a client that adds texts up, as the ``openai`` package does (``accumulate_delta``).

    The id and the name of a call come once, on its first delta; indices count up from 0; arguments follow the name.
    """
    faults: list[str] = []
    ids: dict[Any, str] = {}
    named: set[Any] = set()
    for content, parts, finish, *_ in deltas:
        del content, finish
        for index, own_id, _, name, arguments in parts:
            if index not in ids:
                if index != len(ids):
                    faults.append(f"index {index} after {len(ids)} calls")
                ids[index] = own_id or ""
                if not own_id:
                    faults.append("a call begins without an id")
                if not name:
                    faults.append("a call begins without a name")
            elif own_id:
                faults.append("the id comes again" + ("" if own_id == ids[index] else ", another one"))
            if name:
                if index in named:
                    faults.append("the name comes again")
                named.add(index)
            elif arguments and index not in named:
                faults.append("arguments before the name")
    faults.extend(_id_faults([text for text in ids.values() if text]))
    return tuple(dict.fromkeys(faults))


def _id_faults(ids: Sequence[str]) -> list[str]:
    faults = [] if all(ids) else ["a call without an id"]
    if len(set(ids)) != len(ids):
        faults.append("two calls share an id")
    return faults


def judge(case: Case, mode: str, reply: Mapping[str, Any], whole: Mapping[str, Any]) -> Verdict:
    """The verdict on ``reply`` to ``case`` in ``mode``; ``whole`` is the reply when it is not streamed."""
    if "compact" in reply:
        return _judge_long(case, mode, reply["compact"])
    got = heard(reply)
    if got.crash is not None:
        return Verdict(CRASH, _short(got.crash))
    wrong = _held(case, mode, got, whole) if case.hold else _exact(case, got)
    if not wrong and mode != "w" and case.deltas > got.argument_deltas:
        wrong = f"{got.argument_deltas} deltas of arguments"
    if wrong:
        return Verdict(FAIL, _short(wrong))
    if got.faults:
        return Verdict(SHAPE, _short("; ".join(got.faults)))
    return Verdict(PASS)


def _exact(case: Case, got: Heard) -> str:
    """What is wrong, empty where nothing is."""
    expected = case.expected
    if wrong := _calls(expected, got.calls):
        return wrong
    if case.content != "*" and got.content.strip() != case.content.strip():
        return f"content {got.content!r}"
    if case.expected_finish not in ("*", got.finish):
        return f"finish reason {got.finish}"
    return ""


def _calls(expected: Sequence[ExpectedCall], got: Sequence[Call]) -> str:
    if len(got) != len(expected):
        return f"{len(got)} calls: " + "; ".join(f"{call.name}({call.arguments})" for call in got)
    for wanted, call in zip(expected, got, strict=True):
        if call.name != wanted.name:
            return f"name {call.name!r}"
        arguments = _json(call.arguments)
        if not isinstance(arguments, dict):
            return f"arguments are no JSON object: {call.arguments!r}"
        if wrong := _difference(wanted.arguments, arguments):
            return wrong
    return ""


def _difference(wanted: Mapping[str, Any], got: Mapping[str, Any]) -> str:
    for name in wanted:
        if name not in got:
            return f"{name} is missing"
        if not _equal(wanted[name], got[name]):
            return f"{name} = {json.dumps(got[name], ensure_ascii=False)}"
    return "".join(f"{name} = {json.dumps(got[name])} is too much" for name in got if name not in wanted)


def _equal(one: Any, two: Any) -> bool:
    """Equal as JSON: a number is a number however it is written, and ``true`` is none."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_equal, one, two))
    if isinstance(one, (int, float)) and isinstance(two, (int, float)):
        return one == two
    return type(one) is type(two) and bool(one == two)


def _json(text: str) -> Any:
    """``text`` as strict JSON; ``NotImplemented`` where it is none."""
    try:
        value = json.loads(text, parse_constant=_no_json)
    except ValueError:
        return NotImplemented
    return NotImplemented if _endless(value) else value


def _no_json(text: str) -> Any:
    raise ValueError(text)


def _endless(value: Any) -> bool:
    """A number that was too large for a float."""
    if isinstance(value, dict):
        return any(map(_endless, value.values()))
    if isinstance(value, list):
        return any(map(_endless, value))
    return isinstance(value, float) and not math.isfinite(value)


def _held(case: Case, mode: str, got: Heard, whole: Mapping[str, Any]) -> str:
    for hold in case.hold:
        if wrong := _holds(hold, case, mode, got, whole):
            return wrong
    return ""


def _holds(hold: str, case: Case, mode: str, got: Heard, whole: Mapping[str, Any]) -> str:
    said = "; ".join(f"{call.name}({call.arguments})" for call in got.calls)
    parsed = [_json(call.arguments) for call in got.calls]
    match hold:
        case "json":
            return "" if all(isinstance(each, dict) for each in parsed) else f"arguments are no JSON object: {said}"
        case "same":
            return "" if mode == "w" else _same(got, heard(whole))
        case "names" | "calls":
            if [call.name for call in got.calls] != [call.name for call in _wanted(case)]:
                return f"{len(got.calls)} calls: {said}"
            keys = [set(each) if isinstance(each, dict) else set() for each in parsed]
            if hold == "calls" and keys != [set(call.arguments) for call in _wanted(case)]:
                return f"other arguments: {said}"
        case "first":
            return _calls(_wanted(case)[:1], got.calls[:1])
        case "finish":
            return "" if got.finish == case.expected_finish else f"finish reason {got.finish}"
        case "incomplete":
            whole_ones = [call for call, each in zip(got.calls, parsed, strict=True) if isinstance(each, dict)]
            return f"looks complete: {said}" if whole_ones else ""
    return ""


def _wanted(case: Case) -> Sequence[ExpectedCall]:
    """The calls of a case that holds only something; in a ``text`` without ``calls``: one of its first tool."""
    return case.expected or [ExpectedCall(name, {}) for name in case.tools[:1]]


def _same(got: Heard, whole: Heard) -> str:
    if whole.crash is not None:
        return "" if got.crash is not None else "whole it is a crash"
    one = [(call.name, _json(call.arguments)) for call in got.calls]
    two = [(call.name, _json(call.arguments)) for call in whole.calls]
    # Equal as Python sees it is not enough: True == 1.
    if len(one) != len(two) or any(a[0] != b[0] or not _equal(a[1], b[1]) for a, b in zip(one, two, strict=True)):
        said = "; ".join(f"{call.name}({call.arguments})" for call in got.calls) or "no call"
        return f"unlike whole: {said}"
    if got.content.strip() != whole.content.strip():
        return f"unlike whole: content {got.content!r}"
    return "" if got.finish == whole.finish else f"unlike whole: finish reason {got.finish}"


def _judge_long(case: Case, mode: str, got: Mapping[str, Any]) -> Verdict:
    """Of a long reply only its measures are known."""
    (wanted,) = case.expected
    canonical = json.dumps(dict(wanted.arguments), sort_keys=True, separators=(",", ":"))
    if got["names"] != [wanted.name]:
        return Verdict(FAIL, _short(f"calls {got['names']}; content {got['content']!r}"))
    if got["sha256"] is None:
        return Verdict(FAIL, f"{got['characters']} letters of arguments that are no JSON")
    if got["sha256"] != hashlib.sha256(canonical.encode()).hexdigest():
        return Verdict(FAIL, "other arguments")
    if got["finish"] != case.expected_finish:
        return Verdict(FAIL, f"finish reason {got['finish']}")
    if mode != "w" and got["deltas"] < case.deltas:
        return Verdict(FAIL, f"{got['deltas']} deltas of arguments")
    return Verdict(PASS)


def _short(text: str) -> str:
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= _SEEN else text[: _SEEN - 3] + "..."
