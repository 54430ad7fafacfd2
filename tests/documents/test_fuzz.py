"""No text makes a reader crash. `QCMATRIX_FUZZ=200000 pytest tests/documents/test_fuzz.py` tries more.

The big run, where an input that takes too long is told as well, is ``python tests/documents/fuzzing.py``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("documents_fuzzing", Path(__file__).parent / "fuzzing.py")
assert _SPEC is not None
assert _SPEC.loader is not None
fuzzing = importlib.util.module_from_spec(_SPEC)
sys.modules["documents_fuzzing"] = fuzzing
_SPEC.loader.exec_module(fuzzing)

MANY = int(os.environ.get("QCMATRIX_FUZZ", "200"))


@pytest.mark.parametrize("name", fuzzing.readers())
def test_nothing_crashes(name: str) -> None:
    outcome = fuzzing.fuzz(name, count=MANY, seed=11)
    assert outcome.inputs == MANY
    assert not outcome.crashes, "\n".join(f"input {number}:\n{trace}" for number, trace in outcome.crashes[:3])


def test_a_crash_would_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(text: str) -> None:
        raise IndexError(text[:1])

    readers = {"shell": fuzzing.Reader(crash, ("vllm serve m\n",))}
    monkeypatch.setattr(fuzzing, "readers", lambda: readers)
    assert [number for number, _ in fuzzing.fuzz("shell", count=3, seed=1).crashes] == [0, 1, 2]


def test_an_input_is_the_same_text_again() -> None:
    reader = fuzzing.readers()["compose"]
    ((_, alone),) = fuzzing.texts("compose", reader, first=7, count=1, seed=11)
    assert list(fuzzing.texts("compose", reader, first=0, count=8, seed=11))[7] == (7, alone)
