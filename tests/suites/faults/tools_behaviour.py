"""A model that can do what the behaviour checks ask, and models that cannot: the real one, told what to say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from qcmatrix.suites.forcing import forced
from qcmatrix.suites.tools.offered import written
from qcmatrix.suites.tools.prompts import Prompt, load_prompts
from tests.suites.faults.tools import Change, Told, changed
from tests.suites.proof import Proof
from tests.suites.proxy import Body, Fault

Says = Callable[[Body, Prompt | None], str]


def model(says: Says, **fields: Any) -> Callable[[str, Body], Body]:
    """A model that says that: what holds it to other words (a strict tool, a required one) is taken away."""

    def request(_: str, body: Body) -> Body:
        text = next(m["content"] for m in body["messages"] if m["role"] == "user")
        prompt = next((each for each in load_prompts() if each.text in text), None)
        tools = [{**each, "function": {**each["function"], "strict": None}} for each in body["tools"]]
        return {**body, "tools": tools, "tool_choice": "auto", **fields, **forced(says(body, prompt), None)}

    return request


def right(_: Body, prompt: Prompt | None) -> str:
    return prompt.answer if prompt is not None else "?"


def _first_call(_: Body, prompt: Prompt | None) -> str:
    assert prompt is not None
    name, values = (*prompt.calls, (prompt.tools[0], {}))[0]
    return written(name, values)


def _named(body: Body, _: Prompt | None) -> str:
    return written(body["tool_choice"]["function"]["name"], {})


def _results(body: Body, _: Prompt | None) -> str:
    return " and ".join(m["content"] for m in body["messages"] if m["role"] == "tool")


def _as(text: str) -> Says:
    return lambda *_: text


PLAN = {"size": "small", "days": "3", "tests": "true"}
DUE = ("TC-01.behaviour", "TC-03.behaviour", "TC-20.behaviour", "TC-25.behaviour", "TC-46.behaviour", "TC-50.*")


def helps(checks: tuple[str, ...], name: str, says: Says, **fields: Any) -> Proof:
    return Proof(checks=checks, fault=Fault(name=name, request=model(says, **fields)), helps=True)


def _about_the_tag(_: Body, told: Told) -> None:
    told["content"] = "It is `<tool_call>`."


def _finish_length(body: Body, told: Told) -> None:
    if any("404" in str(message["content"]) for message in body["messages"]):
        told["finish"] = "length"


def _lose_calls_of_one(_: Body, told: Told) -> None:
    if len(told["calls"]) == 1:
        told["calls"] = []


def _lose_arguments(_: Body, told: Told) -> None:
    for call in told["calls"]:
        call["arguments"] = "{}"


def _leak(_: Body, told: Told) -> None:
    told["content"] += "\n<tool_call>\n<function="


def _cut(_: Body, told: Told) -> None:
    told["calls"] = told["calls"][:1]


def _spoil(_: Body, told: Told) -> None:
    for call in told["calls"]:
        call["arguments"] = json.dumps({name: f"{value}?" for name, value in json.loads(call["arguments"]).items()})


def spoiled(checks: tuple[str, ...], name: str, change: Change, says: Says = right, **fields: Any) -> Proof:
    return Proof(checks=checks, fault=changed(name, change, request=model(says, **fields)))


def _sentence(_: Body, prompt: Prompt | None) -> str:
    return f"I will look at it.\n{right(_, prompt)}"


PROOFS: tuple[Proof, ...] = (
    helps(DUE, "a model that does what is due", right),
    helps(("TC-02.behaviour",), "a model that says a sentence first", _sentence),
    Proof(
        checks=("TC-24.behaviour",),
        fault=changed("a server that leaves prose alone", _about_the_tag, request=model(_as("It is so."))),
        helps=True,
    ),
    helps(("TC-32.behaviour",), "a model that calls what is required", _first_call),
    helps(("TC-33.behaviour",), "a model that keeps to the schema", _as(written("plan", PLAN))),
    helps(("TC-34.behaviour",), "a model that calls what is named", _named),
    helps(("TC-35.behaviour",), "a model that answers in words", _as("I may not look."), tool_choice="none"),
    helps(("TC-38.behaviour.*",), "a model that uses results", _results),
    spoiled(("TC-01.behaviour", "TC-20.behaviour", "TC-46.behaviour"), "right calls, wrong values", _spoil),
    spoiled(("TC-02.behaviour",), "a sentence with tags", _leak, _sentence),
    spoiled(("TC-03.behaviour",), "one call of several", _cut),
    spoiled(("TC-24.behaviour",), "a call about calls", lambda *_: None, _as(written("read_file", {"path": "a"}))),
    spoiled(("TC-25.behaviour",), "a call where none is of use", lambda *_: None, _first_call),
    spoiled(("TC-32.behaviour",), "words where a call is required", lambda *_: None, right),
    spoiled(("TC-33.behaviour",), "days that are no number", lambda *_: None, _as(written("plan", {"days": "x"}))),
    spoiled(("TC-34.behaviour",), "the obvious tool, not the named one", lambda *_: None, _first_call),
    spoiled(("TC-35.behaviour",), "a call though none is allowed", lambda *_: None, _first_call),
    spoiled(
        ("TC-38.behaviour.*",), "asks for the file again", lambda *_: None, _as(written("read_file", {"path": "a"}))
    ),
    spoiled(("TC-50.trigger-match",), "single calls are lost", _lose_calls_of_one),
    spoiled(("TC-50.schema-accuracy",), "arguments are lost", _lose_arguments),
    spoiled(("TC-50.query-success",), "one reply of forty is cut short", _finish_length),
)
