"""One file per scenario: a wish, and what must come of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from qcmatrix.answers.schema import SuggestAnswer
from qcmatrix.cli.suggest import suggest_command

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.toml"))


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    satisfiable: bool
    verdict: str = ""
    """Of the first plan."""
    first: tuple[str, ...] = ()
    """Words that stand in the first plan's command, in this order where they are a flag and its value."""
    first_lacks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    """Models that have a plan, first to last, repeats left out."""
    refused: tuple[str, ...] = ()
    """Rules that are named among the refusals."""
    conflict: tuple[str, ...] = ()
    """The minimal conflict of the first refusal."""
    hints: tuple[str, ...] = ()
    """Kinds of change that are offered."""
    nodes: int = 1


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    description: str
    arguments: tuple[str, ...]
    expected: Expected


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    scenario = msgspec.convert(tomllib.loads(path.read_text()), Scenario)
    expected = scenario.expected
    result = CliRunner().invoke(suggest_command, [*scenario.arguments, "--json"], standalone_mode=False)
    assert result.exception is None, result.output
    answer = msgspec.json.decode(result.stdout, type=SuggestAnswer)
    assert bool(answer.plans) is expected.satisfiable, answer.refusals
    assert result.return_value == (0 if expected.satisfiable else 1)
    if answer.plans:
        first = answer.plans[0]
        command = " ".join((*(f"{name}={value}" for name, value in first.env.items()), *first.argv))
        for words in expected.first:
            assert words in command
        for words in expected.first_lacks:
            assert words not in command
        assert len(first.nodes) == expected.nodes
        if expected.verdict:
            assert first.verdict == expected.verdict
    if expected.models:
        assert tuple(dict.fromkeys(plan.model for plan in answer.plans)) == expected.models
    named = {reason.rule for refusal in answer.refusals for reason in refusal.because}
    assert set(expected.refused) <= named
    if expected.conflict:
        assert answer.refusals[0].conflict == expected.conflict
    assert set(expected.hints) <= {hint.change for hint in answer.hints}
