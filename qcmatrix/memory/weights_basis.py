"""How the bytes of the weights are known: asked of vLLM's own code, or read in a release's source."""

from __future__ import annotations

from typing import Any, Final

from qcmatrix.catalogue.models import Architecture, Quantization
from qcmatrix.catalogue.releases import release_names
from qcmatrix.memory.weights import made_while_loading, weights_bytes
from qcmatrix.versions import Range, Version, parse_version

__all__ = ["ASKED", "weights_basis"]

ASKED: Final = Range("0.10.0", "0.34.0")
"""The own model code of each listed release in it was asked for 16 bit, FP8 by block and AWQ on 1 to 16 ranks, and
creates these integers: ``qcmatrix/evidence/data``, part ``weights``."""
_ALL_SCHEMES: Final = parse_version("0.32.0")
"""The release that was asked for every way of storing weights (``tests/memory/oracle/weights.jsonl``)."""
_COMPUTED: Final = "computed: parameter shapes read from the release's source"
_HOLDERS: Final = 4096
"""Bytes: what the scales that loading merges or deletes come to at most. More is a repacking, which was not asked."""


def weights_basis(
    architecture: Architecture, quantization: Quantization, *, version: Version, **settings: Any
) -> tuple[str, ...]:
    """The words for the weights of each pipeline stage; the arguments are those of `weights_bytes`.

    ``exact`` is only a release that was asked, as far as loading leaves alone what it creates.
    """
    kept = weights_bytes(architecture, quantization, version=version, **settings)
    if made_while_loading(quantization):
        return tuple(_COMPUTED for _ in kept)
    created = weights_bytes(architecture, quantization, version=version, as_created=True, **settings)
    asked = _asked(quantization, version)
    return tuple(_words(before - after, asked) for before, after in zip(created, kept, strict=True))


def _asked(quantization: Quantization, version: Version) -> str | None:
    """The listed release that was asked, if ``version`` is one."""
    name = version.base_version
    if version.is_prerelease or version.is_postrelease or version not in ASKED or name not in release_names():
        return None
    if version.release != _ALL_SCHEMES.release and quantization.method not in ("none", "fp8", "awq"):
        return None
    return name


def _words(freed: int, asked: str | None) -> str:
    if not 0 <= freed <= _HOLDERS:
        return _COMPUTED
    if asked is None:
        return f"{_COMPUTED}; as in the releases whose own model code was asked"
    loaded = f", less {freed} bytes that loading frees" if freed else ""
    return f"exact: as vLLM {asked}'s own model code creates them{loaded}"
