"""What shows that the accuracy checks can fail, and pass: the model is made to give the right code, or wrong code.

For the hand-made problems in EvalPlus' own form beside this; where EvalPlus is told of other data (or is not there)
nothing is known that it could say.
"""

from __future__ import annotations

import datetime
import json
from functools import lru_cache
from pathlib import Path

import msgspec

from qcmatrix.matrix.entries import Entry, Expectation
from qcmatrix.suites.bench import Subject
from tests.suites.proof import Proof
from tests.suites.proxy import Body, Fault, says

PROBLEMS = Path(__file__).parents[1] / "evalplus"
CHECKS = ("QUAL-01", "QUAL-02", "QUAL-03", "QUAL-04")


@lru_cache(maxsize=1)
def solutions() -> dict[str, str]:
    """Prompt of each problem -> code that solves it."""
    lines = [line for name in ("humaneval", "mbpp") for line in (PROBLEMS / f"{name}.jsonl").read_text().splitlines()]
    problems = [json.loads(line) for line in lines]
    return {
        each["prompt"].strip(): (each["prompt"].strip("\n") + "\n" + each["canonical_solution"]) for each in problems
    }


def _solved(body: Body) -> str | None:
    asked = str(body["messages"][-1]["content"])
    code = next((code for prompt, code in solutions().items() if prompt in asked), None)
    return None if code is None else f"```python\n{code}```"


def _unsolved(body: Body) -> str | None:
    code = _solved(body)
    return None if code is None else code[: code.index("return")] + "return None\n```"


def _as_480b(subject: Subject) -> Subject:
    """It is an entry of the checkpoint of which the scores are known."""
    entry = Entry(
        id="480b",
        fleet="8xH200",
        vllm="0.32.0",
        command="vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8",
        expect=Expectation(verdict="starts"),
        source="https://docs.vllm.ai/projects/recipes/en/latest/Qwen/Qwen3-Coder-480B-A35B.html",
        read=datetime.date(2026, 11, 22),
    )
    return msgspec.structs.replace(subject, entry=entry)


PROOFS: tuple[Proof, ...] = (
    Proof(
        checks=CHECKS,
        known=_as_480b,
        fault=Fault(name="the model gives the right code", request=says(_solved)),
        helps=True,
    ),
    Proof(
        checks=CHECKS,
        known=_as_480b,
        fault=Fault(name="the model gives wrong code", request=says(_unsolved)),
    ),
    Proof(checks=CHECKS, fault=Fault(name="no answer", answer=lambda _, __: (500, '{"error": {}}'))),
)
