"""Secrets go, everything else stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.results.masking import masker
from qcmatrix.results.schema import State
from tests.results.made import case


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Bearer s3cret/key+of us", "Bearer ***"),
        ("?key=s3cret%2Fkey%2Bof%20us&n=1", "?key=***&n=1"),
        ("curl -H 's3cret/key+of us'", "curl -H ***"),
        ("nothing", "nothing"),
    ],
)
def test_a_secret_is_found_however_it_is_written(text: str, masked: str) -> None:
    assert masker(["s3cret/key+of us"]).text(text) == masked


def test_a_short_one_is_masked_only_where_it_stands_alone() -> None:
    assert masker(["key"]).text("key=key, monkey, keys") == "***=***, monkey, keys"


def test_our_own_words_stay() -> None:
    made = case("TC-01", State.FAIL, mode="stream", observed="stream fail pass")
    masked = masker(["stream", "fail", "pass", "tools", "TC-01"])(made)
    assert masked == case("TC-01", State.FAIL, mode="stream", observed="*** *** ***")


def test_without_secrets_nothing_changes() -> None:
    assert masker(["", "  "])({"a": ["b", 1, None]}) == {"a": ["b", 1, None]}


@given(st.text(min_size=8, alphabet=st.characters(exclude_categories=["Cs"])).filter(str.strip), st.text(), st.text())
def test_no_long_secret_is_left(secret: str, before: str, after: str) -> None:
    masked = masker([secret])({"list": [before + secret + after]})
    assert secret not in masked["list"][0].replace("***", "\0")
