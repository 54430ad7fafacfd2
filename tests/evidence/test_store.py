"""Evidence is only added to, and survives whoever is killed while adding."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from qcmatrix.errors import FileProblem
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import Appended, TornLine, append, latest, read


def record(subject: str = "a/breaks/0", *, release: str = "0.28.0", **given: Any) -> Record:
    fields: dict[str, Any] = {"part": "rules", "date": "2026-01-02", "torch": "2.13.0+cpu", "transformers": "5.23.0"}
    fields |= given
    if not fields.keys() & {"answer", "error", "not_askable"}:
        fields["answer"] = {"stage": "ok"}
    return Record(release=release, subject=subject, **fields)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given = (
        record("a/breaks/0", question={"argv": ["-tp", "8"]}),
        record("a/breaks/1", error="ValueError: no"),
        record("b/allows/0", not_askable="a GPU is needed", part="draws"),
        record("a/breaks/0", release="0.9.0", answer=[1, {"y": 1, "x": None}]),
    )
    assert append(given, tmp_path) == Appended(new=(given[3], *given[:3]))
    assert sorted(read(tmp_path), key=given.index) == list(given)
    assert [found.release for found in read(tmp_path)] == ["0.9.0", "0.28.0", "0.28.0", "0.28.0"]
    assert read(tmp_path, "0.9.0") == (given[3],)
    assert read(tmp_path, part="draws") == (given[2],)
    assert read(tmp_path, "0.30.0") == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.28.0.jsonl", "0.9.0.jsonl"]


def test_only_what_is_new_is_added(tmp_path: Path) -> None:
    append([record("a"), record("b")], tmp_path)
    before = (tmp_path / "0.28.0.jsonl").read_bytes()
    later = [record("a", date="2026-02-03"), record("b", date="2026-02-03")]
    assert append(later, tmp_path) == Appended(same=2)
    assert (tmp_path / "0.28.0.jsonl").read_bytes() == before

    other = record("b", answer={"stage": "parse"}, date="2026-02-03")
    fresh = record("c", date="2026-02-03")
    assert append([later[0], other, fresh], tmp_path) == Appended(new=(fresh,), changed=(other,), same=1)
    after = (tmp_path / "0.28.0.jsonl").read_bytes()
    assert after.startswith(before)
    assert [(found.subject, found.answer["stage"]) for found in latest(read(tmp_path))] == [
        ("a", "ok"),
        ("b", "parse"),
        ("c", "ok"),
    ]


@pytest.mark.parametrize("change", [{"torch": "2.12.0+cpu"}, {"transformers": "4.57.6"}, {"question": "another"}])
def test_another_environment_or_question_is_a_change(tmp_path: Path, change: dict[str, Any]) -> None:
    append([record()], tmp_path)
    assert append([record(**change)], tmp_path).changed == (record(**change),)


def test_the_order_does_not_depend_on_who_asks(tmp_path: Path) -> None:
    given = [record(f"a/breaks/{number}", answer={"z": 1, "y": number}) for number in range(12)]
    append(given, tmp_path / "one")
    append(reversed(given), tmp_path / "other")
    one = (tmp_path / "one" / "0.28.0.jsonl").read_text(encoding="utf-8")
    assert one == (tmp_path / "other" / "0.28.0.jsonl").read_text(encoding="utf-8")
    assert [found.subject for found in read(tmp_path / "one")] == [found.subject for found in given]
    assert one.splitlines()[1] == '{"subject":"a/breaks/0","answer":{"y":0,"z":1}}'


def test_a_heading_is_not_repeated(tmp_path: Path) -> None:
    for number in range(3):
        append([record(f"a/{number}")], tmp_path)
    assert len((tmp_path / "0.28.0.jsonl").read_text(encoding="utf-8").splitlines()) == 4


@pytest.mark.parametrize("lost", range(1, 40, 3))
def test_a_torn_last_line_is_dropped_and_mended(tmp_path: Path, lost: int) -> None:
    append([record("a"), record("b")], tmp_path)
    path = tmp_path / "0.28.0.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    if lost == 1:  # all there but its end
        assert [found.subject for found in read(tmp_path)] == ["a", "b"]
        assert append([record("b")], tmp_path) == Appended(same=1)
    else:
        with pytest.warns(TornLine):
            assert [found.subject for found in read(tmp_path)] == ["a"]
        with pytest.warns(TornLine):
            assert append([record("b")], tmp_path) == Appended(new=(record("b"),))
    assert path.read_bytes() == whole


def test_a_torn_heading(tmp_path: Path) -> None:
    path = tmp_path / "0.28.0.jsonl"
    path.write_bytes(b'{"release":"0.28')
    with pytest.warns(TornLine):
        assert read(tmp_path) == ()
    with pytest.warns(TornLine):
        append([record()], tmp_path)
    assert read(tmp_path) == (record(),)


def test_every_problem_is_named(tmp_path: Path) -> None:
    append([record("a")], tmp_path)
    path = tmp_path / "0.28.0.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write('{"subject":1,"answers":2}\nnot json\n{"subject":"b","answer":1}\n')
        file.write('{"release":"0.29.0","part":"rules","date":"d","torch":"t","transformers":"t"}\n')
    with pytest.raises(FileProblem) as raised:
        read(tmp_path)
    notes = "\n".join(raised.value.notes)
    assert all(words in notes for words in ("line 3: ", "answers", "1 is not of type", "line 4: not JSON", "line 6"))
    with pytest.raises(FileProblem):
        append([record("c")], tmp_path)


def test_an_answer_without_heading(tmp_path: Path) -> None:
    (tmp_path / "0.28.0.jsonl").write_text('{"subject":"a","answer":1}\n', encoding="utf-8")
    with pytest.raises(FileProblem, match="not what it should be"):
        read(tmp_path)


@pytest.mark.parametrize("given", [{"answer": 1, "error": "no"}, {"answer": None}])
def test_a_record_says_one_thing(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of answer, error, not_askable"):
        append([record(**given)], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_release_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a release"):
        read(tmp_path, "../0.28.0")


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    append([record("a")], tmp_path)
    before = (tmp_path / "0.28.0.jsonl").read_bytes()
    done = run(
        """
        import resource, signal, sys
        from pathlib import Path
        from qcmatrix.errors import FileProblem
        from qcmatrix.evidence.records import Record
        from qcmatrix.evidence.store import append

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        fields = {"part": "rules", "date": "d", "torch": "t", "transformers": "t"}
        try:
            records = [Record(release="0.28.0", subject=f"b{n}", answer="x" * 100, **fields) for n in range(99)]
            append(records, Path(sys.argv[1]))
        except FileProblem as problem:
            print(problem, problem.notes)
        """,
        str(tmp_path),
    )
    said, _ = done.communicate(timeout=60)
    assert "cannot be written" in said
    assert "nothing was added" in said
    assert (tmp_path / "0.28.0.jsonl").read_bytes() == before


def test_many_write_at_once(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from qcmatrix.evidence.records import Record
        from qcmatrix.evidence.store import append

        for n in range(20):
            append(
                [
                    Record(release="0.28.0", part="rules", subject=s, answer=1, date="d", torch="t", transformers="t")
                    for s in (f"{sys.argv[2]}/{n}", f"all/{n}")
                ],
                Path(sys.argv[1]),
            )
        """
    running = [run(code, str(tmp_path), str(number)) for number in range(3)]
    for one in running:
        said, _ = one.communicate(timeout=60)
        assert one.returncode == 0, said
    found = [kept.subject for kept in read(tmp_path)]
    assert len(found) == len(set(found)) == 80


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileProblem, match="cannot be written"):
        append([record()], tmp_path / "file" / "data")
