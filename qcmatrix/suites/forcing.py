"""Making any model say an exact text: the deterministic half of the suites.

vLLM's structured outputs take a list of choices; a list of one leaves the model nothing else to say, random weights or
not. The text goes through the real engine, detokenizer, parser and stream.
"""

from __future__ import annotations

from typing import Any

from qcmatrix.versions import parse_version

__all__ = ["forced"]

_STRUCTURED_OUTPUTS_SINCE = parse_version("0.11.0")
"""``structured_outputs`` replaced ``guided_choice`` there (https://github.com/vllm-project/vllm/pull/22772)."""


def forced(text: str, release: str | None) -> dict[str, Any]:
    """Fields of a chat or completion request that make the model say ``text`` and nothing else.

    ``release`` is vLLM's version; ``None``: not known, and taken for a current one.
    """
    if release is not None and parse_version(release) < _STRUCTURED_OUTPUTS_SINCE:
        return {"guided_choice": [text]}
    return {"structured_outputs": {"choice": [text]}}
