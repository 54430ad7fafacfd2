"""vLLM from its sdist: the Python files, without what would have to be compiled."""

from __future__ import annotations

import shutil
from pathlib import Path

from qcmatrix.probe.environments.uv import EnvironmentProblem

__all__ = ["fetch_sources", "put_sources"]


def fetch_sources(release: str, directory: Path, what: str) -> Path:
    """Download the sdist of ``release`` and write its Python package and requirements below ``directory``.

    Raises:
        EnvironmentProblem: there is none, or it cannot be had.
    """
    from qcmatrix.refresh.pypi import Catalogue, DownloadError, choose, fetch_index, unpack

    try:
        archive = choose(Catalogue(fetch_index("vllm"), ()), release)
        return unpack(archive, directory, keep=_is_wanted)
    except DownloadError as error:
        raise EnvironmentProblem(
            f"{what}: its sources cannot be had from pypi.org",
            str(error),
            "check the network and run the same command again",
        ) from None


def _is_wanted(parts: tuple[str, ...]) -> bool:
    if parts[0] == "requirements":
        return parts[-1].endswith(".txt")
    return parts[0] == "vllm" and parts[-1].endswith((".py", ".json", ".jinja"))


def put_sources(unpacked: Path, site: Path, release: str) -> None:
    """Move the package into ``site``, with the version module that a build would have written."""
    shutil.move(unpacked / "vllm", site / "vllm")
    numbers = ", ".join(repr(int(part)) if part.isdigit() else repr(part) for part in release.split("."))
    (site / "vllm" / "_version.py").write_text(
        f'__version__ = version = "{release}"\n__version_tuple__ = version_tuple = ({numbers})\n'
        "__commit_id__ = commit_id = None\n",
        encoding="utf-8",
    )
