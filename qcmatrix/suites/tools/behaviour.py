"""What a trained model does with tools: rates over trials (the second tier)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qcmatrix.exchange.chat import Answer
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import ONCE, Need, Rate, Tier, check
from qcmatrix.suites.tools.offered import (
    CORE,
    STRICT,
    TOOL_CALLING,
    arguments_of,
    function,
    named,
    said,
    upstream,
)
from qcmatrix.suites.tools.prompts import Prompt, load_prompts, tool, wrong_calls

__all__ = ["LONG_PROMPT", "MANY_TOOLS", "SAMPLED", "TAGS"]

SAMPLED = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}
"""What the vendor recommends (https://huggingface.co/Qwen/Qwen3-Coder-30B-A3B-Instruct, Best Practices)."""

TAGS = ("<tool_call", "</tool_call", "<function=", "</function", "<parameter=", "</parameter")

_BFCL = "https://github.com/ShishirPatil/gorilla/tree/main/berkeley-function-call-leaderboard"
_VLLM_TESTS = "https://github.com/vllm-project/vllm/blob/v0.33.0/tests/tool_use"
_NEEDS = (Need.TOOLS, Need.TRAINED)
_TRIALS = 10
_THRESHOLD = 0.9
_MOST = 400


def ask(bench: Bench, number: int, messages: Any, tools: list[dict[str, Any]], **more: Any) -> Answer:
    """One trial: sampled as the vendor recommends, every other one streamed."""
    fields = {"tool_choice": "auto", "max_tokens": _MOST, **SAMPLED, **more}
    return bench.chat(messages, stream=number % 2 == 1, seed=number, tools=tools, **fields)


def trials(bench: Bench, prompts: tuple[Prompt, ...], judge: Callable[[int, Prompt], str]) -> Rate:
    """The prompts by turns, until there were enough trials."""
    return bench.rate(lambda number: judge(number, prompts[number % len(prompts)]), _TRIALS, _THRESHOLD)


def ill(answer: Answer) -> str:
    """What is wrong with the form of a reply; empty where nothing is."""
    if answer.status != 200:
        return f"HTTP {answer.status}: {answer.error[:120]}"
    if answer.faults:
        return "; ".join(answer.faults)
    leaked = [tag for tag in TAGS if tag in answer.content]
    return f"{leaked[0]} in the content: {said(answer)}" if leaked else ""


def _due(bench: Bench, number: int, prompt: Prompt, **more: Any) -> str:
    answer = ask(
        bench, number, [{"role": "user", "content": prompt.text}], [tool(name) for name in prompt.tools], **more
    )
    return ill(answer) or wrong_calls(prompt, answer)


@check(
    "TC-01.behaviour",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=(f"{_VLLM_TESTS}/test_tool_calls.py", _BFCL),
)
def single_call(bench: Bench) -> Rate:
    """The model calls the one obvious tool, with the values that it was told.

    Ten prompts, each once. One call, of the right tool, with those values; no tag in the content.
    """
    return trials(bench, load_prompts("single"), lambda number, prompt: _due(bench, number, prompt))


@check(
    "TC-02.behaviour",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=(*upstream(22975), "https://github.com/ollama/ollama/issues/18530"),
)
def preamble(bench: Bench) -> Rate:
    """A sentence before the call reaches the user, and no tag with it.

    The prompt asks for one sentence on what comes next, then the call. The content must hold some words and no markup.
    """

    def judge(number: int, prompt: Prompt) -> str:
        told = f"{prompt.text} First say in one sentence what you are about to do, then call the tool in the same turn."
        tools = [tool(name) for name in prompt.tools]
        answer = ask(bench, number, [{"role": "user", "content": told}], tools)
        words = "" if len(answer.content.split()) >= 2 else f"no sentence: {said(answer)}"
        return ill(answer) or words or wrong_calls(prompt, answer)

    return trials(bench, load_prompts("single"), judge)


@check(
    "TC-03.behaviour",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=(*upstream(33965), f"{_VLLM_TESTS}/test_parallel_tool_calls.py"),
)
def parallel_calls(bench: Bench) -> Rate:
    """Two and three independent tasks make two and three calls in one turn, in order.

    Five prompts that ask for that, each twice.
    """
    return trials(bench, load_prompts("parallel"), lambda number, prompt: _due(bench, number, prompt))


MANY_TOOLS = 12
LONG_PROMPT = "The project keeps its rules in docs/rules.md; follow them, keep changes small, and explain nothing. "


@check(
    "TC-20.behaviour",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    tokens=4096,
    sources=(
        "https://github.com/QwenLM/Qwen3-Coder/issues/475",
        "https://github.com/ollama/ollama/issues/16686",
        *upstream(17742),
    ),
)
def many_tools_long_prompt(bench: Bench) -> Rate:
    """With more than five tools and a long prompt the call still comes out.

    There the family leaves out the opening `<tool_call>` now and then; the parser has to see the call all the same.
    Twelve tools, a system prompt of some 6,000 characters (1,000 where the context is short), the prompts of TC-01.
    """
    more = [function(f"extra_{number}", {"value": {"type": "string"}}) for number in range(MANY_TOOLS - 2)]
    repeats = 60 if (bench.subject.max_model_len or 0) > 16_384 else 10

    def judge(number: int, prompt: Prompt) -> str:
        messages = [{"role": "system", "content": LONG_PROMPT * repeats}, {"role": "user", "content": prompt.text}]
        answer = ask(bench, number, messages, [*more, *(tool(name) for name in prompt.tools)])
        return ill(answer) or wrong_calls(prompt, answer)

    return trials(bench, load_prompts("single"), judge)


@check(
    "TC-24.behaviour",
    suite="tools",
    profiles=CORE,
    core=False,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=("https://github.com/noonghunna/club-3090/issues/72", "https://github.com/ollama/ollama/issues/16398"),
)
def prose_about_markup(bench: Bench) -> Rate:
    """A user who asks what a `<tool_call>` looks like gets to read it.

    No call, finish reason `stop`, and the tag in the text. The form has no escapes, so no vendor promises it.
    """
    question = (
        "Do not use any tool. In one line, in backquotes: which tag opens a tool call in the format of Qwen3-Coder?"
    )

    def trial(number: int) -> str:
        answer = ask(bench, number, question, [tool("read_file")])
        if answer.status != 200 or answer.faults:
            return ill(answer)
        fine = not answer.calls and answer.finish == "stop" and "<tool_call>" in answer.content
        return "" if fine else said(answer)

    return bench.rate(trial, _TRIALS, _THRESHOLD)


@check(
    "TC-25.behaviour",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=(_BFCL,),
)
def no_call_needed(bench: Bench) -> Rate:
    """Where no tool is of use the model answers in words.

    The irrelevance category of BFCL: no call, some text, finish reason `stop`.
    """

    def judge(number: int, prompt: Prompt) -> str:
        tools = [tool(name) for name in prompt.tools]
        answer = ask(bench, number, [{"role": "user", "content": prompt.text}], tools)
        fine = not answer.calls and answer.finish == "stop" and answer.content.strip()
        return ill(answer) or ("" if fine else f"{prompt.id}: {said(answer)}")

    return trials(bench, load_prompts("none"), judge)


@check(
    "TC-32.behaviour",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=(*upstream(54808, 44447, 40894), TOOL_CALLING),
)
def required_on_irrelevant(bench: Bench) -> Rate:
    """tool_choice required gives a call even where none is of use.

    One call or more, of tools that were offered, with arguments that are JSON objects, to the end.
    """

    def judge(number: int, prompt: Prompt) -> str:
        tools = [tool(name) for name in prompt.tools]
        answer = ask(bench, number, [{"role": "user", "content": prompt.text}], tools, tool_choice="required")
        known = answer.calls and {call.name for call in answer.calls} <= set(prompt.tools)
        objects = all(isinstance(arguments_of(call.arguments), dict) for call in answer.calls)
        return ill(answer) or (
            "" if known and objects and answer.finish != "length" else f"{prompt.id}: {said(answer)}"
        )

    return trials(bench, load_prompts("none"), judge)


_PLAN = function(
    "plan",
    {"size": {"type": "string", "enum": ["small", "large"]}, "days": {"type": "integer"}, "tests": {"type": "boolean"}},
    strict=True,
    description="Plan the work.",
)


@check(
    "TC-33.behaviour",
    suite="tools",
    profiles=STRICT,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=(TOOL_CALLING,),
)
def strict_arguments(bench: Bench) -> Rate:
    """A strict tool gets arguments that validate, also where the user does not say them all."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(_PLAN["function"]["parameters"])

    def judge(number: int, prompt: Prompt) -> str:
        told = f"Plan the work for this wish of a user: {prompt.text}"
        answer = ask(bench, number, told, [_PLAN], tool_choice="required")
        problems = [e.message for call in answer.calls for e in validator.iter_errors(arguments_of(call.arguments))]
        fine = answer.calls and not problems and answer.finish != "length"
        return ill(answer) or ("" if fine else f"{said(answer)}: {'; '.join(problems)}")

    return trials(bench, load_prompts("made"), judge)


@check(
    "TC-34.behaviour",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=(*upstream(21565, 54808), TOOL_CALLING),
)
def named_on_irrelevant(bench: Bench) -> Rate:
    """A named tool is called, and no other, even where another one is the obvious one."""

    def judge(number: int, prompt: Prompt) -> str:
        other = next(name for name in prompt.tools if name != prompt.calls[0][0])
        tools = [tool(name) for name in prompt.tools]
        answer = ask(bench, number, prompt.text, tools, tool_choice=named(other))
        fine = answer.calls and {call.name for call in answer.calls} == {other} and answer.finish != "length"
        return ill(answer) or ("" if fine else f"not {other}: {said(answer)}")

    return trials(bench, load_prompts("single"), judge)


@check(
    "TC-35.behaviour",
    suite="tools",
    profiles=CORE,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    sources=(*upstream(42747), TOOL_CALLING),
)
def none_means_words(bench: Bench) -> Rate:
    """With tool_choice none there is no call, and no markup of one in the text."""

    def judge(number: int, prompt: Prompt) -> str:
        tools = [tool(name) for name in prompt.tools]
        answer = ask(bench, number, prompt.text, tools, tool_choice="none")
        return ill(answer) or (f"{prompt.id}: {said(answer)}" if answer.calls or not answer.content.strip() else "")

    return trials(bench, load_prompts("single"), judge)


@check(
    "TC-46.behaviour",
    suite="tools",
    profiles=CORE,
    core=False,
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=_NEEDS,
    tokens=4096,
    sources=("https://github.com/QwenLM/Qwen3-Coder/issues/475",),
)
def thirty_tools(bench: Bench) -> Rate:
    """Among thirty tools the model finds the right one.

    The catalogue asks for the rate only; it is gated as the others are, and is no core check.
    """
    more = [
        function(f"extra_{number}", {"value": {"type": "string", "description": "A value."}}) for number in range(28)
    ]

    def judge(number: int, prompt: Prompt) -> str:
        tools = [*(tool(name) for name in prompt.tools), *more]
        answer = ask(bench, number, prompt.text, tools)
        return ill(answer) or wrong_calls(prompt, answer)

    return trials(bench, load_prompts("single"), judge)
