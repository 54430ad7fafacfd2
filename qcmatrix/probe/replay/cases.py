"""The cases: what a model writes, with which tools, and what a client must get of it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from qcmatrix.boundary import read_json, read_toml
from qcmatrix.errors import FileProblem

__all__ = ["Case", "ExpectedCall", "case_digest", "load_cases", "load_tools", "written"]

_CASES = Path(__file__).parent / "cases"

Hold = Literal["alive", "json", "same", "names", "calls", "first", "finish", "incomplete"]
"""What must hold where more than that cannot be asked for: no crash; the arguments are JSON objects; streamed as whole;
the names of the calls; names and which arguments; the first call; the finish reason; no call that looks complete."""

CallText = tuple[str, dict[str, str]]


class Fill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A long value: ``line`` so many times, ``{i}`` being the count; it stands for ``{}`` in the case's values."""

    line: str
    times: int

    def text(self) -> str:
        """The whole value."""
        return "".join(self.line.replace("{i}", str(number)) for number in range(self.times))


class ExpectedCall(msgspec.Struct, frozen=True):
    """One call that a client must get."""

    name: str
    arguments: Mapping[str, Any]


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One output of a model, and what must come of it."""

    id: str
    title: str
    tools: tuple[str, ...]
    """Names in ``cases/tools.json``."""
    text: str | None = None
    """What the model writes, where ``say`` cannot write it."""
    before: str = ""
    say: tuple[CallText, ...] = ()
    """Calls with their values as text, written in the exact form of the model after ``before``."""
    typed: str | tuple[str, ...] | None = None
    """The arguments of each call as JSON, where a value is no string: it replaces those of ``say``."""
    calls: tuple[CallText, ...] | None = None
    """The calls that must come of it; left out: those of ``say``."""
    content: str = ""
    """The text that must come of it, spaces at its ends aside; ``*``: any."""
    finish: str | None = None
    """The finish reason; left out: ``tool_calls`` with calls and ``stop`` without; ``*``: any."""
    cut: bool = False
    """The model was stopped by ``max_tokens``."""
    hold: tuple[Hold, ...] = ()
    """Only this is asked for, all of it."""
    fill: Fill | None = None
    modes: str | None = None
    """Only these modes; left out: all."""
    deltas: int = 0
    """At least so many deltas of arguments when streamed."""
    request: dict[str, Any] = {}
    """Further fields of the chat request."""
    sources: tuple[str, ...] = ()

    @property
    def model_output(self) -> str:
        """Exactly what the model writes."""
        if self.text is not None:
            return self.text
        return self.before + "\n".join(written(name, self._filled(values)) for name, values in self.say)

    @property
    def expected(self) -> tuple[ExpectedCall, ...]:
        """The calls that must come of it."""
        given = self.calls if self.calls is not None else self.say
        calls = [ExpectedCall(name, self._filled(values)) for name, values in given]
        if self.typed is None:
            return tuple(calls)
        typed = (self.typed,) if isinstance(self.typed, str) else self.typed
        return tuple(
            ExpectedCall(call.name, {**call.arguments, **json.loads(text)})
            for call, text in zip(calls, typed, strict=True)
        )

    @property
    def expected_finish(self) -> str:
        """The finish reason that a client must get, ``*`` for any."""
        return self.finish or ("tool_calls" if self.expected else "stop")

    def _filled(self, values: Mapping[str, str]) -> dict[str, str]:
        if self.fill is None:
            return dict(values)
        long = self.fill.text()
        return {name: long if value == "{}" else value for name, value in values.items()}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    case: tuple[Case, ...]
    sources: tuple[str, ...] = ()


def written(name: str, values: Mapping[str, str]) -> str:
    """A call in the form of the model: one newline each side of a value is markup, everything else is data."""
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>"


@functools.lru_cache(maxsize=1)
def load_tools() -> Mapping[str, dict[str, Any]]:
    """The tools that the cases name, as a chat request gives them.

    Raises:
        FileProblem: the file is broken (a bug of ours).
    """
    return read_json(_CASES / "tools.json", dict[str, dict[str, Any]])


@functools.lru_cache(maxsize=1)
def load_cases() -> Mapping[str, Case]:
    """All cases by their ids, in the order of the ids.

    Raises:
        FileProblem: a file is broken, two cases share an id, or a tool is unknown (bugs of ours).
    """
    found: dict[str, Case] = {}
    for path in sorted(_CASES.glob("*.toml")):
        file = read_toml(path, _File)
        for case in file.case:
            if case.id in found:
                raise FileProblem(f"{path}: {case.id} is there twice")
            if unknown := [name for name in case.tools if name not in load_tools()]:
                raise FileProblem(f"{path}: {case.id} names unknown tools {unknown}")
            if (case.text is None) == (not case.say):
                raise FileProblem(f"{path}: {case.id} needs either text or say")
            found[case.id] = case if case.sources else msgspec.structs.replace(case, sources=file.sources)
    return dict(sorted(found.items()))


def case_digest(case: Case) -> str:
    """Eight digits that change with whatever a release is asked in this case or judged by."""
    asked = msgspec.json.encode(
        [
            case.model_output,
            [load_tools()[name] for name in case.tools],
            case.request,
            [[call.name, call.arguments] for call in case.expected],
            [case.content, case.expected_finish, case.cut, case.hold, case.modes, case.deltas],
        ],
        order="deterministic",
    )
    return hashlib.sha256(asked).hexdigest()[:8]
