"""Stands for the worker: speaks its protocol, and refuses what the ``vllm`` that it finds says it refuses.

The fake ``vllm`` is a module with ``VERSION``, ``SURFACE``, ``RESOLVED``, ``DEAD`` and ``REFUSES``
(a word of a command -> the error text).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import vllm

log = Path(vllm.__file__).with_name("asked.log")


def answer(question: dict[str, object]) -> dict[str, object]:
    """As the real handlers do, from the module's tables."""
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(question) + "\n")
    kind = question["ask"]
    if kind == "configs":
        return {"answer": {}}
    if kind == "surface":
        return {"answer": vllm.SURFACE} if vllm.SURFACE else {"error": {"type": "TypeError", "text": "no parser"}}
    for word, text in vllm.REFUSES.items():
        if word == "CRASH":
            os._exit(7)
        if word in question["argv"]:  # type: ignore[operator]
            return {"answer": {"stage": "config", "error": {"type": "ValueError", "text": text}, "not_asked": []}}
    return {"answer": {"stage": "ok", "resolved": vllm.RESOLVED, "not_asked": ["kernels"]}}


def write(told: dict[str, object]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if vllm.DEAD:
    write({"dead": vllm.DEAD})
    sys.exit(1)
hello = {"vllm": vllm.VERSION, "torch": "2.13.0+cpu", "transformers": "5.23.0", "python": "3.11.7"}
write({"hello": hello})
for line in sys.stdin:
    told = json.loads(line)
    write({"id": told["id"], "seconds": 0.01, **answer(told)})
