"""How the worker cuts a model's output into the steps of an engine; the tokenizer itself is tried in a real release."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from qcmatrix.probe.parts import replay
from qcmatrix.probe.replay.cases import load_cases, load_tools
from qcmatrix.probe.replay.modes import MODES
from qcmatrix.probe.session import WORKER, Session

TEXT = "one\ntwo three\nfour"
END = 151645


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``worker/tools.py`` with a tokenizer of words, as the worker's own package imports it."""
    spec = importlib.util.spec_from_file_location(
        "qcmatrix_worker", WORKER / "__init__.py", submodule_search_locations=[str(WORKER)]
    )
    assert spec is not None
    assert spec.loader is not None
    package: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    monkeypatch.setitem(sys.modules, "qcmatrix_worker", package)
    module = importlib.import_module("qcmatrix_worker.tools")
    pieces = ["one", "\n", "two", " three", "", "\n", "four"]  # the fifth token ends inside a character
    monkeypatch.setattr(module.tokenizers, "tokens", lambda _: [(text, [n]) for n, text in enumerate(pieces)])
    monkeypatch.setattr(module.tokenizers, "letters", lambda text: [(letter, [ord(letter)]) for letter in text])
    yield module
    for name in [name for name in sys.modules if name.startswith("qcmatrix_worker.")]:
        del sys.modules[name]


def cut(tools: Any, split: dict[str, Any], finish: str = "stop") -> list[tuple[str, list[int]]]:
    made: list[tuple[str, list[int]]] = tools.deltas_of(TEXT, split, finish)
    return made


@pytest.mark.parametrize("mode", [mode for mode in MODES.values() if mode.split], ids=lambda mode: mode.letter)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_nothing_is_lost_and_nothing_comes_twice(tools: Any, mode: Any, finish: str) -> None:
    deltas = cut(tools, mode.split, finish)
    assert "".join(text for text, _ in deltas) == TEXT
    ids = [token for _, tokens in deltas for token in tokens]
    assert (ids[-1] == END) == (finish == "stop")
    assert ids.count(END) == (finish == "stop")
    assert all(tokens for _, tokens in deltas)
    assert deltas == cut(tools, mode.split, finish), "the same cut every time"


def test_one_token_a_step_the_end_of_the_turn_alone(tools: Any) -> None:
    assert cut(tools, {"pieces": "tokens"})[-1] == ("", [END])
    assert len(cut(tools, {"pieces": "tokens"})) == 8


def test_all_at_once_the_end_of_the_turn_with_it(tools: Any) -> None:
    assert cut(tools, {"pieces": "tokens", "group": "all"}) == [(TEXT, [0, 1, 2, 3, 4, 5, 6, END])]


def test_lines(tools: Any) -> None:
    lines = [text for text, _ in cut(tools, {"pieces": "tokens", "group": "lines"})]
    assert lines == ["one\n", "two three\n", "four"]


def test_text_behind_its_tokens_and_whole_at_the_end(tools: Any) -> None:
    deltas = cut(tools, {"pieces": "tokens", "lag": 5})
    assert [text for text, _ in deltas] == ["", "", "on", "e\ntwo ", "", "t", "hree", "\nfour"]


def test_random_groups_are_no_larger_than_said(tools: Any) -> None:
    deltas = cut(tools, {"pieces": "letters", "group": {"seed": 1, "most": 4}})
    assert max(len(tokens) for _, tokens in deltas) <= 4
    assert len({len(tokens) for _, tokens in deltas}) > 1


@pytest.mark.probe
def test_a_long_reply_is_summed_up(release_session: Session) -> None:
    question = replay.question_of("qwen3_coder", load_cases()["TC-01.single"]) | {"compact": True}
    (reply,) = release_session.ask_many([question], timeout=300.0)
    assert reply.answer is not None, reply
    whole = reply.answer["whole"]["compact"]
    assert whole["names"] == ["read_file"]
    assert whole["finish"] == "tool_calls"
    by_token = reply.answer["streamed"][1]["compact"]
    assert by_token["sha256"] == whole["sha256"] is not None


@pytest.mark.probe
def test_a_parser_that_is_not_there(release_session: Session) -> None:
    reply = release_session.ask("tools", parser="no_such_parser", tools=[load_tools()["ping"]], timeout=300.0)
    assert reply.answer is not None, reply
    assert reply.answer["class"] is None
