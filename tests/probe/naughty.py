"""Handlers that do what releases do at their worst. Copied beside the real worker's modules by the tests."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from qcmatrix_worker import NotAskable


def misbehave(question: dict[str, Any]) -> dict[str, Any]:
    what = question["do"]
    if what == "answer":
        return {"you": question.get("said"), "pid": os.getpid()}
    if what == "print":
        sys.stdout.write("from Python")
        sys.stdout.flush()
        os.write(1, b"from C\n")
        subprocess.run(["echo", "from a child"], check=True)
        return {}
    if what == "read":
        return {"read": sys.stdin.read(), "child": subprocess.run(["cat"], check=True, capture_output=True).returncode}
    if what == "raise":
        raise LookupError("the words of the error")
    if what == "leave":
        sys.exit("usage: ...")
    if what == "not-askable":
        raise NotAskable("needs a GPU")
    if what == "not-a-number":
        return {"value": float("nan")}
    if what == "no-json":
        return {"value": object()}
    if what == "kill":
        os.kill(os.getpid(), 9)
    if what == "exit":
        os._exit(3)
    if what == "segfault":
        ctypes.string_at(0)
    if what == "hang":
        if "child" in question:
            child = subprocess.Popen(["sleep", "600"])
            Path(question["child"]).write_text(str(child.pid), encoding="utf-8")
        time.sleep(600)
    if what == "environment":
        return {"environment": dict(os.environ), "path": sys.path}
    if what == "big":
        return {"text": "x" * question["size"]}
    raise AssertionError(what)


HANDLERS = {"naughty": misbehave}
