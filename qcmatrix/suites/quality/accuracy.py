"""QUAL-01 to QUAL-04: does the served model still write the code that its recipe says it does?"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from qcmatrix.suites.bench import Bench, Subject
from qcmatrix.suites.declare import ONCE, Need, Rate, Tier, Wrong, check
from qcmatrix.suites.quality.evalplus_program import Asked, Dataset, Scores, find_python, judge_answers, requests_of
from qcmatrix.suites.runner import wilson

_RECIPE = "https://docs.vllm.ai/projects/recipes/en/latest/Qwen/Qwen3-Coder-480B-A35B.html"
_EVALPLUS = "https://github.com/evalplus/evalplus"

REFERENCES: dict[str, dict[str, float]] = {
    "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8": {
        "humaneval": 0.939,
        "humaneval+": 0.902,
        "mbpp": 0.918,
        "mbpp+": 0.794,
    },
}
"""Pass@1 by checkpoint, as its recipe gives it (https://docs.vllm.ai/projects/recipes/en/latest/Qwen/Qwen3-Coder-480B-A35B.html)."""

_AT_ONCE = 16
_ANSWER_SECONDS = 600.0
"""A whole answer comes without a sign of life before its end."""
_LOCK = threading.Lock()
_last: dict[Dataset, tuple[tuple[Any, ...], Scores]] = {}
"""Per data set the scores got last, and of which server: two checks read one run."""


@check(
    "QUAL-01",
    suite="quality",
    profiles=("quality",),
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=2048,
    sources=(_RECIPE, _EVALPLUS),
)
def humaneval(bench: Bench) -> Rate:
    """HumanEval: 164 functions from their docstrings, the original tests.

    EvalPlus' own requests to a chat model, greedy, one answer each; EvalPlus cleans the code up, runs it and judges. A
    score is a share of few problems, so it comes with its Wilson interval, 95 %.

    Gated: fails only if the upper end of the interval is below what the checkpoint's recipe reports. A checkpoint
    without such a figure is recorded. The code that the model writes is run on this machine: isolate it.
    Needs EvalPlus and its data; neither is fetched.
    """
    return _judged(bench, "humaneval", "humaneval")


@check(
    "QUAL-02",
    suite="quality",
    profiles=("quality",),
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=2048,
    sources=(_RECIPE, _EVALPLUS),
)
def humaneval_plus(bench: Bench) -> Rate:
    """HumanEval+: the same functions, with EvalPlus' further tests.

    As QUAL-01, whose answers it shares; a problem passes when it passes both.
    """
    return _judged(bench, "humaneval", "humaneval+")


@check(
    "QUAL-03",
    suite="quality",
    profiles=("quality",),
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=2048,
    sources=(_RECIPE, _EVALPLUS),
)
def mbpp(bench: Bench) -> Rate:
    """MBPP: short Python tasks, the original tests.

    As QUAL-01, of EvalPlus' selection of MBPP.
    """
    return _judged(bench, "mbpp", "mbpp")


@check(
    "QUAL-04",
    suite="quality",
    profiles=("quality",),
    tier=Tier.BEHAVIOUR,
    modes=ONCE,
    needs=(Need.TRAINED,),
    tokens=2048,
    sources=(_RECIPE, _EVALPLUS),
)
def mbpp_plus(bench: Bench) -> Rate:
    """MBPP+: the same tasks, with EvalPlus' further tests.

    As QUAL-03, whose answers it shares; a problem passes when it passes both.
    """
    return _judged(bench, "mbpp", "mbpp+")


def reference_of(subject: Subject) -> Mapping[str, float] | None:
    """The scores reported for the checkpoint that is served; ``None``: there are none, or it is not known which."""
    entry = subject.entry
    names = {subject.model, *((entry.checkpoint, *entry.command.split()) if entry is not None else ())}
    return next((scores for name, scores in REFERENCES.items() if name in names), None)


def verdict(passes: int, problems: int, reference: float | None) -> str:
    """What is wrong with the score; empty: nothing, or there is no reference."""
    low, high = wilson(passes, problems)
    if reference is None or high >= reference:
        return ""
    return f"{passes} of {problems} (95 %: {low:.3f} to {high:.3f})"


def _judged(bench: Bench, dataset: Dataset, name: str) -> Rate:
    scores = _scores(bench, dataset)
    passes = scores.plus if name.endswith("+") else scores.base
    references = reference_of(bench.subject)
    reference = references[name] if references else None
    low, high = wilson(passes, scores.problems)
    bench.figures.update(
        dataset=name,
        pass_at_1=round(passes / scores.problems, 4) if scores.problems else None,
        passes=passes,
        problems=scores.problems,
        ci95=[round(low, 4), round(high, 4)],
        reference=reference,
        failed=list(scores.failed[:50]),
    )
    wrong = verdict(passes, scores.problems, reference)
    if wrong:
        raise Wrong(f"a score whose interval reaches {reference:g}", wrong)
    return Rate(passes=passes, trials=scores.problems, threshold=0.0)


def _scores(bench: Bench, dataset: Dataset) -> Scores:
    """EvalPlus' scores of the server, asked once for the checks that share them."""
    python = find_python()
    started = bench.metric("process_start_time_seconds")
    server = (bench.subject.root, bench.subject.model, started, str(python))
    with _LOCK:
        known = _last.get(dataset)
        if started is not None and known is not None and known[0] == server:
            return known[1]
        asked = requests_of(python, dataset)
        answers = bench.at_once(lambda each: _answer(bench, each), asked, _AT_ONCE)
        scores = judge_answers(python, dataset, list(zip(asked, answers, strict=True)))
        _last[dataset] = (server, scores)
        return scores


def _answer(bench: Bench, asked: Asked) -> str:
    answer = bench.chat(
        asked.messages,
        stream=False,
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        timeout=_ANSWER_SECONDS,
    )
    bench.expect_ok(answer)
    return answer.content
