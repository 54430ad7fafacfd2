"""Results survive what ends a run: kills, torn lines, a full disk, two runs at once."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmatrix.errors import FileProblem, UserError
from qcmatrix.exchange.wire import Exchange
from qcmatrix.results.exchanges import read_exchange
from qcmatrix.results.schema import CaseResult, Result, State
from qcmatrix.results.store import Journal, read_results, recover
from tests.results.made import BOOT, ENTRY, HEADER, case, cases

_EXCHANGE = Exchange(method="POST", path="/v1/chat/completions", request={"n": 1}, status=200, response="hello")


def test_a_result_is_written_and_read(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, **HEADER, planned=[case("TC-01"), case("TC-02")])
    journal.boot(BOOT)
    journal.case(case("TC-02", State.FAIL, observed="CRLF became LF"))
    path = journal.finish()
    assert path == journal.finish() == tmp_path / "tiny-cpu" / "20261128T101500Z-3f2b8c1e.json"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    (result,) = read_results(tmp_path)
    assert result.boot == BOOT
    assert result.ended
    assert [(each.id, each.state) for each in result.cases] == [("TC-01", "not_run"), ("TC-02", "fail")]
    assert result.profiles["tools-core"].core == (0, 2)
    assert result.profiles["tools-core"].state == "fail"


@given(made=cases, planned=cases, cut=st.integers(0, 200))
def test_what_a_killed_run_leaves_is_what_it_would_have_written(
    made: list[CaseResult], planned: list[CaseResult], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        whole, killed = Path(name, "whole"), Path(name, "killed")
        journal = Journal.open(whole, **HEADER, planned=planned)
        for each in made:
            journal.case(each)
        shutil.copytree(whole, killed)  # as it lies on disk when the process is gone
        with next(killed.glob("*/*.jsonl")).open("ab") as torn:
            torn.write(b'{"line":"case","case":{"id":"TC-99","mode":"whole","observed":"a long line'[:cut])
        journal.finish()
        assert len(recover(killed)) == 1
        assert recover(killed) == ()
        (finished,), (recovered,) = read_results(whole), read_results(killed)
        assert recovered.ended == ""
        assert recovered == msgspec.structs.replace(finished, ended="")


_KILLED = """
import sys, time
from pathlib import Path
from qcmatrix.results.store import Journal
from tests.results.made import HEADER, case
journal = Journal.open(Path(sys.argv[1]), **HEADER, planned=[case("TC-01"), case("TC-02")])
journal.case(case("TC-01"))
print("written", flush=True)
time.sleep(600)
"""


def test_a_killed_run_is_recovered_and_a_live_one_is_left_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as run:
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == "written\n"
            assert recover(tmp_path) == ()
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()
    assert len(recover(tmp_path)) == 1
    (result,) = read_results(tmp_path)
    assert [each.state for each in result.cases] == [State.PASS, State.NOT_RUN]
    assert not list(tmp_path.glob("*/*.jsonl"))


def test_killed_between_result_and_the_end_of_the_journal(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, **HEADER)
    kept = journal.path.read_bytes()
    before = journal.finish().read_bytes()
    journal.path.write_bytes(kept)
    (path,) = recover(tmp_path)
    assert path.read_bytes() == before
    assert not journal.path.exists()


def test_a_journal_without_a_header_holds_nothing(tmp_path: Path) -> None:
    torn = tmp_path / "tiny-cpu" / "x.part.jsonl"
    torn.parent.mkdir()
    torn.write_bytes(b'{"line":"header","ru')
    assert recover(tmp_path) == ()
    assert not torn.exists()


def test_two_runs_at_once_have_their_own_files(tmp_path: Path) -> None:
    first, second = Journal.open(tmp_path, **HEADER), Journal.open(tmp_path, **HEADER)
    first.case(case(state=State.FAIL))
    paths = {first.finish(), second.finish(), Journal.open(tmp_path, **HEADER).finish()}
    assert len(paths) == 3
    assert sorted(len(result.cases) for result in read_results(tmp_path)) == [0, 0, 1]


def test_no_case_is_told_twice(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, **HEADER)
    journal.case(case(state=State.FAIL))
    with pytest.raises(ValueError, match="already"):
        journal.case(case(state=State.PASS))
    journal.finish()
    assert read_results(tmp_path)[0].cases[0].state is State.FAIL


@contextmanager
def _full_disk(room: int) -> Iterator[None]:
    """No file grows beyond ``room`` bytes: the operating system itself refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_space_is_said_and_what_was_written_stays(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, **HEADER)
    journal.case(case("TC-01"))
    size = journal.path.stat().st_size
    long = case("TC-02", observed="x" * 500)
    with _full_disk(size + 100), pytest.raises(UserError, match="cannot be written") as caught:
        journal.case(long)
    assert int(caught.value.exit_code) == 5
    assert journal.path.stat().st_size == size
    journal.case(long)  # there is room again
    with _full_disk(100), pytest.raises(UserError, match="cannot be written"):
        journal.finish()
    assert [path.name for path in journal.path.parent.iterdir()] == [journal.path.name]
    assert len(read_results(tmp_path)) == 0
    journal.finish()
    assert [each.id for each in read_results(tmp_path)[0].cases] == ["TC-01", "TC-02"]


def test_without_room_for_an_exchange_its_case_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path, **HEADER)

    def full(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkstemp", full)
        with pytest.raises(UserError, match="No space left"):
            journal.case(case(state=State.FAIL), [_EXCHANGE])
    journal.finish()
    (kept,) = read_results(tmp_path)[0].cases
    assert kept.state is State.FAIL
    assert kept.exchanges == ()


def test_exchanges_of_what_did_not_pass_are_kept_once(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, **HEADER)
    journal.case(case("TC-01"), [_EXCHANGE])
    journal.case(case("TC-02", State.FAIL), [_EXCHANGE])
    journal.case(case("TC-03", State.XFAIL), [_EXCHANGE])
    journal.finish()
    by_id = {each.id: each.exchanges for each in read_results(tmp_path)[0].cases}
    assert by_id == {"TC-01": (), "TC-02": (_EXCHANGE.digest,), "TC-03": (_EXCHANGE.digest,)}
    assert len(list(tmp_path.glob("exchanges/*/*"))) == 1
    assert read_exchange(tmp_path, _EXCHANGE.digest)["response"] == "hello"
    with pytest.raises(FileProblem, match="cannot be read"):
        read_exchange(tmp_path, "0" * 64)


def test_all_exchanges_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, **HEADER, keep_all=True)
    journal.case(case("TC-01"), [_EXCHANGE])
    journal.finish()
    assert read_results(tmp_path)[0].cases[0].exchanges == (_EXCHANGE.digest,)


def test_no_secret_reaches_the_disk(tmp_path: Path) -> None:
    own, late, named = 'k"ey-of-the-user', "generated-for-this-start", "on-the-command-line"
    entry = msgspec.structs.replace(
        ENTRY, argv=(*ENTRY.argv, "--api-key", named), env={"HF_TOKEN": named, "PROXY": f"http://u:{own}@h"}
    )
    journal = Journal.open(tmp_path, **(HEADER | {"entry": entry}), secrets=[own])
    journal.hide(late, None)
    exchange = msgspec.structs.replace(
        _EXCHANGE, request={"key": own, own: [late]}, response=f'{{"echo": "k\\"ey-of-the-user {late}"}}'
    )
    journal.served(entry)
    journal.boot(msgspec.structs.replace(BOOT, cause=f"refused {late}"))
    made = case(state=State.FAIL, observed=f"saw {own}", curl=f"curl -H '{late}'", figures={own: late})
    written = journal.case(made, [exchange])
    on_disk = journal.path.read_bytes()
    journal.finish()
    (result,) = read_results(tmp_path)
    (digest,) = result.cases[0].exchanges
    on_disk += journal.path.with_name(f"{journal.stem}.json").read_bytes()
    on_disk += msgspec.json.encode(read_exchange(tmp_path, digest))
    for part in ("ey-of-the-user", late, named):
        assert part.encode() not in on_disk
    assert result.cases[0].observed == "saw ***"
    assert result.cases == (written,)


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, **HEADER)
    path = journal.finish()
    path.with_name("a.json").write_text("{}")
    path.with_name("b.json").write_text(path.read_text().replace("result/1", "result/2"))
    with pytest.raises(FileProblem) as caught:
        read_results(tmp_path)
    assert len(caught.value.notes) == 2


def test_text_that_is_no_unicode_can_be_written(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, **HEADER)
    journal.case(case(state=State.FAIL, observed="half an emoji: \ud83d"))
    journal.finish()
    assert read_results(tmp_path)[0].cases[0].observed == "half an emoji: \\ud83d"


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        Journal.open(tmp_path / "results", **HEADER)


def test_results_of_no_directory_are_none(tmp_path: Path) -> None:
    nothing: tuple[Result, ...] = ()
    assert read_results(tmp_path / "none") == nothing
    assert recover(tmp_path / "none") == ()
