"""The catalogue's TOML files, packed into one JSON file.

TOML is what people read and edit; parsing it costs tens of milliseconds, JSON well under one. ``data/packed.json`` is
written from the TOML files by ``python -m qcmatrix.catalogue.packed`` and a test fails when it is stale.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import msgspec

from qcmatrix.catalogue.gpus import GpuFile
from qcmatrix.catalogue.models import ModelFile

__all__ = ["DATA", "Packed", "load", "pack", "write"]

DATA = Path(__file__).parent / "data"


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``data/packed.json``."""

    gpus: GpuFile
    models: tuple[ModelFile, ...]
    """In the order in which names are looked up and shown: the Coder family first."""


_FAMILIES = ("qwen3-coder", "qwen3", "qwen2.5-coder", "qwen2.5", "llama")


def pack(data: Path = DATA) -> Packed:
    """The catalogue as its TOML files state it.

    Raises:
        FileProblem: a file is missing or not of the right shape (all problems of the first bad file).
    """
    from qcmatrix.boundary import read_toml  # tomllib is not needed to read the packed file

    models = [read_toml(path, ModelFile) for path in sorted((data / "models").glob("*.toml"))]
    return Packed(
        gpus=read_toml(data / "gpus.toml", GpuFile),
        models=tuple(
            sorted(
                models, key=lambda model: (_FAMILIES.index(model.family), -model.architecture.mlp_elements, model.name)
            )
        ),
    )


def write(data: Path = DATA) -> Path:
    """Write ``packed.json`` beside the TOML files and return its path."""
    path = data / "packed.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(pack(data), order="sorted"), indent=0) + b"\n")
    return path


@lru_cache(maxsize=1)
def load() -> Packed:
    """The catalogue, decoded once (well under a millisecond per hundred kilobytes)."""
    return msgspec.json.decode((DATA / "packed.json").read_bytes(), type=Packed)


if __name__ == "__main__":
    write()
