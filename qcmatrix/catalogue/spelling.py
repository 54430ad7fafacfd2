"""How names are compared: spelling does not matter, and a wrong one gets hints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["closest", "normalise_gpu", "normalise_model"]

_GPU_NOISE = frozenset({"nvidia", "geforce", "amd", "instinct", "tesla", "generation"})
_MEMORY_WORD = re.compile(r"(\d+)g(?:i?b)?")


def normalise_gpu(text: str) -> str:
    """``text`` without case, vendor words, blanks and units: ``NVIDIA RTX 4090 48GB`` -> ``rtx4090-48``.

    Words are joined, except where two digits would meet: ``H20-0`` must not become ``h200``.
    """
    joined = ""
    for word in re.split(r"[\W_]+", text.casefold()):
        if not word or word in _GPU_NOISE or (word in ("gb", "gib") and joined[-1:].isdigit()):
            continue
        if memory := _MEMORY_WORD.fullmatch(word):
            word = memory[1]
        joined += f"-{word}" if joined[-1:].isdigit() and word[:1].isdigit() else word
    return joined


def normalise_model(text: str) -> str:
    """``text`` without case; ``_`` and blanks count as ``-``."""
    return "-".join(text.casefold().replace("_", " ").split())


def closest(text: str, names: Mapping[str, str] | Iterable[str], *, limit: int = 3) -> list[str]:
    """Up to ``limit`` of ``names`` that look like ``text``, best first.

    ``names`` maps a compared spelling to the name that is shown (or is just names). A name that contains ``text``
    counts as close even where most of it differs: nobody types a whole repository name.
    """
    from difflib import SequenceMatcher  # only on the way to an error message

    shown = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
    best: dict[str, float] = {}
    for spelling, name in shown.items():
        score = SequenceMatcher(None, text, spelling).ratio()
        if len(text) >= 2 and text in spelling:
            score = max(score, 0.6) + 0.2
        best[name] = max(best.get(name, 0.0), score)
    ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    return [name for name, score in ranked[:limit] if score >= 0.55]
