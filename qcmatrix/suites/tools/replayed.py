"""The cases of the probe's parser replay, asked of the whole server: engine, detokenizer, parser, stream.

The text of each case is forced, so that any model writes it; what must come of it is judged by the replay's own judge.
"""

from __future__ import annotations

from qcmatrix.probe.replay.cases import Case, load_cases
from qcmatrix.probe.replay.judge import PASS, judge
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import BOTH, Check, Need, Tier
from qcmatrix.suites.tools.clients import expect_client_agrees
from qcmatrix.suites.tools.offered import CORE, offer

__all__ = ["REPLAYED"]

_SELECTED: dict[str, str] = {
    "TC-01": "single",
    "TC-02": "preamble no-newline less-than",
    "TC-03": "three no-newline-between",
    "TC-04": "same-twice",
    "TC-05": "empty-properties no-parameters one-line",
    "TC-06": "integer number boolean array object",
    "TC-07": "null-string integer digits",
    "TC-08": "digits leading-zeros null enum",
    "TC-09": "string-or-null-digits array one-of",
    "TC-10": "object items",
    "TC-11": "todos",
    "TC-12": "integer boolean array infinity",
    "TC-13": "python-object",
    "TC-14": "indentation trailing-newline blank-lines tabs crlf empty",
    "TC-15": "html xml generics",
    "TC-16": "backslashes quotes escape-in-text unicode line-separators",
    "TC-17": "tool-call-end tool-call-start",
    "TC-18": "function",
    "TC-19": "function-end parameter-end whole-call half-tag",
    "TC-20": "no-opener",
    "TC-21": "parameter-end function-end",
    "TC-22": "two-functions",
    "TC-23": "unclosed-name doubled-opener opener-only",
    "TC-24": "words function-tag",
    "TC-25": "think ends-in-opener",
    "TC-35": "none",
    "TC-36": "one-at-a-time",
    "TC-42": "names",
}
"""Of each kind what clients meet most; the replay itself asks all of them, of every release, without a server."""

_INFORMATIVE = ("TC-13", "TC-24")
"""What no vendor promises: Python written for JSON, and the tags themselves in prose (the form has no escapes)."""

_PAGE = """{title}.

The model is made to write the exact text of the replay's case `{id}`; the calls, the text beside them and the finish
reason that reach the client must be the ones that the text stands for, the stream must be well-formed, and `openai`'s
own accumulator must end up with the same.

It does not say how often a model writes such a text.
"""


def _run(bench: Bench, case: Case) -> None:
    body = {"tools": offer(*case.tools), "tool_choice": "auto", **case.request, **bench.say(case.model_output)}
    answer = bench.chat("Go on.", **body)
    whole = answer
    if answer.streamed and "same" in case.hold:
        whole = bench.chat("Go on.", stream=False, **body)
    bench.expect(answer.status == 200, "HTTP 200", f"HTTP {answer.status}: {answer.error}")
    verdict = judge(case, "t" if answer.streamed else "w", answer.reply, whole.reply)
    bench.expect(verdict.letter == PASS, _expected(case), verdict.seen)
    bench.expect(not answer.faults, "a well-formed reply", "; ".join(answer.faults))
    if answer.streamed:
        expect_client_agrees(bench, answer)


def _expected(case: Case) -> str:
    if case.hold:
        return f"{case.title}: {_HOLDS_TEXT.get(case.hold, ', '.join(case.hold))}"
    calls = "; ".join(f"{call.name}({dict(call.arguments)!r})" for call in case.expected) or "no call"
    return f"{case.title}: {calls}"[:400] + f", finish reason {case.expected_finish}"


_HOLDS_TEXT: dict[tuple[str, ...], str] = {
    ("json", "same", "names"): "arguments that are JSON, the same streamed as whole, and no other call",
    ("json", "same", "calls"): "arguments that are JSON, the same streamed as whole, with those names",
    ("json", "same"): "arguments that are JSON, and the same streamed as whole",
    ("alive", "json", "same"): "no error, arguments that are JSON, and the same streamed as whole",
}


def _check(case: Case) -> Check:
    return Check(
        id=case.id,
        suite="tools",
        profiles=CORE,
        core=not case.id.startswith(_INFORMATIVE),
        tier=Tier.CONTRACT,
        modes=BOTH,
        needs=(Need.TOOLS, Need.FORCING),
        tokens=2048,
        releases=(None, None),
        sources=case.sources,
        title=case.title,
        page=_PAGE.format(title=case.title[:1].upper() + case.title[1:], id=case.id).strip(),
        run=lambda bench: _run(bench, case),
    )


REPLAYED: tuple[Check, ...] = tuple(
    _check(load_cases()[f"{number}.{name}"]) for number, names in _SELECTED.items() for name in names.split()
)
