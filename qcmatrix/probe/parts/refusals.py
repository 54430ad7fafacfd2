"""Layouts that a release refuses: nothing can be compared there, but our rules must refuse them as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.probe.agree import ours

__all__ = ["foretold"]

_FLEETS: Final = {
    (8, 0): "1024xA100-80",
    (8, 9): "1024xL40S",
    (9, 0): "1024xH200",
    (10, 0): "1024xB200",
    (12, 0): "1024xRTX-5090",
}
"""More cards than any question has ranks, of the compute capability."""


def foretold(
    checkpoint: str,
    options: Sequence[str],
    capability: tuple[int, int],
    release: Release,
    env: Mapping[str, str] | None = None,
) -> str | None:
    """Which of our rules say that ``release`` does not start ``vllm serve`` so; ``None``: none does."""
    (fleet,) = parse_fleet(_FLEETS[capability])
    found = find_checkpoint(checkpoint)
    words = ["vllm", "serve", found.checkpoint.repository, *options]
    names = sorted({finding.rule.id for finding in ours(words, found, fleet, release, env=env).refusals})
    return ", ".join(names) or None
