"""The prompts of the behaviour checks, read from ``prompts.toml``."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import msgspec

from qcmatrix.boundary import read_toml
from qcmatrix.errors import FileProblem
from qcmatrix.exchange.chat import Answer
from qcmatrix.suites.tools.offered import arguments_of, function, said, written

__all__ = ["Prompt", "load_prompts", "tool", "wrong_calls"]


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing that a user asks."""

    id: str
    """Its kind (``single``, ``made``, ``parallel``, ``none``), a dot, and its name."""
    text: str
    tools: tuple[str, ...]
    calls: tuple[tuple[str, dict[str, str]], ...] = ()
    """The calls that are due; none: a tool is of no use here."""
    says: str = ""
    """A right answer without a call."""

    @property
    def answer(self) -> str:
        """A right answer, exactly as the model would write it."""
        return "\n".join(written(name, values) for name, values in self.calls) or self.says


class _Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    description: str
    properties: dict[str, dict[str, Any]]
    required: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tools: dict[str, _Tool]
    prompt: tuple[Prompt, ...]


@functools.lru_cache(maxsize=1)
def _file() -> _File:
    path = Path(__file__).parent / "prompts.toml"
    file = read_toml(path, _File)
    for prompt in file.prompt:
        if unknown := [name for name in prompt.tools if name not in file.tools]:
            raise FileProblem(f"{path}: {prompt.id} names unknown tools {unknown}")
        if bool(prompt.calls) == bool(prompt.says):
            raise FileProblem(f"{path}: {prompt.id} needs either calls or says")
    if len({prompt.id for prompt in file.prompt}) != len(file.prompt):
        raise FileProblem(f"{path}: two prompts share an id")
    return file


def load_prompts(*kinds: str) -> tuple[Prompt, ...]:
    """The prompts of these kinds, in the order of the file; of all, where none is named.

    Raises:
        FileProblem: the file is broken (a bug of ours).
    """
    return tuple(prompt for prompt in _file().prompt if not kinds or prompt.id.partition(".")[0] in kinds)


def tool(name: str) -> dict[str, Any]:
    """A tool of the prompts, as a request gives it."""
    own = _file().tools[name]
    return function(name, own.properties, required=own.required, description=own.description)


def wrong_calls(prompt: Prompt, answer: Answer) -> str:
    """What is wrong with the calls of ``answer``; empty where they are the ones that are due, with those values."""
    names = [name for name, _ in prompt.calls]
    if [call.name for call in answer.calls] != names:
        return f"{prompt.id}: not the calls {', '.join(names) or 'none'}: {said(answer)}"
    for (_, values), call in zip(prompt.calls, answer.calls, strict=True):
        arguments = arguments_of(call.arguments)
        if not isinstance(arguments, dict):
            return f"{prompt.id}: arguments are no JSON object: {said(answer)}"
        for name, value in values.items():
            got = arguments.get(name)
            if value != (got if isinstance(got, str) else json.dumps(got)):
                return f"{prompt.id}: {name} is not {value!r}: {said(answer)}"
    return ""
