"""How the bytes of the weights are known: asked of vLLM's own code, or read in a release's source."""

from __future__ import annotations

from typing import Any

from qcmatrix.catalogue.models import Architecture, Quantization
from qcmatrix.memory.weights import made_while_loading, weights_bytes
from qcmatrix.versions import Version, parse_version

__all__ = ["weights_basis"]

_ASKED = parse_version("0.32.0")
"""The release whose model code was asked for its parameters (``probes/weights_oracle.py``)."""
_CREATED = "as vLLM 0.32.0's own model code creates them"
_COMPUTED = "computed: parameter shapes read from the release's source"
_HOLDERS = 4096
"""Bytes: what the scales that loading merges or deletes come to at most. More is a repacking, which was not asked."""


def weights_basis(
    architecture: Architecture, quantization: Quantization, *, version: Version, **settings: Any
) -> tuple[str, ...]:
    """The words for the weights of each pipeline stage; the arguments are those of `weights_bytes`.

    ``exact`` is only the release that was asked, as far as loading leaves alone what it creates.
    """
    kept = weights_bytes(architecture, quantization, version=version, **settings)
    if made_while_loading(quantization):
        return tuple(_COMPUTED for _ in kept)
    created = weights_bytes(architecture, quantization, version=_ASKED, as_created=True, **settings)
    asked = version.release == _ASKED.release
    return tuple(_words(before - after, asked=asked) for before, after in zip(created, kept, strict=True))


def _words(freed: int, *, asked: bool) -> str:
    if not 0 <= freed <= _HOLDERS:
        return _COMPUTED
    if not asked:
        return f"{_COMPUTED}; the same as in vLLM 0.32.0, whose own model code was asked"
    return f"exact: {_CREATED}{f', less {freed} bytes that loading frees' if freed else ''}"
