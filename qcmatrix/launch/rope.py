"""How a launch asks for position scaling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from qcmatrix.launch.plain import number, text, whole
from qcmatrix.launch.yarn import SCALING
from qcmatrix.versions import Version

__all__ = ["ROPE_KEYS", "ROPE_KEYS_EARLY", "RopeRequest", "rope_from", "rope_request", "rope_request_by"]

ROPE_KEYS = (
    ("rope_parameters", "hf-overrides-rope-parameters"),
    ("rope_scaling", "hf-overrides-rope-scaling"),
)
ROPE_KEYS_EARLY = ROPE_KEYS[::-1]


class RopeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One way of asking for position scaling, as it stands in the command or in ``config.json``."""

    form: str
    """``rope-scaling`` (the flag), ``hf-overrides-rope-scaling``, ``hf-overrides-rope-parameters``, ``config``
    (published or edited ``config.json``), ``max-position-embeddings`` (an override of the length alone)."""
    rope_type: str | None
    factor: float | None
    original_max_position_embeddings: int | None
    rope_theta: float | None
    """As given together with the scaling; ``None``: left out."""
    max_position_embeddings: int | None
    """Override of the native length, when one stands beside it."""


def rope_request(options: Mapping[str, Any], version: Version) -> RopeRequest | None:
    """How ``options`` ask for position scaling, or ``None``.

    The flag wins over the overrides, as in ``ModelConfig.__post_init__``. Of two keys of the overrides that one counts
    which the release's model code reads. Overrides nested in ``text_config`` count as well.
    """
    return rope_request_by(options, ROPE_KEYS_EARLY if version in SCALING else ROPE_KEYS)


def rope_request_by(options: Mapping[str, Any], keys: tuple[tuple[str, str], ...]) -> RopeRequest | None:
    """:func:`rope_request` with the keys of the release already chosen."""
    overrides = options.get("hf_overrides")
    overrides = overrides if isinstance(overrides, dict) else {}
    nested = overrides.get("text_config")
    places = (overrides, nested) if isinstance(nested, dict) else (overrides,)
    length = next((n for place in places if (n := whole(place.get("max_position_embeddings"))) is not None), None)
    flag = options.get("rope_scaling")
    if isinstance(flag, dict) and flag:
        return rope_from("rope-scaling", flag, number(options.get("rope_theta")), length)
    for place in places:
        for key, form in keys:
            scaling = place.get(key)
            if isinstance(scaling, dict) and scaling:
                return rope_from(form, _flattened(scaling), None, length)
    return None if length is None else rope_from("max-position-embeddings", {}, None, length)


def rope_from(form: str, scaling: Mapping[str, Any], theta: float | None, length: int | None) -> RopeRequest:
    """The request that one dictionary makes; ``theta`` is a base that stands beside it."""
    return RopeRequest(
        form=form,
        rope_type=text(scaling.get("rope_type", scaling.get("type"))),
        factor=number(scaling.get("factor")),
        original_max_position_embeddings=whole(scaling.get("original_max_position_embeddings")),
        rope_theta=number(scaling.get("rope_theta")) if theta is None else theta,
        max_position_embeddings=length,
    )


def _flattened(scaling: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first of several layer types' dictionaries (``{"full_attention": {...}}``)."""
    first = next(iter(scaling.values()))
    return first if isinstance(first, dict) else scaling
