"""Quality: HumanEval-Infilling, where its data is at hand; the programs are run (see :mod:`.sandbox`)."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from qcmatrix.boundary import read_text
from qcmatrix.errors import FileProblem
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Mode, Need, NotApplicable, Rate, Tier, check
from qcmatrix.suites.fim.asking import send, stop_token_ids
from qcmatrix.suites.fim.payloads import psm, raw
from qcmatrix.suites.fim.sandbox import run_program

__all__ = ["VARIABLE", "Task", "program_of", "read_tasks"]

VARIABLE = "QCMATRIX_HUMANEVAL_INFILLING"
DATA = "https://github.com/openai/human-eval-infilling"
_MOST = 164
"""Tasks that are asked: as many as RandomSpanLight has."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the data set; more fields are in it than these."""

    task_id: str
    prompt: str
    suffix: str
    test: str
    entry_point: str
    canonical_solution: str = ""


def read_tasks(path: Path) -> tuple[Task, ...]:
    """The tasks of a JSONL file, at most :data:`_MOST`, evenly spread over it.

    Raises:
        FileProblem: not readable, or a line is no task.
    """
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line, type=Task))
            except msgspec.MsgspecError as error:
                raise FileProblem(f"{path}:{number}: no task of HumanEval-Infilling: {error}") from None
    if not found:
        raise FileProblem(f"{path}: no tasks in it")
    return tuple(found[number * len(found) // _MOST] for number in range(_MOST)) if len(found) > _MOST else tuple(found)


def program_of(task: Task, middle: str) -> str:
    """The program that ends well if ``middle`` is right."""
    return f"{task.prompt}{middle}{task.suffix}\n{task.test}\ncheck({task.entry_point})\n"


@check(
    "FIM-19",
    suite="fim",
    profiles=("fim-raw",),
    core=False,
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(DATA, "https://huggingface.co/datasets/loubnabnl/humaneval_infilling"),
)
def humaneval_infilling(bench: Bench) -> Rate:
    """HumanEval-Infilling, pass@1 at temperature 0; recorded, to be compared between entries.

    Asked: RandomSpanLight (164 tasks) in the raw form; the programs are run on the machine that asks, each in a process
    with limits. Nothing gates but that the server answers: no reference score of these models is public. Compare with
    another entry of the same model; three points less is what the catalogue calls worse.

    Needs the data: set ``QCMATRIX_HUMANEVAL_INFILLING`` to its JSONL file.
    """
    where = os.environ.get(VARIABLE)
    if not where:
        raise NotApplicable(
            f"no data: get HumanEval-RandomSpanInfillingLight.jsonl from {DATA} and set {VARIABLE} to its path; "
            "model-written programs are then run on this machine"
        )
    try:
        tasks = read_tasks(Path(where))
    except FileProblem as problem:
        raise NotApplicable(problem.what) from None
    stops = stop_token_ids(bench)
    replies = bench.at_once(lambda task: send(bench, raw(psm(task.prompt, task.suffix), stops, 256)), tasks)
    for reply in replies:
        bench.expect_ok(reply)
    ran = bench.at_once(
        lambda each: run_program(program_of(each[0], each[1].text)),
        list(zip(tasks, replies, strict=True)),
        most=max(1, (os.cpu_count() or 2) - 1),
    )
    misses = tuple(f"{task.task_id}: {each.why}" for task, each in zip(tasks, ran, strict=True) if not each.ok)
    bench.figures["pass_at_1"] = round(1 - len(misses) / len(tasks), 4)
    return Rate(passes=len(tasks) - len(misses), trials=len(tasks), threshold=0.0, misses=misses[:5])
