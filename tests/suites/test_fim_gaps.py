"""Our gaps: each can be filled as it says, and not with what models say instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcmatrix.errors import FileProblem
from qcmatrix.suites.fim.gap import Gap, load_gaps, read_gaps
from qcmatrix.suites.fim.judges import chatter, echo, fence, leak, lone_line_feed, loop, repeat, unfilled, wrong_indent
from qcmatrix.suites.fim.syntax import LANGUAGES, syntax_error

GAPS = load_gaps()


def faults(gap: Gap, middle: str) -> list[str]:
    said = [leak(middle), fence(middle), chatter(middle), loop(middle)]
    said += [judge(gap, middle) for judge in (repeat, echo, wrong_indent, lone_line_feed, unfilled)]
    return [each for each in said if each]


each_gap = pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.id)


@each_gap
def test_the_reference_is_right(gap: Gap) -> None:
    assert faults(gap, gap.middle) == []
    assert syntax_error(gap.language, gap.filled(gap.middle)) == ""


@each_gap
def test_nothing_is_right_only_where_nothing_is_asked(gap: Gap) -> None:
    assert (unfilled(gap, "") == "") is gap.empty
    assert bool(gap.expect) is not gap.empty


@each_gap
@pytest.mark.parametrize(
    "made",
    [
        lambda gap: f"```{gap.language}\n{gap.middle}\n```",
        lambda gap: f"Here is the missing code:\n\n{gap.middle}",
        lambda gap: f"The hole is filled with this piece of code.\n{gap.middle}",
        lambda gap: f"{gap.middle}<|fim_pad|>",
        lambda gap: f"{gap.middle}{gap.suffix}",
    ],
    ids=["fence", "prose", "sentence", "marker", "suffix"],
)
def test_what_models_say_instead_is_wrong(gap: Gap, made: object) -> None:
    assert callable(made)
    said = faults(gap, made(gap))
    too_little_behind = len([line for line in gap.suffix.splitlines() if line.strip()]) < 2
    assert said or (made(gap) == f"{gap.middle}{gap.suffix}" and too_little_behind)


def test_there_is_enough_of_each_kind() -> None:
    assert len(GAPS) >= 40
    assert len({gap.id for gap in GAPS}) == len(GAPS)
    assert {gap.language for gap in GAPS} == set(LANGUAGES)
    asked = [gap for gap in GAPS if not gap.empty and not gap.files and not gap.marked]
    assert len(asked) >= 55, "one miss of fewer is already below a rate of 0.9 with its interval"
    for trait in ("empty", "marked", "mid_token", "after_indent", "tabbed", "crlf", "files"):
        assert sum(bool(getattr(gap, trait)) for gap in GAPS) >= 2, trait


@pytest.mark.parametrize("gap", [gap for gap in GAPS if gap.files], ids=lambda gap: gap.id)
def test_what_another_file_defines_stands_nowhere_in_this_one(gap: Gap) -> None:
    for word in gap.expect:
        assert word not in gap.prefix
        assert word not in gap.suffix
        assert any(word in file.text for file in gap.files)


@pytest.mark.parametrize(
    ("code", "says"),
    [("no hole", "a hole is written"), ("⟦a⟧ and ⟦b⟧", "a hole is written"), ("⟧⟦", "a hole is written")],
)
def test_a_text_without_exactly_one_hole(tmp_path: Path, code: str, says: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f'language = "python"\n[[gap]]\nname = "x"\ncode = "{code}"\n', encoding="utf-8")
    with pytest.raises(FileProblem, match=says):
        read_gaps(path)


def test_an_unknown_language(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('language = "cobol"\n[[gap]]\nname = "x"\ncode = "⟦⟧"\n', encoding="utf-8")
    with pytest.raises(FileProblem, match="cobol"):
        read_gaps(path)
