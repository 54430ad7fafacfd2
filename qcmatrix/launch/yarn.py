"""Asking vLLM for positions beyond the native ones: what each release makes of it, and how to ask right.

Five regimes, found by running each release's own ``EngineArgs(...).create_engine_config()`` and building the rotary
embedding from the outcome (``tests/launch/oracle_yarn.jsonl``), and by reading the releases between them:

========================  ==================  ==========================  ============================================
releases                  ``--rope-scaling``  overrides that take effect  longest length accepted with YaRN in effect
========================  ==================  ==========================  ============================================
0.10.0 up to 0.11.0       yes                 ``rope_scaling``            original length x factor
0.11.1 and 0.11.2         gone                ``rope_scaling``            original length x factor
0.12.0 up to 0.19.0       gone                ``rope_parameters``         original length x factor
0.19.1 up to 0.29.0       gone                both, as one attribute      original length x factor
0.30.0 and later          gone                both, as one attribute      ``max_position_embeddings``, factor ignored
========================  ==================  ==========================  ============================================

From 0.12.0 on the override replaces the checkpoint's whole dictionary, so what it leaves out (``rope_theta``,
``partial_rotary_factor``) is lost.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from qcmatrix.versions import Range, Version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qcmatrix.catalogue.models import Architecture, Checkpoint
    from qcmatrix.launch.rope import RopeRequest

__all__ = [
    "ASSIGNED_WHOLE",
    "FLAG",
    "LARGEST_VALIDATED_FACTOR",
    "LENGTH_SCALED",
    "ONE_ATTRIBUTE",
    "PARAMETERS",
    "SCALING",
    "Positions",
    "forced_long",
    "length_error",
    "native_positions",
    "own_base",
    "positions_of",
    "resolve_positions",
    "served_length",
    "takes_effect",
    "trained_positions",
    "yarn_factor",
    "yarn_for",
    "yarn_request",
]

LARGEST_VALIDATED_FACTOR = 4.0
"""Nobody has published that a Qwen model answers rightly beyond four times its trained length (model cards, 2025)."""

FLAG = Range("0.10.0", "0.11.1")
"""Releases with ``--rope-scaling``."""
SCALING = Range("0.10.0", "0.12.0")
"""Releases whose model code reads ``rope_scaling`` of the configuration."""
PARAMETERS = Range("0.12.0")
"""Releases whose model code reads ``rope_parameters``."""
ONE_ATTRIBUTE = Range("0.19.1")
"""Releases that may be installed with Transformers 5, where ``rope_scaling`` is another name of ``rope_parameters``."""
LENGTH_SCALED = Range("0.10.0", "0.30.0")
"""Releases that take the longest length as original length x factor under YaRN."""
ASSIGNED_WHOLE = Range("0.11.1")
"""Releases that assign an overriding dictionary after the configuration was patched, without looking into it."""

_BASE_OPTIONAL = Range("0.13.0")
_LONG_WARNING = Range("0.10.2")
_FLOAT_LENGTH = Range("0.12.0")
_DEFAULT_BASE = 10_000.0
# Dense Qwen models fill a missing base in themselves, from 0.12.0 on: `set_default_rope_theta(config, 1000000)` in
# https://github.com/vllm-project/vllm/blob/v0.13.0/vllm/model_executor/models/qwen3.py (and qwen2.py), read 2026-11-22.
_OWN_DEFAULT_BASES = {"Qwen2ForCausalLM": 1_000_000.0, "Qwen3ForCausalLM": 1_000_000.0}
_SCALED_IN_CONFIG = ("su", "longrope", "llama3")


class Positions(msgspec.Struct, frozen=True):
    """What one release makes of one request for position scaling. Lengths are tokens."""

    derived: int
    """The longest ``--max-model-len`` that vLLM accepts by itself."""
    reach: int
    """How many positions the rotary embedding is made for: past it, answers are garbage or not-a-number."""
    scaled: bool
    """The scaling that was asked for takes effect."""
    rope_theta: float | None
    """The base in effect; ``None``: it is lost, and vLLM stops while it builds the model."""


_TRUE = ("1", "true")
_ALLOW_LONG = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"

# The first Qwen3 releases were trained on 32768 positions, and their config.json adds 8192 for the answer:
# https://huggingface.co/Qwen/Qwen3-30B-A3B ("pre-trained on context lengths of up to 32,768 tokens").
_TRAINED = {40_960: 32_768}

# Qwen3NextConfig's default, https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/qwen3_next
_HYBRID_PARTIAL_ROTARY_FACTOR = 0.25


def forced_long(env: Mapping[str, str]) -> bool:
    """Does ``VLLM_ALLOW_LONG_MAX_MODEL_LEN`` switch the length check off? (``envs.py`` of every release)."""
    value = env.get(_ALLOW_LONG)
    return value is not None and value.strip().lower() in _TRUE


def native_positions(architecture: Architecture, checkpoint: Checkpoint) -> int:
    """``max_position_embeddings`` of the checkpoint's ``config.json``; tokens."""
    return checkpoint.max_position_embeddings or architecture.max_position_embeddings


def trained_positions(native: int) -> int:
    """What ``original_max_position_embeddings`` has to be for a checkpoint of ``native`` positions; tokens."""
    return _TRAINED.get(native, native)


def positions_of(
    version: Version, architecture: Architecture, checkpoint: Checkpoint, rope: RopeRequest | None
) -> Positions:
    """:func:`resolve_positions` for a catalogued checkpoint."""
    theta = checkpoint.rope_theta or architecture.rope_theta
    return resolve_positions(version, native_positions(architecture, checkpoint), theta, rope, own_base(architecture))


def own_base(architecture: Architecture) -> float | None:
    """The rotary base that vLLM's class of the model fills in where an override lost it; ``None``: it fills in none."""
    return _OWN_DEFAULT_BASES.get(architecture.architecture)


def served_length(max_model_len: int | None, positions: Positions) -> int | None:
    """The context that will be served; ``None``: vLLM fits it to the memory that is left (``-1``)."""
    if max_model_len is None:
        return positions.derived
    return max_model_len if max_model_len >= 0 else None


@lru_cache(maxsize=4096)
def resolve_positions(
    version: Version, native: int, rope_theta: float, rope: RopeRequest | None, default_base: float | None = None
) -> Positions:
    """What release ``version`` makes of ``rope``, for a checkpoint of ``native`` positions and base ``rope_theta``.

    ``default_base`` is what the model's class fills in for a missing base (:func:`own_base`).

    A request that lacks its factor or original length counts as not scaled; the rules say what becomes of it.
    """
    if rope is None:
        return Positions(native, native, False, rope_theta)
    stretched = rope.max_position_embeddings or native
    if not takes_effect(version, rope.form):
        return Positions(stretched, native, False, rope_theta)
    base = _base(version, rope, rope_theta, default_base)
    if rope.rope_type == "yarn":
        if rope.factor is None or rope.original_max_position_embeddings is None:
            return Positions(stretched, native, False, base)
        reach = int(rope.original_max_position_embeddings * rope.factor)
        return Positions(reach if version in LENGTH_SCALED else stretched, reach, True, base)
    if rope.rope_type in _SCALED_IN_CONFIG:
        return Positions(stretched, stretched, True, base)
    if rope.rope_type in (None, "default") or rope.factor is None:
        return Positions(stretched, native, False, base)
    reach = int(stretched * rope.factor)
    return Positions(reach, reach, True, base)


def takes_effect(version: Version, form: str) -> bool:
    """Does that release's model code see a request of that form (``RopeRequest.form``)?"""
    match form:
        case "rope-scaling":
            return version in FLAG
        case "hf-overrides-rope-scaling":
            return version in SCALING or version in ONE_ATTRIBUTE
        case "hf-overrides-rope-parameters":
            return version in PARAMETERS
        case "config":
            return True
        case _:
            return False


def _base(version: Version, rope: RopeRequest, rope_theta: float, default_base: float | None) -> float | None:
    if rope.form in ("rope-scaling", "config") or version in SCALING:
        return rope_theta
    if rope.rope_theta is not None:
        return rope.rope_theta
    if rope.form == "hf-overrides-rope-scaling" or (default_base is None and version not in _BASE_OPTIONAL):
        return None
    return default_base or _DEFAULT_BASE


def length_error(version: Version, asked: int, derived: int, *, scaled: bool) -> str:
    """vLLM's words for a ``--max-model-len`` above the derived length, in release ``version``.

    ``scaled``: the derived length went through a multiplication by a YaRN factor, which makes it a float.
    """
    shown = f"{float(derived)}" if scaled or version in _FLOAT_LENGTH else f"{derived}"
    text = (
        f"User-specified max_model_len ({asked}) is greater than the derived max_model_len "
        f"(max_position_embeddings={shown} or model_max_length=None in model's config.json)."
    )
    if version not in _LONG_WARNING:
        text += " This may lead to incorrect model outputs or CUDA errors."
    return f"{text} To allow overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1"


def yarn_factor(context: int, original: int) -> float:
    """The smallest YaRN factor, in steps of one half, that makes ``original`` positions reach ``context`` tokens."""
    return max(1.0, math.ceil(2 * context / original) / 2)


def yarn_request(
    release_version: Version,
    *,
    native: int,
    context: int,
    rope_theta: float,
    partial_rotary_factor: float | None = None,
    original: int | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The one way of asking for ``context`` tokens that release takes and that truly takes effect.

    Args:
        release_version: 0.10.0 or later.
        native: positions of the checkpoint's ``config.json``; tokens.
        context: the length wanted; tokens.
        rope_theta: the checkpoint's rotary base, which releases from 0.12.0 on want repeated.
        partial_rotary_factor: the checkpoint's, where it is not 1 (0.25 for Qwen3-Next), lost otherwise from 0.13.0 on.
        original: positions that the model was trained on before any scaling, where they are not ``native``
            (32768 for the first Qwen3 releases, whose ``config.json`` says 40960).

    Returns:
        Options by dest and environment variables. Up to ``native`` tokens no scaling is asked for. No release needs
        ``VLLM_ALLOW_LONG_MAX_MODEL_LEN`` when YaRN is asked for in its own way, so the environment is empty.
    """
    options: dict[str, Any] = {"max_model_len": context}
    if context <= native:
        return options, {}
    trained = original or native
    factor = yarn_factor(context, trained)
    scaling: dict[str, Any] = {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": trained,
    }
    if release_version in SCALING:
        options["hf_overrides"] = {"rope_scaling": scaling}
        return options, {}
    scaling["rope_theta"] = rope_theta
    if partial_rotary_factor is not None and partial_rotary_factor != 1.0:
        scaling["partial_rotary_factor"] = partial_rotary_factor
    overrides: dict[str, Any] = {"rope_parameters": scaling}
    if release_version not in LENGTH_SCALED:
        overrides["max_position_embeddings"] = int(trained * factor)
    options["hf_overrides"] = overrides
    return options, {}


def yarn_for(
    version: Version, architecture: Architecture, checkpoint: Checkpoint, context: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """:func:`yarn_request` for a catalogued checkpoint."""
    native = native_positions(architecture, checkpoint)
    return yarn_request(
        version,
        native=native,
        context=context,
        rope_theta=checkpoint.rope_theta or architecture.rope_theta,
        partial_rotary_factor=None if architecture.linear_attention is None else _HYBRID_PARTIAL_ROTARY_FACTOR,
        original=trained_positions(native),
    )
