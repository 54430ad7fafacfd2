"""matrix.toml: valid, and in agreement with the rules and the memory model."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcmatrix.errors import FileProblem
from qcmatrix.matrix.entries import Entry, read_matrix
from qcmatrix.matrix.validate import judge_entry

MATRIX = Path(__file__).parents[2] / "matrix.toml"


@pytest.mark.parametrize("entry", read_matrix(MATRIX), ids=lambda entry: entry.id)
def test_entry_agrees_with_check(entry: Entry) -> None:
    assert judge_entry(entry).disagreements == ()


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    text = MATRIX.read_text().replace('expect = { verdict = "starts" }', 'expect = { verdict = "wrong" }')
    (tmp_path / "matrix.toml").write_text(text)
    assert any(judge_entry(entry).disagreements for entry in read_matrix(tmp_path / "matrix.toml"))


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "matrix.toml"
    path.write_text('schema = "qcmatrix.matrix/1"\n[[entry]]\nid = 5\nfleeet = "8xH200"\n')
    with pytest.raises(FileProblem) as caught:
        read_matrix(path)
    assert len(caught.value.notes) >= 3
