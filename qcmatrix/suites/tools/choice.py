"""tool_choice: required, named, none, one call at a time, strict (TC-31 to TC-34, TC-37).

Here the server itself holds the model to a call, so that an untrained one gives one too. It is asked at temperature 1
(greedily, an untrained model writes white space for ever wherever the grammar lets it) and stopped behind its first
call, as the grammar lets it write on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.exchange.chat import Answer
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Need, NotApplicable, check
from qcmatrix.suites.forcing import tag_bias
from qcmatrix.suites.tools.offered import (
    CHAT_API,
    CORE,
    STRICT,
    TOOL_CALLING,
    arguments_of,
    function,
    named,
    offer,
    said,
    upstream,
    written,
)

__all__ = ["constrained", "finish_reasons", "named_choice", "required_choice", "strict_nothing", "strict_schema"]

# Strict, so that an untrained model cannot write parameters of its own without end.
_PICK = function("pick", {"level": {"type": "integer", "enum": [1, 2, 3]}}, strict=True)
_OTHER = function("rest", {}, strict=True)

_ROOM = 300
_TRIES = 3
_FREE: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": -1,
    "repetition_penalty": 1.0,
    "logit_bias": tag_bias(8),
}
"""The tags are single tokens, by which a stream's parser knows them; an untrained model would spell them out."""


def constrained(bench: Bench, tools: list[dict[str, Any]], choice: Any, prompt: str = "Tell me a joke.") -> Answer:
    """A reply in which the server holds the model to a call; asked again while it is cut short.

    Raises:
        NotApplicable: it always was cut short without a call.
    """
    for number in range(_TRIES):
        answer = bench.chat(
            prompt,
            tools=tools,
            tool_choice=choice,
            max_tokens=_ROOM,
            stop=["</tool_call>"],
            include_stop_str_in_output=True,
            seed=bench.seed + number,
            **_FREE,
        )
        if answer.status != 200 or answer.finish != "length":
            break
    bench.expect_ok(answer)
    return answer


def _expect_end(answer: Answer) -> None:
    if answer.finish == "length":
        raise NotApplicable(f"the model did not come to an end in {_ROOM} tokens, {_TRIES} times over")


@check(
    "TC-31",
    suite="tools",
    profiles=(*CORE, *CHAT_API),
    needs=(Need.TOOLS, Need.FORCING),
    sources=(*upstream(25054, 9209), "https://developers.openai.com/api/reference/resources/chat"),
    variants={
        "text": {"title": "stop after plain text", "say": "Nothing to do.", "finish": "stop"},
        "auto": {"title": "tool_calls after a call", "say": written("ping", {}), "finish": "tool_calls"},
        "length": {"title": "length at max_tokens", "say": "Nothing to do here.", "max_tokens": 3, "finish": "length"},
        "stop": {"title": "stop at a stop string", "say": "Nothing END more", "stop": ["END"], "finish": "stop"},
        "required": {"title": "tool_calls when a call was required", "choice": "required", "finish": "tool_calls"},
        "named": {"title": "stop when a tool was named", "choice": named("rest"), "finish": "stop"},
    },
)
def finish_reasons(bench: Bench, given: Mapping[str, Any]) -> None:
    """Why the reply ended.

    Clients run calls by `tool_calls`. A named tool ends with `stop`, as OpenAI's API has it: the client knows already
    what it asked for.
    """
    if "choice" in given:
        answer = constrained(bench, [_OTHER], given["choice"])
        _expect_end(answer)
    else:
        more = {name: given[name] for name in ("max_tokens", "stop") if name in given}
        answer = bench.chat("Go on.", tools=offer("ping"), tool_choice="auto", **more, **bench.say(given["say"]))
        bench.expect_ok(answer)
    bench.expect(answer.finish == given["finish"], f"finish reason {given['finish']}", said(answer))


@check(
    "TC-32.constrained",
    suite="tools",
    profiles=CORE,
    needs=(Need.TOOLS,),
    sources=(*upstream(54808, 44447, 40894), TOOL_CALLING),
)
def required_choice(bench: Bench) -> None:
    """tool_choice required gives a call, whatever was asked.

    At least one call, each of a tool that was offered, with arguments that are a JSON object.
    """
    answer = constrained(bench, [_PICK, _OTHER], "required")
    if not answer.calls:
        _expect_end(answer)
    bench.expect(answer.calls, "one call or more", said(answer))
    bench.expect({call.name for call in answer.calls} <= {"pick", "rest"}, "tools that were offered", said(answer))
    if answer.finish != "length":
        fine = all(isinstance(arguments_of(call.arguments), dict) for call in answer.calls)
        bench.expect(fine, "arguments that are JSON objects", said(answer))


@check(
    "TC-34.constrained",
    suite="tools",
    profiles=CORE,
    needs=(Need.TOOLS,),
    sources=(*upstream(21565, 54808), TOOL_CALLING),
)
def named_choice(bench: Bench) -> None:
    """A named tool is the one that is called.

    Exactly the tool that `tool_choice` names, of two that are offered, once, with arguments that are a JSON object.
    """
    answer = constrained(bench, [_PICK, _OTHER], named("rest"))
    if not answer.calls:
        _expect_end(answer)
    bench.expect([call.name for call in answer.calls] == ["rest"], "one call of rest", said(answer))
    if answer.finish != "length":
        bench.expect(isinstance(arguments_of(answer.calls[0].arguments), dict), "a JSON object", said(answer))


_TYPES: dict[str, Any] = {"level": {"type": "integer", "enum": [1, 2, 3]}, "fast": {"type": "boolean"}}
_WORDS: dict[str, Any] = {name: {"type": "string", "enum": ["up", "down"]} for name in ("one", "two", "three")}


@check(
    "TC-33.constrained",
    suite="tools",
    profiles=STRICT,
    needs=(Need.TOOLS,),
    sources=(TOOL_CALLING,),
    variants={
        "required": {"title": "required, an integer and a boolean", "schema": _TYPES, "choice": "required"},
        "named": {"title": "named, an integer and a boolean", "schema": _TYPES, "choice": named("set_up")},
        "enum": {"title": "required, an enum of words", "schema": _WORDS, "choice": "required"},
    },
)
def strict_schema(bench: Bench, given: Mapping[str, Any]) -> None:
    """Arguments of a strict tool validate against its schema.

    `strict: true` is the promise that the server holds the model to the schema: types, enums and required fields.
    """
    from jsonschema import Draft202012Validator

    tool = function("set_up", given["schema"], strict=True)
    answer = constrained(bench, [tool], given["choice"])
    _expect_end(answer)
    bench.expect([call.name for call in answer.calls] == ["set_up"], "one call of set_up", said(answer))
    arguments = arguments_of(answer.calls[0].arguments)
    problems = [error.message for error in Draft202012Validator(tool["function"]["parameters"]).iter_errors(arguments)]
    bench.expect(not problems, "arguments that validate", f"{said(answer)}: {'; '.join(problems)}")


@check(
    "TC-37",
    suite="tools",
    profiles=STRICT,
    needs=(Need.TOOLS,),
    sources=upstream(50989),
    variants={
        "required": {"title": "required", "choice": "required"},
        "named": {"title": "named", "choice": named("ping")},
    },
)
def strict_nothing(bench: Bench, given: Mapping[str, Any]) -> None:
    """A strict tool without parameters.

    The call ends, and its arguments are `{}`: a grammar that has nothing to write must not write for ever.
    """
    answer = constrained(bench, [function("ping", {}, strict=True)], given["choice"])
    _expect_end(answer)
    bench.expect([call.name for call in answer.calls] == ["ping"], "one call of ping", said(answer))
    bench.expect(arguments_of(answer.calls[0].arguments) == {}, "arguments {}", said(answer))
