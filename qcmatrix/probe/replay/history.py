"""The cases of prompts: conversations with earlier calls, and what the prompt must show of them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from qcmatrix.boundary import read_text, read_toml
from qcmatrix.errors import FileProblem
from qcmatrix.probe.replay.cases import load_tools
from qcmatrix.probe.replay.judge import CRASH, FAIL, PASS, Verdict

__all__ = ["HistoryCase", "history_digest", "judge_prompt", "load_history", "template"]

_PROMPTS = Path(__file__).parent / "prompts"


class HistoryCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One conversation: a user's turn, an assistant's with calls, their results, a user's turn."""

    id: str
    title: str
    arguments: str | None = None
    """The text of the arguments of the first call; left out: no call."""
    second: str | None = None
    """The same of a second call."""
    calls: str | None = None
    """The assistant's ``tool_calls`` as JSON, where they are none of these."""
    content: str = "null"
    """The assistant's content as JSON; ``absent``: no such field."""
    result: str | None = None
    """The content of the first tool result as JSON."""
    tools: tuple[str, ...] = ("read_file",)
    shows: tuple[str, ...] = ()
    """What the prompt must hold, in this order."""
    sources: tuple[str, ...] = ()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as a chat request gives it."""
        given = [text for text in (self.arguments, self.second) if text is not None]
        name = self.tools[0] if self.tools else "read_file"
        assistant: dict[str, Any] = {"role": "assistant"}
        if self.content != "absent":
            assistant["content"] = json.loads(self.content)
        if given:
            assistant["tool_calls"] = [
                {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": text}}
                for number, text in enumerate(given, 1)
            ]
        if self.calls is not None:
            assistant["tool_calls"] = json.loads(self.calls)
        results: list[dict[str, Any]] = [
            {"role": "tool", "tool_call_id": f"call_{number}", "content": f"result {number}"}
            for number in range(1, len(given) + 1)
        ]
        if self.result is not None:
            results[0]["content"] = json.loads(self.result)
        return [{"role": "user", "content": "Look."}, assistant, *results, {"role": "user", "content": "Go on."}]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    case: tuple[HistoryCase, ...]
    sources: tuple[str, ...] = ()


@functools.lru_cache(maxsize=1)
def load_history() -> Mapping[str, HistoryCase]:
    """All cases by their ids.

    Raises:
        FileProblem: the file is broken, or two cases share an id (bugs of ours).
    """
    path = _PROMPTS / "history.toml"
    file = read_toml(path, _File)
    found = {
        case.id: case if case.sources else msgspec.structs.replace(case, sources=file.sources) for case in file.case
    }
    if len(found) != len(file.case):
        raise FileProblem(f"{path}: two cases share an id")
    return found


@functools.lru_cache(maxsize=1)
def template() -> str:
    """Our own chat template with the traits of the family's."""
    return read_text(_PROMPTS / "traits.jinja")


def history_digest(case: HistoryCase) -> str:
    """Eight digits that change with whatever a release is asked in this case or judged by."""
    asked = [case.messages, [load_tools()[name] for name in case.tools], list(case.shows), template()]
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()[:8]


def judge_prompt(case: HistoryCase, answer: Mapping[str, Any]) -> Verdict:
    """The verdict on a worker's answer: rendered and all shown, something missing, or an error."""
    if "error" in answer:
        error = answer["error"]
        return Verdict(CRASH, f"{answer['stage']}: {error['type']}: {error['text']}"[:160])
    prompt, start = answer["prompt"], 0
    for text in case.shows:
        found = prompt.find(text, start)
        if found < 0:
            return Verdict(FAIL, f"not in the prompt, or not in its place: {text!r}"[:160])
        start = found + len(text)
    return Verdict(PASS)
