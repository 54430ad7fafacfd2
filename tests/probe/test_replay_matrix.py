"""The matrix of parsers and releases: how records become cells and ranges, and that what is known of it is exact."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.cli import cli
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import latest, read
from qcmatrix.probe.parts import replay
from qcmatrix.probe.replay.cases import case_digest, load_cases
from qcmatrix.probe.replay.matrix import TEMPLATE, Cell, Known, Matrix, load_known, load_matrix, matrix_of
from qcmatrix.probe.replay.modes import MODES
from qcmatrix.probe.session import Reply, Session, WorkerError

CASE = "TC-01.single"
KEY = f"{CASE}#{case_digest(load_cases()[CASE])}"
GOOD = "p" * len(MODES)


def record(release: str, subject: str = "qwen3_coder", **said: Any) -> Record:
    heading = {"date": "2026-11-22", "torch": "2", "transformers": "5"}
    return Record(release=release, part="replay", subject=subject, **heading, **said)


def verdicts(release: str, letters: str, **seen: dict[str, str]) -> Record:
    return record(release, answer={"verdicts": {KEY: letters}, "seen": seen})


class TestMatrix:
    def test_releases_are_in_order(self) -> None:
        matrix = matrix_of([verdicts(name, GOOD) for name in ("0.32.0", "0.10.0", "0.9.0+own", "0.10.1.1")])
        assert matrix.releases == ("0.10.0", "0.10.1.1", "0.32.0", "0.9.0+own")

    def test_ranges_are_stretches_of_releases_that_were_asked(self) -> None:
        bad = "f" + GOOD[1:]
        letters = {"0.10.0": bad, "0.10.1": bad, "0.10.2": GOOD, "0.11.0": bad, "0.12.0": GOOD}
        matrix = matrix_of([verdicts(name, each) for name, each in letters.items()])
        assert matrix.ranges("qwen3_coder", CASE) == (("0.10.0", "0.10.1"), ("0.11.0", "0.11.0"))
        assert matrix.ranges("qwen3_coder", CASE, "w") == matrix.ranges("qwen3_coder", CASE)
        assert matrix.ranges("qwen3_coder", CASE, "t") == ()

    def test_the_worst_mode_counts(self) -> None:
        cell = Cell("w1tc", "pfsc", {"1": "no call", "c": "IndexError"})
        assert cell.worst() == "c"
        assert cell.worst("w") == "p"
        assert cell.worst("1t") == "f"
        assert cell.worst("l") is None
        assert cell.sight("1") == "no call"
        assert cell.sight("w") == ""

    def test_two_names_of_one_class(self) -> None:
        same = record("0.32.0", "qwen3_xml", answer={"same_as": "qwen3_coder"})
        matrix = matrix_of([verdicts("0.32.0", "f" * len(MODES)), same])
        cell = matrix.cell("qwen3_xml", CASE, "0.32.0")
        assert cell is not None
        assert cell.worst() == "f"

    def test_another_text_is_no_cell(self) -> None:
        matrix = matrix_of([record("0.32.0", answer={"verdicts": {f"{CASE}#00000000": GOOD}, "seen": {}})])
        assert matrix.cell("qwen3_coder", CASE, "0.32.0") is None

    def test_the_newest_record_counts(self) -> None:
        matrix = matrix_of([verdicts("0.32.0", "f" * len(MODES)), verdicts("0.32.0", GOOD)])
        assert matrix.failing("qwen3_coder", CASE) == ()

    def test_unexplained(self) -> None:
        matrix = matrix_of([verdicts("0.32.0", "f" + GOOD[1:]), verdicts("0.31.0", "f" + GOOD[1:])])
        known = Known(parser="qwen3_coder", case=CASE, modes="w", first="0.32.0", last="0.32.0", wrong="x")
        assert matrix.unexplained([known]) == (("qwen3_coder", CASE, "w", "0.31.0"),)
        wider = msgspec.structs.replace(known, first="0.10.0", case="other", covers=("TC-01.*",))
        assert matrix.unexplained([wider]) == ()
        assert matrix.unexplained([msgspec.structs.replace(wider, modes="t")]) != ()
        assert matrix.unexplained([msgspec.structs.replace(wider, parser="hermes")]) != ()


class TestPage:
    def test_counts_and_ranges(self) -> None:
        from qcmatrix.report.replay import parsers_page

        bad = "f" + GOOD[1:]
        page = parsers_page(matrix_of([verdicts("0.31.0", GOOD), verdicts("0.32.0", bad), verdicts("0.33.0", bad)]))
        assert "| 0.31.0 | 1/1 |" in page
        assert "| 0.32.0 | 0/1 | 1/1 |" in page
        assert f"| {CASE} | one call | 0.32.0 to 0.33.0 |" in page

    def test_a_wrong_shape_is_counted_apart(self) -> None:
        from qcmatrix.report.replay import parsers_page

        page = parsers_page(matrix_of([verdicts("0.31.0", GOOD[0] + "s" * (len(GOOD) - 1))]))
        assert "| 0.31.0 | 1/1 | 0+1/1 |" in page
        assert f"| {CASE} |" not in page


class TestVerdicts:
    def test_what_the_session_could_not_get(self) -> None:
        case = load_cases()[CASE]
        lost = Reply(None, WorkerError("TimedOut", "no answer within 120 s"), None, 120.0)
        letters, seen = replay.verdicts_of("qwen3_coder", case, lost)
        assert letters == "c" * len(MODES)
        assert "TimedOut" in next(iter(seen.values()))
        letters, _ = replay.verdicts_of("qwen3_coder", case, Reply(None, None, "no such thing here", 0.1))
        assert letters == "?" * len(MODES)

    def test_the_question_names_what_is_asked(self) -> None:
        question = replay.question_of("qwen3_coder", load_cases()["TC-30.in-value"])
        assert question["finish"] == "length"
        assert len(question["splits"]) == len(MODES) - 1
        assert replay.question_of("qwen3_coder", load_cases()["TC-47.long"])["compact"] is True


@pytest.fixture(scope="module")
def packaged() -> Matrix:
    return load_matrix()


class TestKnown:
    def test_each_names_a_case(self) -> None:
        for known in load_known():
            assert known.wrong
            assert known.parser in (*replay.PARSERS, TEMPLATE)

    @pytest.mark.parametrize("known", load_known(), ids=lambda known: f"{known.parser}-{known.case}-{known.modes}")
    def test_the_range_is_exactly_what_evidence_shows(self, packaged: Matrix, known: Known) -> None:
        found = packaged.ranges(known.parser, known.case, known.modes, known.verdicts, own=True)
        assert (known.first, known.last) in found

    def test_every_failure_is_understood(self, packaged: Matrix) -> None:
        unexplained = packaged.unexplained(load_known())
        assert not unexplained, f"{len(unexplained)}: {unexplained[:20]}"

    def test_every_entry_is_needed(self, packaged: Matrix) -> None:
        alone = {reasons[0] for _, reasons in packaged.explained(load_known()) if len(reasons) == 1}
        idle = [f"{known.parser} {known.case} {known.modes}" for known in load_known() if known not in alone]
        assert not idle, f"these explain nothing that others do not: {idle}"


class TestCommand:
    def run(self, *words: str) -> Any:
        return CliRunner().invoke(cli, ["parsers", *words], catch_exceptions=False, standalone_mode=False)

    def test_counts(self) -> None:
        said = self.run().output
        assert "0.10.0" in said
        assert "by token" in said

    def test_one_release(self) -> None:
        assert "TC-10.object" in self.run("--vllm", "0.32.0").output

    def test_a_case(self) -> None:
        said = self.run("--case", "TC-10.object").output
        assert "fails in 0.10.0 to 0.3" in said

    def test_json(self) -> None:
        answer = msgspec.json.decode(self.run("--case", "TC-14", "--json").output)
        assert answer["parser"] == "qwen3_coder"
        assert all(case["id"].startswith("TC-14") for case in answer["cases"])
        cell = answer["cases"][0]["releases"]["0.32.0"]
        assert len(cell["modes"]) == len(cell["verdicts"])

    def test_the_template(self) -> None:
        assert "TC-40.truncated" in self.run("--parser", "template", "--case", "TC-40").output

    @pytest.mark.parametrize("words", [("--vllm", "0.1"), ("--parser", "x"), ("--case", "x")])
    def test_what_is_not_there(self, words: tuple[str, str]) -> None:
        from qcmatrix.errors import RequestError

        with pytest.raises(RequestError):
            self.run(*words)


@pytest.mark.probe
def test_a_real_release_still_does_what_is_packaged(release_session: Session, probed_release: Release) -> None:
    """The same cases, asked anew: same verdicts. Seconds of CPU time are left out."""
    packaged = {each.subject: each for each in latest(read(release=probed_release.name, part="replay"))}
    for now in replay.probe(release_session, load_release(probed_release.name)):
        if now.subject.endswith("/time"):
            continue
        before = packaged[now.subject]
        assert (now.answer or {}).get("verdicts") == (before.answer or {}).get("verdicts"), now.subject
        assert now.not_askable == before.not_askable
