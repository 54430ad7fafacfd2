"""Starts a fake server, says what it is doing, and is interrupted: ``parent.py VENV DIRECTORY FAULT GRACE``."""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path

from qcmatrix.matrix.entries import Entry, Expectation
from qcmatrix.serving.server import Patience, start_server

venv, directory, fault, grace = sys.argv[1:5]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


entry = Entry(
    id="fake",
    fleet="cpu",
    vllm="0.32.0",
    command=f"FAKE={fault} vllm serve x",
    expect=Expectation(verdict="starts"),
    source="https://example.org",
    read=datetime.date(2026, 11, 22),
)
server = start_server(
    entry,
    vllm_python=Path(venv),
    directory=Path(directory),
    progress=say,
    patience=Patience(boot=600.0, hung=60.0, grace=float(grace)),
)
say("ready")
if sys.argv[5:] == ["exit"]:
    sys.exit(0)
if sys.argv[5:] == ["stop"]:
    say("stopping")
    server.stop()
    say("stopped")
time.sleep(600)
