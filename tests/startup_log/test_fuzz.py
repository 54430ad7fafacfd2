"""No text makes the reader crash or hang. `QCMATRIX_FUZZ=200000 pytest tests/startup_log/test_fuzz.py` tries more."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qcmatrix.answers.explain import explain
from qcmatrix.answers.explain_case import case_line
from qcmatrix.errors import UserError
from qcmatrix.startup_log.arguments import items_of
from qcmatrix.startup_log.cause import cause_of
from qcmatrix.startup_log.facts import _FACTS
from qcmatrix.startup_log.fingerprints import fingerprints
from qcmatrix.startup_log.lines import clean
from qcmatrix.startup_log.reader import read_log

MANY = int(os.environ.get("QCMATRIX_FUZZ", "300"))
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
PUBLIC = [
    json.loads(line)["text"] for line in (Path(__file__).parent / "public_logs.jsonl").read_text("utf-8").splitlines()
]
SEEDS = [*PUBLIC, *(example.text for each in fingerprints() for example in each.examples)]
WORDS = [
    *(anchor for each in fingerprints() for anchor in each.anchors),
    *(fact.anchor for fact in _FACTS),
    "Traceback (most recent call last):", '  File "x.py", line 1, in f', "(EngineCore_DP0 pid=1) ", "[rank0]: ",
    "ERROR 11-02 10:00:01 [core.py:1] ", "INFO 11-02 10:00:01 [core.py:1] ", "\n", "\r", "\x1b[0m", "{", "}", "'", "(",
    "non-default args: {'model': 'x', ", "vllm serve x --tensor-parallel-size ", " 0.5 GiB ", "99999999999999999999 ",
    " -1 ", "\\", "\u2028", "\ud7ff", "vLLM API server version 0.11.0\n", "Application startup complete\n",
]  # fmt: skip


@settings(max_examples=MANY, deadline=None, suppress_health_check=SLOW)
@given(st.binary(max_size=600))
def test_bytes(data: bytes) -> None:
    try:
        log = read_log(io.BytesIO(data))
    except UserError:
        return
    cause_of(log.attempt)


@settings(max_examples=MANY, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=12)), max_size=40))
def test_words_of_logs(words: list[str]) -> None:
    data = "".join(words).encode("utf-8", "replace")
    answer = explain(read_log(io.BytesIO(b"x " + data)))
    case_line(answer, "x.log")


@settings(max_examples=MANY, deadline=None, suppress_health_check=SLOW)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 40), st.text(max_size=6)), max_size=5),
)
def test_mutated_logs(text: str, edits: list[tuple[int, int, str]]) -> None:
    for at, gone, new in edits:
        at %= len(text) + 1
        text = text[:at] + new + text[at + gone :]
    explain(read_log(io.BytesIO(b" " + text.encode("utf-8", "replace"))))


@settings(max_examples=MANY, deadline=None)
@given(st.text(max_size=200))
def test_lines_and_items(text: str) -> None:
    clean(1, text)
    items_of("{" + text)
