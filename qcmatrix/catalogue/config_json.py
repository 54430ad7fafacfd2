"""Any checkpoint by its ``config.json``: what vLLM would read, and all that is wrong with it at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from qcmatrix.boundary import read_text
from qcmatrix.catalogue.models import (
    Architecture,
    Checkpoint,
    LinearAttention,
    MixtureOfExperts,
    ModelFile,
    Quantization,
    ResolvedCheckpoint,
)
from qcmatrix.catalogue.quantization_json import QuantizationError, read_quantization
from qcmatrix.errors import FileProblem

__all__ = ["SUPPORTED", "read_config"]

SUPPORTED: dict[str, str] = {
    "Qwen3MoeForCausalLM": "moe",
    "Qwen3NextForCausalLM": "next",
    "Qwen2MoeForCausalLM": "moe",
    "Qwen3ForCausalLM": "dense",
    "Qwen2ForCausalLM": "dense",
    "LlamaForCausalLM": "dense",
    "MistralForCausalLM": "dense",
}
"""Architectures that the memory formulas cover -> which kind of layer they have."""

_LLAMA = frozenset({"LlamaForCausalLM", "MistralForCausalLM"})
_QWEN2 = frozenset({"Qwen2ForCausalLM", "Qwen2MoeForCausalLM"})
_QK_NORM = frozenset({"Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM"})
_TOOL_PARSERS = ((re.compile(r"qwen3-?coder"), "qwen3_coder"), (re.compile(r"qwen[23]"), "hermes"))

T = TypeVar("T")


def read_config(path: Path) -> ResolvedCheckpoint:
    """The checkpoint that ``path`` (a ``config.json`` or a directory that holds one) describes.

    Keys that are not needed are ignored: a ``config.json`` has many. ``hf_quant_config.json`` beside it is read as vLLM
    does when ``config.json`` has no ``quantization_config``.

    Raises:
        FileProblem: no such file, not JSON, an architecture that is not covered, or keys that are missing or not of the
            right type (each one a note).
    """
    file = path / "config.json" if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise FileProblem(f"{path}: no config.json in this directory")
    raw = _json_object(file)
    text = raw.get("text_config")
    config: dict[str, Any] = {**raw, **text} if isinstance(text, dict) else raw  # the language part of a larger model

    name = _architecture_name(file, raw, config)
    keys = _Keys(config)
    architecture = _architecture(keys, name)
    quantization = _quantization(file, config, keys, architecture)
    if keys.problems or architecture is None:
        raise FileProblem(f"{file}: not a config.json that can be computed with", *sorted(keys.problems))

    folder = file.resolve().parent.name
    lowered = folder.lower()
    checkpoint = Checkpoint(
        repository=str(path),
        short=folder,
        quantization=quantization,
        tool_call_parser=next((parser for pattern, parser in _TOOL_PARSERS if pattern.search(lowered)), None),
        notes=("Read from a local config.json.",),
    )
    model = ModelFile(name=folder, family="local", architecture=architecture, sources=(), checkpoints=(checkpoint,))
    return ResolvedCheckpoint(model, checkpoint, architecture, path=str(file))


def _json_object(file: Path) -> dict[str, Any]:
    text = read_text(file)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileProblem(f"{file}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise FileProblem(f"{file}: not a config.json: nested too deeply") from None
    if not isinstance(data, dict):
        raise FileProblem(f"{file}: not a config.json: an object was expected, not {_type_name(data)}")
    return data


def _architecture_name(file: Path, raw: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    names = raw.get("architectures", config.get("architectures"))
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise FileProblem(f"{file}: `architectures` must be a list of names, it says which model this is")
    for name in names:
        if name in SUPPORTED:
            return str(name)
    raise FileProblem(f"{file}: the architecture {names[0]} is not covered", f"covered: {', '.join(sorted(SUPPORTED))}")


class _Keys:
    """Typed look-ups that collect what is wrong instead of stopping at it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.problems: list[str] = []

    def get(self, key: str, kind: Callable[[Any], T | None], wanted: str, default: T | None = None) -> T | None:
        value = self.config.get(key)
        if value is None:
            if default is None:
                self.problems.append(f"`{key}` is missing ({wanted} was expected)")
            return default
        read = kind(value)
        if read is None:
            self.problems.append(f"`{key}` is {_show(value)}, {wanted} was expected")
            return default
        return read

    def size(self, key: str, default: int | None = None) -> int:
        """A whole number above zero; 1 stands in for what is wrong, so that reading goes on."""
        return self.get(key, _positive_int, "a whole number above 0", default) or 1

    def count(self, key: str, default: int) -> int:
        found = self.get(key, _natural, "a whole number", default)
        return default if found is None else found

    def flag(self, key: str, default: bool) -> bool:
        found = self.get(key, lambda value: value if isinstance(value, bool) else None, "true or false", default)
        return default if found is None else found

    def indices(self, key: str) -> tuple[int, ...]:
        return self.get(key, _indices, "a list of layer numbers", ()) or ()


def _architecture(keys: _Keys, name: str) -> Architecture | None:
    hidden, heads, layers = keys.size("hidden_size"), keys.size("num_attention_heads"), keys.size("num_hidden_layers")
    kind = SUPPORTED[name]
    dense_width = keys.size("intermediate_size", 1 if kind != "dense" else None)
    head_dim = keys.config.get("head_dim")
    if head_dim is None and hidden % heads and not keys.problems:
        keys.problems.append(f"`head_dim` is missing, and `hidden_size` {hidden} is not a multiple of {heads} heads")
    theta, scaling = _positions(keys)
    # Only Llama's configuration takes the number of heads where the key is missing; the Qwen classes have their own.
    kv_heads = keys.size("num_key_value_heads", heads) if name in _LLAMA else keys.size("num_key_value_heads")
    if heads % kv_heads and not keys.problems:
        keys.problems.append(f"`num_key_value_heads` {kv_heads} does not divide `num_attention_heads` {heads}")
    moe = _moe(keys, name, layers) if kind != "dense" else None
    linear = _linear_attention(keys) if kind == "next" else None
    architecture_fields: dict[str, Any] = {
        "architecture": name,
        "hidden_size": hidden,
        "intermediate_size": dense_width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": keys.size("head_dim", max(1, hidden // heads)),
        "vocab_size": keys.size("vocab_size"),
        "max_position_embeddings": keys.size("max_position_embeddings"),
        "rope_theta": theta,
        "tie_word_embeddings": keys.flag("tie_word_embeddings", False),
        # vLLM gives Qwen2 a bias on q, k and v whatever config.json says; `qkv_bias` is Qwen2-MoE's key for it
        "attention_bias": keys.flag("qkv_bias", True) if name in _QWEN2 else keys.flag("attention_bias", False),
        "qk_norm": name in _QK_NORM,
        "attn_output_gate": kind == "next",
        "moe": moe,
        "linear_attention": linear,
        "rope_scaling": scaling,
    }
    return None if keys.problems else Architecture(**architecture_fields)


def _moe(keys: _Keys, name: str, layers: int) -> MixtureOfExperts:
    step = keys.size("decoder_sparse_step", 1)
    dense = set(keys.indices("mlp_only_layers"))
    dense.update(layer for layer in range(min(layers, 4096)) if (layer + 1) % step)
    experts, active = keys.size("num_experts"), keys.size("num_experts_per_tok")
    if active > experts and not keys.problems:
        keys.problems.append(f"`num_experts_per_tok` {active} is more than `num_experts` {experts}")
    if dense and "intermediate_size" not in keys.config:
        keys.problems.append("`intermediate_size` is missing, and some layers have a dense MLP")
    return MixtureOfExperts(
        num_experts=experts,
        num_experts_per_tok=active,
        moe_intermediate_size=keys.size("moe_intermediate_size"),
        # Qwen3-MoE files carry the key, but vLLM's Qwen3-MoE has no shared expert
        shared_expert_intermediate_size=0
        if name == "Qwen3MoeForCausalLM"
        else keys.count("shared_expert_intermediate_size", 0),
        dense_layers=tuple(sorted(dense)),
    )


def _linear_attention(keys: _Keys) -> LinearAttention:
    interval = keys.config.get("full_attention_interval")
    types = keys.config.get("layer_types")
    if interval is None and isinstance(types, list) and "full_attention" in types:
        interval = types.index("full_attention") + 1
        expected = ["full_attention" if (i + 1) % interval == 0 else "linear_attention" for i in range(len(types))]
        if types != expected:
            keys.problems.append("`layer_types` does not repeat regularly, which is not covered")
    elif interval is None:
        interval = keys.size("full_attention_interval")
    else:
        interval = keys.size("full_attention_interval")
    return LinearAttention(
        full_attention_interval=interval,
        num_key_heads=keys.size("linear_num_key_heads"),
        num_value_heads=keys.size("linear_num_value_heads"),
        key_head_dim=keys.size("linear_key_head_dim"),
        value_head_dim=keys.size("linear_value_head_dim"),
        conv_kernel_dim=keys.size("linear_conv_kernel_dim"),
    )


def _positions(keys: _Keys) -> tuple[float, dict[str, float | int | str] | None]:
    """``rope_theta`` and the published scaling, from ``rope_scaling`` (transformers 4) or ``rope_parameters`` (5)."""
    source = "rope_parameters" if keys.config.get("rope_parameters") is not None else "rope_scaling"
    given = keys.config.get(source)
    if given is not None and not isinstance(given, dict):
        keys.problems.append(f"`{source}` is {_show(given)}, an object was expected")
        given = None
    given = given or {}
    theta = given.get("rope_theta", keys.config.get("rope_theta", 10000.0))
    if isinstance(theta, bool) or not isinstance(theta, (int, float)) or not theta > 0:
        keys.problems.append(f"`rope_theta` is {_show(theta)}, a number above 0 was expected")
        theta = 10000.0
    kind = given.get("rope_type", given.get("type", "default"))
    if kind == "default":
        return float(theta), None
    plain = {key: value for key, value in given.items() if isinstance(value, (int, float, str)) and key != "rope_theta"}
    plain.pop("type", None)
    return float(theta), {"rope_type": str(kind), **plain}


def _quantization(
    file: Path, config: Mapping[str, Any], keys: _Keys, architecture: Architecture | None
) -> Quantization:
    given = config.get("quantization_config", config.get("compression_config"))
    where = "quantization_config"
    beside = file.parent / "hf_quant_config.json"
    if given is None and beside.is_file():
        given, where = _json_object(beside), beside.name
    if given is None:
        return Quantization()
    if not isinstance(given, dict):
        keys.problems.append(f"`{where}` is {_show(given)}, an object was expected")
        return Quantization()
    try:
        return read_quantization(given, architecture)
    except QuantizationError as problem:
        keys.problems.append(f"`{where}`: {problem}")
        return Quantization()


def _positive_int(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1 or not 0 < value < 2**40:
        return None
    return int(value)


def _natural(value: Any) -> int | None:
    return 0 if value == 0 and not isinstance(value, bool) else _positive_int(value)


def _indices(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    numbers = [_natural(item) for item in value]
    return None if None in numbers else tuple(number for number in numbers if number is not None)


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _type_name(value: Any) -> str:
    return {list: "a list", str: "a string", bool: "true or false", type(None): "null"}.get(type(value), "a number")
