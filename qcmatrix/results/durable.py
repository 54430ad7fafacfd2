"""Files that are there whole or not at all, and are never overwritten."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from qcmatrix.errors import ExitCode, UserError

__all__ = ["StoreProblem", "append_durably", "sync_directory", "write_once"]


class StoreProblem(UserError):
    """Results cannot be written: no space, no permission, no such disk."""

    exit_code = ExitCode.ENVIRONMENT

    @classmethod
    def of(cls, path: Path, error: OSError) -> StoreProblem:
        """What ``error`` means for ``path``."""
        return cls(
            f"{path}: cannot be written: {error.strerror or error}",
            "what was written before is still there; make room or name another directory",
        )


def write_once(path: Path, data: bytes) -> bool:
    """Make ``path`` with ``data``, on disk when this returns; ``False``: it was there already, and stays as it is.

    Raises:
        StoreProblem: it cannot be written; nothing is left of it.
    """
    if path.exists():
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            _write_all(descriptor, data)
            os.fchmod(descriptor, 0o644)  # mkstemp keeps it to ourselves
            os.fsync(descriptor)
            made = _name_it(Path(name), path)
        finally:
            os.close(descriptor)
            Path(name).unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreProblem.of(path, error) from None
    return made


def append_durably(descriptor: int, data: bytes) -> None:
    """Add ``data`` to an open file and wait for the disk: all of it or nothing.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    size = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    except OSError:
        # Half a line would swallow the next one.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def sync_directory(directory: Path) -> None:
    """Wait until the names in ``directory`` are on disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _name_it(made: Path, path: Path) -> bool:
    """Give what is in ``made`` its name at one blow, unless something has that name."""
    try:
        os.link(made, path)  # a rename would replace what is there
    except FileExistsError:
        return False
    except OSError:  # a file system without links: a moment remains in which another could take the name
        if path.exists():
            return False
        made.replace(path)
    return True
