"""The environments that there are: found, listed, removed; half-made ones cleaned away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from qcmatrix.probe.environments.directories import cache_directory
from qcmatrix.versions import parse_version

__all__ = ["Environment", "environments", "environments_directory", "locked", "remove", "sweep", "unfinished"]

MANIFEST = "environment.json"
_FORMAT = 1
_UNFINISHED = ".unfinished-"


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """One environment, complete: its directory has its name only when all is in it."""

    format: int = _FORMAT
    release: str
    kind: str
    """``wheel``: a CPU build; ``sources``: Python files without what is compiled."""
    plan: str
    """Digest of the recipe that it was made by."""
    interpreter: str
    """``cpython-3.11.7``."""
    platform: str
    packages: dict[str, str]
    """Every distribution with its version."""
    made: str
    """The day, ISO 8601."""
    seconds: float
    """How long that took."""
    bytes: int
    """Of all files; where uv could link them to its cache, the disk holds them once."""
    name: str = ""

    @property
    def path(self) -> Path:
        """Its directory."""
        return environments_directory() / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"


def environments_directory() -> Path:
    """Where they are kept."""
    return cache_directory() / "environments"


def environments(release: str | None = None) -> tuple[Environment, ...]:
    """Those that there are (of one release), oldest release first; what is half-made is not among them."""
    root = environments_directory()
    found = []
    for manifest in root.glob(f"*/{MANIFEST}"):
        if manifest.parent.name.startswith("."):
            continue
        try:
            made = msgspec.json.decode(manifest.read_bytes(), type=Environment)
        except (OSError, msgspec.DecodeError):
            continue  # not one of ours, or of another qcmatrix: not to be used
        if made.format == _FORMAT and release in (None, made.release):
            found.append(msgspec.structs.replace(made, name=manifest.parent.name))
    return tuple(sorted(found, key=lambda each: (parse_version(each.release), each.name)))


def write_manifest(environment: Environment, directory: Path) -> None:
    """Write what :func:`environments` reads."""
    text = msgspec.json.format(msgspec.json.encode(environment), indent=1)
    (directory / MANIFEST).write_bytes(text + b"\n")


def unfinished(release: str) -> Path:
    """Where the environment of ``release`` is put together; on the same file system, so that a rename ends it."""
    return environments_directory() / f"{_UNFINISHED}{release}"


def remove(release: str | None = None) -> tuple[Environment, ...]:
    """Remove those of ``release``, or all; which they were. Leftovers of builds that were killed go too."""
    gone = environments(release)
    for each in gone:
        with locked(each.release) as _:
            doomed = unfinished(f"{each.name}.removed")
            # Away from its name first: killed in the middle, no half of it is taken for the whole.
            with contextlib.suppress(FileNotFoundError):
                each.path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
    sweep()
    return gone


def sweep() -> None:
    """Remove what killed builds left behind; what is being built right now is left alone."""
    root = environments_directory()
    for leftover in root.glob(f"{_UNFINISHED}*"):
        release = leftover.name.removeprefix(_UNFINISHED).partition("-")[0]
        with _try_lock(release) as got:
            if got:
                shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def locked(release: str, waiting: Callable[[], None] | None = None) -> Iterator[int]:
    """One process at a time makes or removes the environment of ``release``; yields the lock's file descriptor.

    The lock belongs to whoever has that descriptor open: a uv that outlives us keeps it, and goes with its process.
    """
    with _lock_file(release) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor


@contextmanager
def _try_lock(release: str) -> Iterator[bool]:
    with _lock_file(release) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _lock_file(release: str) -> Iterator[int]:
    root = environments_directory()
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / f".{release}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
