"""An answer that contradicts a rule is seen as one; one that says nothing is not taken for a proof."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from qcmatrix.catalogue.releases import load_release
from qcmatrix.evidence.records import Record
from qcmatrix.probe.parts.rules import graded, kept, probe, tidy
from qcmatrix.probe.proof import ABSENT, CUT, Asked, Grade, asked_of, proof_of, speaks
from qcmatrix.probe.session import Reply, Session, WorkerError
from qcmatrix.probe.status import Standing, cells, summary_of
from qcmatrix.rules import find_rule

BLOCK = "fp8-block-cut-by-tensor-parallel"
WORDS = (
    "ValueError: The output_size of gate's and up's weight = 320 is not divisible by weight quantization block_n = 128."
)


def asked(rule_id: str, release: str, subject: str) -> Asked:
    rule = find_rule(rule_id)
    found = {one.subject: one for one in asked_of(load_release(release), {rule.id: rule})}
    return found[f"{rule_id}/{subject}"]


def graded_as(one: Asked, **answer: Any) -> Grade:
    return proof_of(one, answer).grade


def test_a_refusal() -> None:
    one = asked(BLOCK, "0.28.0", "breaks/0")
    assert one.refuses
    assert graded_as(one, stage="weights", error=WORDS) is Grade.AGREE
    assert graded_as(one, stage="ok") is Grade.DISAGREE
    assert graded_as(one, stage="config", error="ValueError: something else") is Grade.DISAGREE
    assert graded_as(one, stage="config", error="ValueError: something else", excuse="no card") is Grade.NOT_ASKABLE
    assert graded_as(one, stage="weights", error=WORDS, excuse="no card") is Grade.AGREE


def test_beyond_its_bound_a_rule_is_wrong_if_the_release_still_says_it() -> None:
    one = asked(BLOCK, "0.29.0", "breaks/0")
    assert one.verdict is None
    assert graded_as(one, stage="ok") is Grade.AGREE
    assert graded_as(one, stage="weights", error=WORDS) is Grade.DISAGREE
    assert graded_as(one, stage="weights", error="RuntimeError: another thing") is Grade.MASKED


def test_what_a_rule_allows() -> None:
    one = asked(BLOCK, "0.28.0", "allows/0")
    assert graded_as(one, stage="ok") is Grade.AGREE
    assert graded_as(one, stage="weights", error="RuntimeError: another thing") is Grade.MASKED


def test_values() -> None:
    one = asked("hybrid-prefix-caching-ignored", "0.14.1", "breaks/1")
    assert graded_as(one, stage="ok", resolved={"enable_prefix_caching": False}) is Grade.AGREE
    assert graded_as(one, stage="ok", resolved={"enable_prefix_caching": True}) is Grade.DISAGREE
    assert graded_as(one, stage="ok", resolved={"enable_prefix_caching": ABSENT}) is Grade.NOT_ASKABLE
    assert graded_as(one, stage="config", error="ValueError: no") is Grade.DISAGREE
    after = asked("hybrid-prefix-caching-ignored", "0.15.0", "breaks/1")
    assert graded_as(after, stage="ok", resolved={"enable_prefix_caching": True}) is Grade.AGREE
    assert graded_as(after, stage="ok", resolved={"enable_prefix_caching": False}) is Grade.DISAGREE


def test_nothing_changes() -> None:
    one = asked("trust-remote-code-without-need", "0.33.0", "breaks/0")
    assert one.without is not None
    assert "--trust-remote-code" in one.launch["argv"]
    assert "--trust-remote-code" not in one.without["argv"]
    assert graded_as(one, stage="ok", changes={}) is Grade.AGREE
    assert graded_as(one, stage="ok", changes={"trust_remote_code": [True, False]}) is Grade.AGREE
    assert graded_as(one, stage="ok", changes={"architecture": ["a", "b"]}) is Grade.DISAGREE


def test_a_rule_with_a_reason_is_not_asked() -> None:
    rule = find_rule("open-bind-without-key")
    assert not list(asked_of(load_release("0.33.0"), {rule.id: rule}))


def test_the_question_tells_one_answer_from_another() -> None:
    here, there = asked(BLOCK, "0.28.0", "breaks/0"), asked(BLOCK, "0.28.0", "allows/0")
    assert here.digest == asked(BLOCK, "0.28.0", "breaks/0").digest
    assert here.digest != there.digest


@pytest.mark.parametrize(
    ("words", "said", "there"),
    [
        ("is not divisible", "ValueError: 5 is\n not  divisible by 2", True),
        ("a ... c", "x a b c y", True),
        ("a ... c", "x c b a", False),
        ("f(x)*", "f(x)*", True),
        ("f(x)*", "fx", False),
        ("0123456789012345678901234567890123456789", f"E: 01234567890123456789012345678901{CUT}", True),
        ("0123456789012345678901234567890123456789", f"E: 0123456789{CUT}", False),
        ("0123456789012345678901234567890123456789", f"E: 012345678901234567890123456789zz{CUT}", False),
    ],
)
def test_words(words: str, said: str, there: bool) -> None:
    assert speaks(words, said) is there


def test_errors_are_kept_without_what_is_ours() -> None:
    text = (
        "ArgumentError: usage: vllm serve [-h]\n  [--x]\nvllm serve: error: no /home/me/x/config.json "
        "[type=value_error, input_value=ArgsKwargs(()), input_type=ArgsKwargs] at 0x7f00aa11bb22\n"
        "    For further information visit https://errors.pydantic.dev/2.12/v/value_error"
    )
    assert tidy(text) == "ArgumentError: no ... at 0x..."
    assert tidy("see https://docs.vllm.ai/en/latest/") == "see https://docs.vllm.ai/en/latest/"
    assert len(tidy("x" * 1000)) == 400


class Told:
    """A session whose release refuses everything with the same words, or accepts everything."""

    hello = SimpleNamespace(vllm="0.28.0", torch="2.13.0+cpu", transformers="5.0.0", python="3.11")

    def __init__(self, answer: Mapping[str, Any] | None) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.known: dict[str, Any] = {}

    def configs(self, configs: Mapping[str, Any]) -> None:
        self.known.update(configs)

    def ask_many(self, questions: Iterable[Mapping[str, Any]], *, timeout: float) -> Iterator[Reply]:
        for question in questions:
            assert question["ask"] == "launch"
            assert question["config"] in self.known
            self.asked.append(dict(question))
            if self.answer is None:
                yield Reply(None, WorkerError("TimedOut", f"no answer within {timeout:g} s"), None, 1.0)
            else:
                yield Reply(dict(self.answer), None, None, 0.0)


def probed(answer: Mapping[str, Any] | None, rule_id: str = BLOCK, release: str = "0.28.0") -> list[Record]:
    told, rule = Told(answer), find_rule(rule_id)
    records = probe(cast(Session, told), load_release(release), rules={rule.id: rule})
    launches = {msgspec.json.encode(question, order="deterministic") for question in told.asked}
    assert len(launches) == len(told.asked), "a launch that cases share is asked once"
    return records


def test_a_release_that_accepts_everything_contradicts() -> None:
    records = probed({"stage": "ok", "resolved": {}})
    cell = cells(records, load_release("0.28.0"))[BLOCK]
    assert cell.standing is Standing.DISAGREES
    assert "accepted, and the rule says refused" in cell.why
    status = summary_of({"0.28.0": cells(records, load_release("0.28.0"))}).rules[BLOCK]
    assert status.contradicted == ("0.28.0",)
    assert status.probed == ()
    assert {one.mark.value for one in graded(records, load_release("0.28.0"))} == {"agree", "disagree"}


def test_a_release_that_refuses_everything_in_the_words_of_the_rule_contradicts() -> None:
    records = probed({"stage": "weights", "error": {"type": "ValueError", "text": WORDS}}, release="0.29.0")
    assert cells(records, load_release("0.29.0"))[BLOCK].standing is Standing.DISAGREES


def test_no_answer_proves_nothing() -> None:
    records = probed(None)
    assert records[0].error == "TimedOut: no answer within 180 s"
    assert cells(records, load_release("0.28.0"))[BLOCK].standing is Standing.NOT_ASKABLE


def test_an_answer_to_another_question_is_left_out() -> None:
    records = [msgspec.structs.replace(record, question="00000000") for record in probed({"stage": "ok"})]
    assert cells(records, load_release("0.28.0"))[BLOCK].standing is Standing.NOT_ASKED


def test_an_answer_without_what_the_case_wants_to_see_is_left_out() -> None:
    rule, release = "hybrid-prefix-caching-ignored", load_release("0.14.1")
    (record,) = [one for one in probed({"stage": "ok", "resolved": {}}, rule, "0.14.1") if "breaks/1" in one.subject]
    assert record.answer == {"stage": "ok", "resolved": {"enable_prefix_caching": ABSENT}}
    assert cells([record], release)[rule].standing is Standing.NOT_ASKABLE
    older = msgspec.structs.replace(record, answer={"stage": "ok"})
    assert cells([older], release)[rule].standing is Standing.NOT_ASKED


def test_only_what_the_proof_needs_is_kept() -> None:
    one = asked("yarn-loses-rope-theta", "0.28.0", "breaks/0")
    answer = {"stage": "ok", "resolved": {"rotary": {"base": 10000.0, "class": "X"}, "max_model_len": 5}}
    assert kept(one, Reply(answer, None, None, 0.1)) == {
        "answer": {"stage": "ok", "resolved": {"rotary.base": 10000.0}}
    }
