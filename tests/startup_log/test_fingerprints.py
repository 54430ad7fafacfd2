"""The fingerprints are data: each is checked, has its sources, and finds its own examples first."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcmatrix.errors import FileProblem
from qcmatrix.rules import all_rules
from qcmatrix.startup_log.fingerprints import Fingerprint, _compile, fingerprints, match_all, read_fingerprints
from qcmatrix.startup_log.reader import _WORDS
from qcmatrix.versions import parse_version
from tests.startup_log.alternatives import samples

GOOD = """
[[fingerprint]]
id = "x"
title = "x"
outcome = "oom"
anchors = ["x"]
patterns = ['''x (?P<n>\\d+)''']
because = ["{n}"]
todo = ["y"]
sources = ["https://example.org"]
examples = [{ text = "x 1" }]
"""


def test_ids_are_unique_and_rules_exist() -> None:
    found = fingerprints()
    assert len({each.id for each in found}) == len(found)
    rules = {rule.id for rule in all_rules()}
    assert {each.rule for each in found if each.rule} <= rules
    assert {each.cause for each in found if each.cause} <= {each.id for each in found}


@pytest.mark.parametrize("each", fingerprints(), ids=lambda each: each.id)
def test_examples_are_found_first(each: Fingerprint) -> None:
    for example in each.examples:
        matches = match_all(example.text)
        best = max(matches, key=lambda match: (match.fingerprint.kind == "cause", match.fingerprint.tier))
        assert best.fingerprint is each
        assert example.numbers.items() <= best.numbers.items()
        assert best.because
        assert "{" not in best.todo
        assert best.todo


@pytest.mark.parametrize("each", fingerprints(), ids=lambda each: each.id)
def test_a_long_log_is_not_searched_past_it(each: Fingerprint) -> None:
    for example in each.examples:
        if each.kind != "told":
            assert any(word in example.text.encode() for word in _WORDS)


@pytest.mark.parametrize("each", fingerprints(), ids=lambda each: each.id)
def test_releases_are_releases(each: Fingerprint) -> None:
    for name in (each.since, each.until):
        assert name is None or str(parse_version(name)) == name


def test_a_wrapped_message_matches() -> None:
    text = "Total number of\n   attention heads (40) must be divisible by tensor\nparallel size (3)."
    assert match_all(text)[0].fingerprint.id == "attention-heads-not-divisible"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("(?P<n>", "(?P<m>"), "{n}"),
        (("'''x (?P<n>\\d+)'''", "'''x (?P<n>'''"), "x (?P<n>"),
        (("https://", "http://"), "no address"),
        (('outcome = "oom"', 'outcome = "odd"'), "odd"),
        (('title = "x"', 'titel = "x"'), "titel"),
        (("examples = [{", "examples = []\n#"), "examples"),
    ],
)
def test_bad_data_is_refused(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(FileProblem) as caught:
        read_fingerprints(path)
    assert says in " ".join(caught.value.notes)


@pytest.mark.parametrize("each", fingerprints(), ids=lambda each: each.id)
def test_every_alternative_has_an_anchor(each: Fingerprint) -> None:
    """One without is never reached: the anchors are tried first."""
    texts = [text for pattern in each.patterns for text in samples(pattern) if _compile(pattern).search(text)]
    assert texts
    assert [text for text in texts if not any(anchor in text for anchor in each.anchors)] == []
