"""Exchanges with servers, each kept once under the digest of what it says."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from qcmatrix.errors import FileProblem
from qcmatrix.results.durable import write_once
from qcmatrix.results.masking import Masker

if TYPE_CHECKING:  # it brings a client along, which who reads results has no need of
    from qcmatrix.exchange.wire import Exchange

__all__ = ["keep_exchange", "read_exchange"]


def keep_exchange(directory: Path, exchange: Exchange, mask: Masker) -> str:
    """Write ``exchange``, masked, below ``directory/exchanges`` unless it is there; its digest.

    Raises:
        StoreProblem: it cannot be written.
    """
    data = msgspec.json.encode(mask(exchange), order="deterministic")
    digest = hashlib.sha256(data).hexdigest()
    write_once(_path(directory, digest), gzip.compress(data, mtime=0))
    return digest


def read_exchange(directory: Path, digest: str) -> dict[str, Any]:
    """The exchange of that digest, as it was kept.

    Raises:
        FileProblem: it is not there, or not what its name says.
    """
    path = _path(directory, digest)
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise FileProblem(f"{path}: cannot be read: {error}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise FileProblem(f"{path}: is not what its name says")
    found: dict[str, Any] = msgspec.json.decode(data)
    return found


def _path(directory: Path, digest: str) -> Path:
    return directory / "exchanges" / digest[:2] / f"{digest}.json.gz"
