"""``matrix.toml``: every entry's command, with the entry's own fleet, release and expectation."""

from __future__ import annotations

import re
import tomllib

import msgspec

from qcmatrix.documents.found import FoundCommand, Note
from qcmatrix.documents.shell import read_shell
from qcmatrix.documents.yaml_tree import mapped_scalar

__all__ = ["read_matrix_commands"]

_COMMAND = re.compile(r"^[ \t]*command[ \t]*=[ \t]*(\"\"\"|'''|\"|')", re.MULTILINE)
_NO_CARD = "cpu"
"""The fleet of an entry for vLLM's CPU build: it runs on no card that could be judged."""


def read_matrix_commands(text: str) -> tuple[list[FoundCommand], list[Note]]:
    """The commands of all entries, in order; what keeps the file from being read is a note."""
    try:
        entries = tomllib.loads(text).get("entry", [])
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return [], [Note(f"not TOML: {error}", 0, min(1, len(text)))]
    if not isinstance(entries, list):
        return [], [Note("no entries: they are written as [[entry]]", 0, min(1, len(text)))]
    found: list[FoundCommand] = []
    places = list(_COMMAND.finditer(text))
    named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("command"), str)]
    if len(places) != len(named):
        return [], [
            Note("the entries' commands cannot be told apart: write each as `command = ...`", 0, min(1, len(text)))
        ]
    for place, entry in zip(places, named, strict=True):
        end = text.find(place[1], place.end())
        script = mapped_scalar(text, entry["command"], place.end() - 1, len(text) if end < 0 else end)
        expect = entry.get("expect")
        verdict = expect.get("verdict") if isinstance(expect, dict) else None
        hint, fleet = _text(entry.get("vllm")), _text(entry.get("fleet"))
        fleet = None if fleet == _NO_CARD else fleet
        found.extend(
            msgspec.structs.replace(
                command, release_hint=hint or command.release_hint, fleet=fleet, expected=_text(verdict)
            )
            for command in read_shell(script)
        )
    return found, []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
