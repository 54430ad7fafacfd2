"""How a model's output reaches a client: in one piece, or cut in these ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from qcmatrix.probe.replay.cases import Case, load_cases

__all__ = ["GROUPS", "MODES", "WRONG_PARSER", "Mode", "cases_of", "modes_of"]

WRONG_PARSER = "hermes"
"""The parser that guides for other Qwen models name: it is asked only whether it sees calls at all."""

_OF_WRONG_PARSER = ("TC-01", "TC-02", "TC-03", "TC-05", "TC-25")


class Mode(msgspec.Struct, frozen=True):
    """One way of delivery; ``split`` is as the worker takes it, ``None`` when it is not streamed."""

    letter: str
    title: str
    split: dict[str, Any] | None


# The seeds are data: what was cut at random once is cut the same ever after.
_ALL = (
    Mode("w", "whole (not streamed)", None),
    Mode("1", "streamed: all in one delta", {"pieces": "tokens", "group": "all"}),
    Mode("t", "streamed: token by token", {"pieces": "tokens"}),
    Mode("c", "streamed: character by character", {"pieces": "letters"}),
    Mode("l", "streamed: line by line", {"pieces": "tokens", "group": "lines"}),
    Mode("4", "streamed: four tokens at a time (--stream-interval 4)", {"pieces": "tokens", "group": 4}),
    Mode(
        "z",
        "streamed: 1 to 6 tokens at random (speculative decoding)",
        {"pieces": "tokens", "group": {"seed": 13, "most": 6}},
    ),
    Mode("a", "streamed: 1 to 12 characters at random", {"pieces": "letters", "group": {"seed": 11, "most": 12}}),
    Mode("b", "streamed: 1 to 40 characters at random", {"pieces": "letters", "group": {"seed": 12, "most": 40}}),
    Mode("h", "streamed: text held back by 7 characters (a request with stop strings)", {"pieces": "tokens", "lag": 7}),
)

MODES = {mode.letter: mode for mode in _ALL}
"""By letter, in the order in which verdicts are written."""

GROUPS = {
    "whole": "w",
    "by token": "t",
    "by letter": "c",
    "several tokens": "1l4zab",
    "stop strings": "h",
}
"""The modes that fail for the same reasons, by what they have in common."""


def cases_of(parser: str) -> Mapping[str, Case]:
    """The cases that a parser is asked."""
    cases = load_cases()
    if parser != WRONG_PARSER:
        return cases
    return {name: case for name, case in cases.items() if name.startswith(_OF_WRONG_PARSER)}


def modes_of(parser: str, case: Case) -> str:
    """The letters of the modes that a case is asked in, in the order of its verdicts."""
    return case.modes or ("".join(MODES) if parser != WRONG_PARSER else "w1t4")
