"""Runs inside the Python that has EvalPlus: what it would ask a chat model, and what it makes of the answers.

EvalPlus itself builds the requests and cleans the code up: its client is replaced by one that writes each request down,
or gives the answer that was got for it. Nothing of it is copied here, so its installed release decides
(https://github.com/evalplus/evalplus).

    python evalplus_worker.py prompts DATASET OUT.json
    python evalplus_worker.py samples DATASET ANSWERS.json FOLDER
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_DATA = {
    "humaneval": ("HUMANEVAL_OVERRIDE_PATH", "HumanEvalPlus", "evalplus.data.humaneval", "HUMANEVAL_PLUS_VERSION"),
    "mbpp": ("MBPP_OVERRIDE_PATH", "MbppPlus", "evalplus.data.mbpp", "MBPP_PLUS_VERSION"),
}


def missing_data(dataset: str) -> str:
    """Where the data should lie and does not; empty: it is there. EvalPlus would fetch it: we do not."""
    variable, name, module, version = _DATA[dataset]
    named = os.environ.get(variable)
    if named is None:
        metadata = importlib.import_module("evalplus.data.utils").get_dataset_metadata
        named = str(metadata(name, getattr(importlib.import_module(module), version), False)[1])
    return "" if Path(named).is_file() else named


def run_codegen(dataset: str, answer: Callable[[dict[str, Any]], str], root: str) -> str:
    """EvalPlus' own generation, greedy, with ``answer`` in the place of a server; the path of its samples."""
    codegen = importlib.import_module("evalplus.codegen")
    openai: Any = importlib.import_module("openai")

    def create(**request: Any) -> Any:
        return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=answer(request)))])

    client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    openai.OpenAI = lambda **_: client
    with contextlib.redirect_stdout(sys.stderr):
        return str(
            codegen.run_codegen(
                model="model", dataset=dataset, greedy=True, backend="openai", base_url="http://none", root=root
            )
        )


def prompts(dataset: str, out: str) -> None:
    """Write ``{"requests": [...]}``, or ``{"missing": path}``."""
    missing = missing_data(dataset)
    asked: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> str:
        asked.append(request)
        return ""

    if not missing:
        with tempfile.TemporaryDirectory() as folder:
            run_codegen(dataset, answer, folder)
    Path(out).write_text(json.dumps({"missing": missing} if missing else {"requests": asked}), encoding="utf-8")


def samples(dataset: str, answers: str, folder: str) -> None:
    """Write the cleaned-up code to ``folder/samples.jsonl``; ``answers``: pairs of messages and answer."""
    known = {json.dumps(messages): text for messages, text in json.loads(Path(answers).read_text(encoding="utf-8"))}
    made = run_codegen(dataset, lambda request: known[json.dumps(request["messages"])], folder)
    Path(made).replace(Path(folder, "samples.jsonl"))


if __name__ == "__main__":
    if sys.argv[1] == "prompts":
        prompts(*sys.argv[2:])
    else:
        samples(*sys.argv[2:])
