"""The three rates of the vendors' verifiers over one set of prompts: trigger match, schema accuracy, query success."""

from __future__ import annotations

import msgspec

from qcmatrix.exchange.chat import Answer
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import ONCE, Need, Rate, Tier, check
from qcmatrix.suites.tools.behaviour import ask
from qcmatrix.suites.tools.offered import CORE, arguments_of, said
from qcmatrix.suites.tools.prompts import Prompt, load_prompts, tool

__all__ = ["Triggers", "count_triggers", "query_success", "schema_accuracy", "trigger_match"]

_SOURCES = (
    "https://github.com/MoonshotAI/K2-Vendor-Verifier",
    "https://github.com/MiniMax-AI/MiniMax-Provider-Verifier",
)
_NEEDS = (Need.TOOLS, Need.TRAINED)
_MATCH = _SCHEMA = 0.98
_SUCCESS = 1.0


class Triggers(msgspec.Struct, frozen=True, kw_only=True):
    """Calls against the calls that were due."""

    true_positive: int = 0
    false_positive: int = 0
    true_negative: int = 0
    false_negative: int = 0

    @property
    def match(self) -> float:
        """The share in which a call came exactly where one was due."""
        right = self.true_positive + self.true_negative
        return right / max(1, right + self.false_positive + self.false_negative)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall of calling at all."""
        twice = 2 * self.true_positive
        return twice / max(1, twice + self.false_positive + self.false_negative)


def count_triggers(pairs: list[tuple[bool, bool]]) -> Triggers:
    """Of pairs (due, came)."""
    return Triggers(
        true_positive=pairs.count((True, True)),
        false_positive=pairs.count((False, True)),
        true_negative=pairs.count((False, False)),
        false_negative=pairs.count((True, False)),
    )


def _run(bench: Bench) -> list[tuple[Prompt, Answer]]:
    prompts = load_prompts()

    def one(number: int) -> Answer:
        prompt = prompts[number]
        return ask(bench, number, prompt.text, [tool(name) for name in prompt.tools])

    return list(zip(prompts, bench.at_once(one, range(len(prompts))), strict=True))


def _rate(misses: list[str], trials: int, threshold: float) -> Rate:
    return Rate(passes=trials - len(misses), trials=trials, threshold=threshold, misses=tuple(misses[:5]))


@check(
    "TC-50.trigger-match",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=_SOURCES,
)
def trigger_match(bench: Bench) -> Rate:
    """A call comes where one is due, and only there.

    The verifiers' trigger match, (TP + TN) / N, against what our prompts need; its F1 is recorded (`trigger_f1`).
    MiniMax's verifier asks for 98 %.
    """
    replies = _run(bench)
    counted = count_triggers([(bool(prompt.calls), bool(answer.calls)) for prompt, answer in replies])
    bench.figures["trigger_f1"] = round(counted.f1, 4)
    misses = [f"{p.id}: {said(a)}" for p, a in replies if a.status != 200 or bool(p.calls) != bool(a.calls)]
    return _rate(misses, len(replies), _MATCH)


@check(
    "TC-50.schema-accuracy",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=_SOURCES,
)
def schema_accuracy(bench: Bench) -> Rate:
    """What is called is called rightly.

    Of the replies with calls, those in which every call is of a tool that was offered and every argument validates
    against its schema. K2's verifier found 76 % for plain vLLM and 100 % for the vendor's API; MiniMax's asks for 98 %.
    Without any call the rate is that of one miss.
    """
    from jsonschema import Draft202012Validator

    def wrong(prompt: Prompt, answer: Answer) -> str:
        for call in answer.calls:
            if call.name not in prompt.tools:
                return f"{prompt.id}: {call.name} was not offered"
            schema = tool(call.name)["function"]["parameters"]
            problems = [e.message for e in Draft202012Validator(schema).iter_errors(arguments_of(call.arguments))]
            if problems:
                return f"{prompt.id}: {said(answer)}: {problems[0]}"
        return ""

    called = [(prompt, answer) for prompt, answer in _run(bench) if answer.calls]
    if not called:
        return _rate(["no reply had a call"], 1, _SCHEMA)
    misses = [text for prompt, answer in called if (text := wrong(prompt, answer))]
    return _rate(misses, len(called), _SCHEMA)


@check(
    "TC-50.query-success",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=_SOURCES,
)
def query_success(bench: Bench) -> Rate:
    """Every request is answered, to its end and in the right form.

    HTTP 200, nothing wrong with the form, finish reason `stop` or `tool_calls`. MiniMax's verifier asks for 100 %.
    """
    misses = []
    replies = _run(bench)
    for prompt, answer in replies:
        if answer.status != 200 or answer.faults or answer.finish not in ("stop", "tool_calls"):
            misses.append(f"{prompt.id}: HTTP {answer.status}, {'; '.join(answer.faults)} {said(answer)}")
    return _rate(misses, len(replies), _SUCCESS)
