"""API-07: stop strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.boot.asked import asked_by
from qcmatrix.suites.boot.errors import expect_refused
from qcmatrix.suites.declare import Need, check
from qcmatrix.versions import parse_version

__all__: list[str] = []

_CHAT = "https://platform.openai.com/docs/api-reference/chat/create#chat-create-stop"
_MOST = "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/envs.py"
_TEXT = "alpha beta gamma"
_NONE = ("zulu", "yankee", "xray", "whiskey")
_LIMITED = parse_version("0.28.0")
"""From there at most ``VLLM_MAX_STOP_STRINGS`` (4) are taken."""

_CASES: Mapping[str, Mapping[str, Any]] = {
    "one": {"title": "one string", "stop": "beta", "gives": "alpha ", "reason": "beta"},
    "four": {"title": "the last of four", "stop": [*_NONE[:3], "beta"], "gives": "alpha ", "reason": "beta"},
    "first": {"title": "whichever comes first", "stop": ["gamma", "beta"], "gives": "alpha ", "reason": "beta"},
    "inside": {"title": "across words", "stop": ["ta ga"], "gives": "alpha be", "reason": "ta ga"},
    "kept": {
        "title": "kept where asked for",
        "stop": ["beta"],
        "more": {"include_stop_str_in_output": True},
        "gives": "alpha beta",
        "reason": "beta",
    },
    "absent": {"title": "none that comes", "stop": list(_NONE), "gives": _TEXT, "reason": None},
}


@check(
    "API-07",
    suite="boot",
    profiles=("chat-api",),
    needs=(Need.FORCING,),
    sources=(_CHAT,),
    variants={
        f"{name}-{route}" if route == "completions" else name: {
            **case,
            "route": route,
            "title": f"{case['title']}, {route}",
        }
        for name, case in _CASES.items()
        for route in ("chat", "completions")
        if route == "chat" or name in ("four", "inside")
    },
)
def stops(bench: Bench, case: Mapping[str, Any]) -> None:
    """A stop string ends the answer where it comes.

    The model is forced to say a known text. The answer is all before the stop string, nothing of it itself (unless
    ``include_stop_str_in_output``), also where it runs over several tokens and in a stream; ``finish_reason`` is
    ``stop`` and vLLM's ``stop_reason`` names the string. Four strings are OpenAI's limit.
    """
    fields = {"stop": case["stop"], "max_tokens": 64, **case.get("more", {}), **bench.say(_TEXT)}
    if case["route"] == "chat":
        answer = bench.chat("Say it.", **fields)
        bench.expect_ok(answer)
        text, finish, reason = answer.content, answer.finish, answer.stop_reason
    else:
        completion = bench.complete("Say it: ", **fields)
        bench.expect_ok(completion)
        text, finish, reason = completion.text, completion.finish, completion.stop_reason
    bench.expect(text == case["gives"], repr(case["gives"]), repr(text))
    bench.expect(finish == "stop", "finish reason stop", finish)
    if case["reason"] is None:  # of an end-of-text token, where it is one of several, vLLM gives the id
        bench.expect(not isinstance(reason, str), "no stop string as stop_reason", repr(reason))
    else:
        bench.expect(reason == case["reason"], f"stop_reason {case['reason']!r}", repr(reason))


@check("API-07.five", suite="boot", profiles=("chat-api",), core=False, needs=(Need.FORCING,), sources=(_CHAT, _MOST))
def five(bench: Bench) -> None:
    """A fifth stop string is refused, or it stops.

    OpenAI takes four. vLLM took any number before 0.28.0; from there it refuses more than ``VLLM_MAX_STOP_STRINGS`` (4
    unless set) with 400. Whichever: a string that is taken must stop the answer. Where the entry sets the variable to 5
    or more, or the release is older, five must be taken; Continue's autocomplete sends twelve.
    """
    answer = bench.chat("Say it.", stop=[*_NONE, "beta"], max_tokens=64, **bench.say(_TEXT))
    most = _most_stops(bench)
    if most is not None:
        wanted = 200 if most >= 5 else 400
        bench.expect(answer.status == wanted, f"HTTP {wanted} (at most {most} strings)", f"HTTP {answer.status}")
    if answer.status == 200:
        bench.expect_ok(answer)
        bench.expect(answer.content == "alpha ", "'alpha '", repr(answer.content))
    else:
        expect_refused(bench, bench.wire.post("/v1/chat/completions", bench.exchanges[-1].request), 400)


def _most_stops(bench: Bench) -> int | None:
    """So many does the server take; ``None``: its environment is not known, so either is right."""
    release = bench.subject.release
    if release is not None and parse_version(release) < _LIMITED:
        return 1_000_000
    if bench.subject.entry is None or release is None:
        return None
    given = asked_by(bench.subject.entry).parsed.launch.env.get("VLLM_MAX_STOP_STRINGS", "4")
    return int(given) if given.isdigit() else None
