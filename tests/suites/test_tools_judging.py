"""The parts of the suite ``tools`` that decide without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qcmatrix.exchange.chat import Answer
from qcmatrix.probe.replay.cases import load_cases
from qcmatrix.probe.replay.judge import Call
from qcmatrix.suites.declare import Tier
from qcmatrix.suites.forcing import forced
from qcmatrix.suites.tools.clients import accumulated
from qcmatrix.suites.tools.offered import arguments_of
from qcmatrix.suites.tools.prompts import Prompt, load_prompts, wrong_calls
from qcmatrix.suites.tools.replayed import REPLAYED
from qcmatrix.suites.tools.verifier_rates import count_triggers

PROMPT = Prompt(
    id="single.a",
    text="?",
    tools=("get_ticket",),
    calls=(("get_ticket", {"number": "7", "who": "a"}),),
)


def answer(*calls: tuple[str, str]) -> Answer:
    made = tuple(Call(str(number), *call) for number, call in enumerate(calls))
    return Answer(status=200, streamed=False, reply={}, calls=made, finish="tool_calls")


def test_calls_are_right_with_numbers_as_numbers_and_texts_as_texts() -> None:
    assert wrong_calls(PROMPT, answer(("get_ticket", '{"number": 7, "who": "a", "more": null}'))) == ""


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        ((), "not the calls"),
        ((("other", "{}"),), "not the calls"),
        ((("get_ticket", '{"number": 7'),), "no JSON object"),
        ((("get_ticket", '{"number": 8, "who": "a"}'),), "number is not '7'"),
        ((("get_ticket", '{"number": 7}'),), "who is not 'a'"),
    ],
)
def test_what_is_wrong_with_calls_is_said(calls: tuple[tuple[str, str], ...], told: str) -> None:
    assert told in wrong_calls(PROMPT, answer(*calls))


def test_the_rate_counts_both_kinds_of_right_and_f1_the_calls_only() -> None:
    counted = count_triggers([(True, True)] * 3 + [(False, False)] * 4 + [(True, False)] + [(False, True)] * 2)
    assert counted.match == 0.7
    assert counted.f1 == pytest.approx(2 * 3 / (2 * 3 + 3))
    assert count_triggers([]).match == 0


def test_the_set_has_prompts_of_both_kinds() -> None:
    prompts = load_prompts()
    assert len(prompts) == 40
    assert 0.5 < sum(bool(prompt.calls) for prompt in prompts) / len(prompts) < 0.75


@pytest.mark.parametrize("text", ["[NaN]", '{"a": Infinity}', "", "{'a': 1}", None, {"a": 1}])
def test_arguments_are_strict_json_in_a_text(text: object) -> None:
    assert arguments_of(text) is None


def test_every_kind_of_case_is_asked_of_the_server() -> None:
    asked = {check.id.partition(".")[0] for check in REPLAYED}
    own = {"TC-26", "TC-27", "TC-29", "TC-30", "TC-31", "TC-32", "TC-33", "TC-34", "TC-37", "TC-47"}
    assert asked >= {name.partition(".")[0] for name in load_cases()} - own
    assert all(check.tier is Tier.CONTRACT and check.sources for check in REPLAYED)


def chunk(**delta: Any) -> dict[str, Any]:
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def part(arguments: str, **more: Any) -> dict[str, Any]:
    name = {"name": more.pop("name")} if "name" in more else {}
    return {"index": 0, **more, "function": {**name, "arguments": arguments}}


def test_an_id_that_comes_twice_is_one_long_id_to_the_client() -> None:
    begin = chunk(role="assistant", tool_calls=[part("", id="call_1", type="function", name="ping")])
    once = accumulated([begin, chunk(tool_calls=[part("{}")])])
    twice = accumulated([begin, chunk(tool_calls=[part("{}", id="call_1")])])
    assert once == ("", [("call_1", "ping", "{}")], None)
    assert twice[1] == [("call_1call_1", "ping", "{}")]


TEXT = 'a "b" \\n\n\t<tool_call>\u2028\x1b北'


def test_a_forced_text_is_a_choice_since_choices_are_escaped() -> None:
    assert forced(TEXT, "0.32.0")["structured_outputs"] == {"choice": [TEXT]}
    assert forced(TEXT, None)["structured_outputs"] == {"choice": [TEXT]}


@pytest.mark.parametrize("release", ["0.10.2", "0.31.0"])
def test_a_forced_text_is_an_escaped_literal_before(release: str) -> None:
    fields = forced(TEXT, release)
    grammar = fields.get("guided_grammar") or fields["structured_outputs"]["grammar"]
    literal = grammar.removeprefix("root ::= ")
    assert json.loads(literal) == TEXT
    assert "\n" not in grammar


def test_only_a_text_with_tags_biases_their_tokens() -> None:
    assert forced(TEXT, None)["logit_bias"] == {"151657": 100, "151658": 100}
    assert "logit_bias" not in forced("plain", None)
