"""``quantization_config`` of a checkpoint in the words of :class:`~qcmatrix.catalogue.models.Quantization`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from qcmatrix.catalogue.models import Architecture, Quantization

__all__ = ["QuantizationError", "read_quantization"]


class QuantizationError(ValueError):
    """What is wrong with it, in one sentence."""


def read_quantization(config: Mapping[str, Any], architecture: Architecture | None = None) -> Quantization:
    """The quantization that ``config`` states: fp8, awq, gptq, compressed-tensors or modelopt.

    ``architecture`` says which layers have which parts; without it a part that is skipped in one layer counts as
    skipped in all.

    Raises:
        QuantizationError: a method that is not covered, values that are missing or not of the right type, or a part
            that is kept in 16 bit in some layers only.
    """
    found = _read(config)
    if architecture is not None:
        for key in ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules"):
            _same_in_all_layers(_strings({**config, **_mapping(config.get("quantization"))}, key), architecture)
    return found


def _read(config: Mapping[str, Any]) -> Quantization:
    quantization = config.get("quantization")
    if isinstance(quantization, dict) and "quant_method" not in config:  # hf_quant_config.json
        return _modelopt({**config, **quantization})
    method = config.get("quant_method")
    if method is None and "quant_algo" in config:
        method = "modelopt"
    if not isinstance(method, str):
        raise QuantizationError("`quant_method` must say how the weights are stored")
    name = method.lower().replace("_", "-")
    if name == "fp8":
        return _fp8(config)
    if name == "awq":
        return _awq(config)
    if name == "gptq":
        return _gptq(config)
    if name == "compressed-tensors":
        return _compressed_tensors(config)
    if name in ("modelopt", "modelopt-fp4"):
        return _modelopt(config)
    raise QuantizationError(
        f"the method {method!r} is not covered (covered: fp8, awq, gptq, compressed-tensors, modelopt)"
    )


def _fp8(config: Mapping[str, Any]) -> Quantization:
    block = config.get("weight_block_size")
    if block is not None and (not isinstance(block, list) or len(block) != 2 or not all(_is_size(b) for b in block)):
        raise QuantizationError("`weight_block_size` must be two whole numbers")
    parts, layers = _kept(_strings(config, "modules_to_not_convert", "ignored_layers"))
    return Quantization(
        method="fp8",
        weight_bits=8,
        block=None if block is None else (block[0], block[1]),
        activation_bits=8,
        unquantized=_with_head(parts),  # vLLM's FP8 leaves it alone whether listed or not
        unquantized_layers=layers,
    )


def _with_head(parts: tuple[str, ...]) -> tuple[str, ...]:
    return ("lm_head", *(part for part in parts if part != "lm_head"))


def _awq(config: Mapping[str, Any]) -> Quantization:
    bits = _size(config, "bits", "w_bit")
    if bits != 4:
        raise QuantizationError(f"AWQ with {bits} bits: vLLM takes 4 only")
    parts, layers = _kept(_strings(config, "modules_to_not_convert"))
    zero_point = config.get("zero_point", True)
    return Quantization(
        method="awq",
        weight_bits=bits,
        group_size=_group(config, "group_size", "q_group_size"),
        symmetric=not zero_point,
        unquantized=_with_head(parts),  # AWQ packs the layers only
        unquantized_layers=layers,
    )


def _gptq(config: Mapping[str, Any]) -> Quantization:
    if any(value for key, value in _mapping(config.get("dynamic")).items() if not str(key).startswith("-:")):
        raise QuantizationError("GPTQ with other bits for some modules (`dynamic`) is not covered")
    skipped = [str(key)[2:] for key in _mapping(config.get("dynamic")) if str(key).startswith("-:")]
    parts, layers = _kept([*skipped, *_strings(config, "modules_to_not_convert")])
    return Quantization(
        method="gptq",
        weight_bits=_size(config, "bits"),
        group_size=_group(config, "group_size"),
        symmetric=bool(config.get("sym", True)),
        unquantized=parts if config.get("lm_head") is True else _with_head(parts),
        unquantized_layers=layers,
    )


def _compressed_tensors(config: Mapping[str, Any]) -> Quantization:
    groups = [_mapping(group) for group in _mapping(config.get("config_groups")).values()]
    if not groups:
        raise QuantizationError("`config_groups` is missing or empty")
    schemes = {_scheme(group) for group in groups}
    if len(schemes) > 1:
        raise QuantizationError("groups with different precisions (`config_groups`) are not covered")
    bits, group_size, block, symmetric, is_float, activation_bits = schemes.pop()
    parts, layers = _kept(_strings(config, "ignore"))
    nvfp4 = is_float and bits == 4
    return Quantization(
        method="compressed-tensors",
        weight_bits=bits,
        group_size=group_size,
        block=block,
        scale_bits=8 if nvfp4 else 16,
        activation_bits=activation_bits,
        symmetric=symmetric,
        unquantized=parts,
        unquantized_layers=layers,
    )


def _scheme(group: Mapping[str, Any]) -> tuple[int, int | None, tuple[int, int] | None, bool, bool, int]:
    weights = _mapping(group.get("weights"))
    if not weights:
        raise QuantizationError("a group of `config_groups` has no `weights`")
    block = weights.get("block_structure")
    if block is not None and (not isinstance(block, list) or len(block) != 2 or not all(_is_size(b) for b in block)):
        raise QuantizationError("`block_structure` must be two whole numbers")
    activations = _mapping(group.get("input_activations"))
    return (
        _size(weights, "num_bits"),
        _group(weights, "group_size", default=None),
        None if block is None else (block[0], block[1]),
        weights.get("symmetric", True) is not False,
        weights.get("type") == "float",
        _size(activations, "num_bits") if activations else 16,
    )


def _modelopt(config: Mapping[str, Any]) -> Quantization:
    algorithm = config.get("quant_algo")
    if algorithm is None and "config_groups" in config:
        found = _compressed_tensors(config)
        algorithm = "NVFP4" if found.weight_bits == 4 else "FP8"
    parts, layers = _kept(_strings(config, "exclude_modules", "ignore"))
    if algorithm == "NVFP4":
        return Quantization(
            method="modelopt",
            weight_bits=4,
            group_size=_group(config, "group_size", default=16),
            scale_bits=8,
            activation_bits=4,
            unquantized=parts,
            unquantized_layers=layers,
        )
    if algorithm == "FP8":
        return Quantization(
            method="modelopt", weight_bits=8, activation_bits=8, unquantized=parts, unquantized_layers=layers
        )
    raise QuantizationError(f"ModelOpt's {algorithm!r} is not covered (covered: FP8, NVFP4)")


_PARTS = (
    ("lm_head", re.compile(r"lm_head")),
    ("linear_attention", re.compile(r"linear_attn(?!\W*(?:conv1d|in_proj_(?:ba|b|a)\b|norm|A_log|dt_bias))")),
    ("attention", re.compile(r"self_attn(?!\W*(?:[qk]_norm))")),
    ("shared_expert", re.compile(r"shared_expert(?!_gate)")),
    ("experts", re.compile(r"mlp\W*experts")),
    ("mlp", re.compile(r"mlp(?:\\?\.|\W)*(?:gate_proj|up_proj|gate_up_proj|down_proj|$|\*)")),
)
_ALWAYS_16_BIT = re.compile(r"mlp\W*gate\b|shared_expert_gate|embed|norm|conv1d|in_proj_(?:ba|b|a)\b|router|visual|mtp")


def _kept(modules: Iterable[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What a list of skipped modules (names, prefixes, ``re:`` patterns) leaves in 16 bit: parts, and whole layers.

    A list names every layer's module, or one pattern for all; which of them it is does not matter for the parts.
    """
    parts: set[str] = set()
    layers: set[int] = set()
    for module in modules:
        name = module.removeprefix("re:")
        if whole := re.fullmatch(r"(?:model\.)?(?:language_model\.)?layers\.(\d+)[.*]*", name):
            layers.add(int(whole[1]))
            continue
        found = _parts_named(name)
        if not found and not _ALWAYS_16_BIT.search(name):
            raise QuantizationError(f"cannot tell what the skipped module {module!r} is")
        parts |= found
    return tuple(part for part, _ in _PARTS if part in parts), tuple(sorted(layers))


def _parts_named(name: str) -> set[str]:
    found = {part for part, pattern in _PARTS if pattern.search(name)}
    if "shared_expert" in found:
        found.discard("mlp")
    elif re.search(r"mlp\W*$", name):  # the whole MLP, whatever it is made of
        found |= {"mlp", "experts", "shared_expert"}
    return found


def _same_in_all_layers(modules: Iterable[str], architecture: Architecture) -> None:
    named: dict[str, set[int]] = {}
    everywhere: set[str] = set()
    for module in modules:
        name = module.removeprefix("re:")
        numbered = re.search(r"layers\\?\.(\d+)\\?\.", name)
        for part in _parts_named(name):
            if numbered:
                named.setdefault(part, set()).add(int(numbered[1]))
            else:
                everywhere.add(part)
    layers = set(range(architecture.num_hidden_layers))
    linear = architecture.linear_attention
    full = {i for i in layers if linear is None or (i + 1) % linear.full_attention_interval == 0}
    dense = layers if architecture.moe is None else set(architecture.moe.dense_layers)
    having = {"attention": full, "linear_attention": layers - full, "mlp": dense}
    for part, kept in sorted(named.items()):
        missing = having.get(part, layers - dense) - kept
        if part in everywhere or not missing or not kept & layers:
            continue
        raise QuantizationError(f"{part} stays in 16 bit in some layers only ({_few(kept)}), which is not covered")


def _few(numbers: Iterable[int]) -> str:
    first = sorted(numbers)
    return ", ".join(str(number) for number in first[:4]) + (" ..." if len(first) > 4 else "")


def _strings(config: Mapping[str, Any], *keys: str) -> list[str]:
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise QuantizationError(f"`{key}` must be a list of module names")
        return value
    return []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _size(config: Mapping[str, Any], *keys: str) -> int:
    for key in keys:
        if key in config:
            value = config[key]
            if not _is_size(value):
                raise QuantizationError(f"`{key}` must be a whole number above 0")
            return int(value)
    raise QuantizationError(f"`{keys[0]}` is missing")


def _group(config: Mapping[str, Any], *keys: str, default: int | None = -1) -> int | None:
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        if value == -1:
            return -1
        if not _is_size(value):
            raise QuantizationError(f"`{key}` must be a whole number")
        return int(value)
    if default == -1:
        raise QuantizationError(f"`{keys[0]}` is missing")
    return default
