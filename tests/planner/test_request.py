"""Contexts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.errors import RequestError
from qcmatrix.planner.request import parse_context, spell_context


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("1M", 1 << 20), ("256K", 262_144), ("200k", 200_000), ("262144", 262_144), ("1m", 10**6), ("0.5M", 1 << 19)],
)
def test_reads_as_vllm_does(text: str, tokens: int) -> None:
    assert parse_context(text) == tokens


@pytest.mark.parametrize("text", ["1Mb", "1MB", "", "K", "-1", "0", "0K", "1.0001K", "256 K tokens", "1e6", "\u0661"])
def test_refuses_with_one_message(text: str) -> None:
    with pytest.raises(RequestError, match="--ctx"):
        parse_context(text)


@given(st.integers(min_value=1, max_value=1 << 24))
def test_spelling_reads_back(tokens: int) -> None:
    assert parse_context(spell_context(tokens).replace(",", "")) == tokens
