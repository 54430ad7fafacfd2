"""Options whose attribute of the deployment is made from the value, not just taken over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from qcmatrix.catalogue.models import Checkpoint, Quantization
from qcmatrix.catalogue.releases import Release
from qcmatrix.deployment import Speculation
from qcmatrix.launch.plain import sizes, text, whole
from qcmatrix.versions import Range

__all__ = ["CONVERTED", "Facts", "Made", "online_quantization"]

Made = dict[str, Any]
"""Attributes of the deployment in the making."""


class Facts(NamedTuple):
    """What stays the same for all launches of one resolver."""

    release: Release
    checkpoint: Checkpoint


_CUDAGRAPH_MODES = ("NONE", "PIECEWISE", "FULL")
"""By number, as ``CUDAGraphMode`` counts them; the mixed modes have no number."""
_OPTIMIZATION_LEVELS = Range("0.12.0", None)


def online_quantization(name: str, published: Quantization) -> Quantization:
    """What ``--quantization NAME`` makes of a checkpoint.

    A checkpoint that is quantized already keeps its own format (vLLM checks that the name agrees with it). A name whose
    online format is not known here leaves the checkpoint's as well: a rule says so.
    """
    return _ONLINE.get(name, published) if published.method == "none" else published


# Linear weights and experts in 8 bit, the rest as published: docs/features/quantization/online.md of 0.33.0 and
# vllm/model_executor/layers/quantization/{fp8,ptpc_fp8}.py.
_FP8 = Quantization(method="fp8", weight_bits=8, activation_bits=8, unquantized=("lm_head",))
_ONLINE: Final[Mapping[str, Quantization]] = {
    "fp8": _FP8,
    "fp8_per_tensor": _FP8,
    "fp8_per_channel": _FP8,
    "ptpc_fp8": _FP8,
    "fp8_per_block": Quantization(
        method="fp8", weight_bits=8, activation_bits=8, block=(128, 128), unquantized=("lm_head",)
    ),
}


# Options whose attribute is made from the value. Each: (value, the attributes so far, facts).


def _quantization(value: Any, made: Made, facts: Facts) -> None:
    if value is not None:
        made["quantization_flag"] = value
        made["quantization"] = online_quantization(str(value), facts.checkpoint.quantization)


def _swap_space(value: Any, made: Made, facts: Facts) -> None:
    if value is not None and "swap_space" in facts.release.flag_by_dest:
        made["swap_space_gib"] = float(value)


def _chunked(value: Any, made: Made, facts: Facts) -> None:
    if value is False and not facts.release.file.scheduler.chunking_forced:
        made["enable_chunked_prefill"] = False


def _served_names(value: Any, made: Made, _: Facts) -> None:
    if value:
        made["served_model_names"] = (value,) if isinstance(value, str) else tuple(value)


def _graph_sizes(value: Any, made: Made, _: Facts) -> None:
    found = sizes(value)
    if found is not None and len(found) == 1:  # one number is the largest size (0.10.0 up to 0.12.0)
        made["max_cudagraph_capture_size"] = found[0]
    elif found:
        made["cudagraph_capture_sizes"] = found


def _capture_sizes(value: Any, made: Made, _: Facts) -> None:
    found = sizes(value)
    if found is not None:
        made["cudagraph_capture_sizes"] = found


def _compilation(value: Any, made: Made, facts: Facts) -> None:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        made["compilation_mode"] = value  # --compilation-config 3
    if not isinstance(value, dict):
        return
    mode = value.get("mode", value.get("level"))
    if isinstance(mode, (int, str)):
        made["compilation_mode"] = mode
    graphs = value.get("cudagraph_mode")
    if isinstance(graphs, str):
        made["cudagraph_mode"] = graphs.upper()
    elif isinstance(graphs, int) and 0 <= graphs < len(_CUDAGRAPH_MODES):
        made["cudagraph_mode"] = _CUDAGRAPH_MODES[graphs]
    elif value.get("use_cudagraph") is False:
        made["cudagraph_mode"] = "NONE"
    # The options of their own win; vLLM refuses both at once.
    if not made["options"].get("cudagraph_capture_sizes"):
        _capture_sizes(value.get("cudagraph_capture_sizes"), made, facts)
    largest = whole(value.get("max_cudagraph_capture_size"))
    if largest is not None and made["options"].get("max_cudagraph_capture_size") is None:
        made["max_cudagraph_capture_size"] = largest


def _optimization_level(value: Any, made: Made, facts: Facts) -> None:
    if str(value).isdecimal() and facts.release.version in _OPTIMIZATION_LEVELS:
        made["optimization_level"] = int(value)


def _speculative(value: Any, made: Made, _: Facts) -> None:
    if isinstance(value, dict) and value:
        made["speculation"] = Speculation(
            method=text(value.get("method")),
            model=text(value.get("model")),
            num_speculative_tokens=whole(value.get("num_speculative_tokens")),
            draft_tensor_parallel_size=whole(value.get("draft_tensor_parallel_size")),
        )


def _speculative_short(value: Any, made: Made, _: Facts) -> None:
    options = made["options"]
    if value is not None and not options.get("speculative_config"):
        made["speculation"] = Speculation(
            method=text(options.get("spec_method")),
            model=text(options.get("spec_model")),
            num_speculative_tokens=whole(options.get("spec_tokens")),
        )


def _attention_config(value: Any, made: Made, _: Facts) -> None:
    backend = value.get("backend") if isinstance(value, dict) else None
    if isinstance(backend, str) and not made["options"].get("attention_backend"):
        made["attention_backend"] = backend.upper()


def _attention_backend(value: Any, made: Made, _: Facts) -> None:
    if value:
        made["attention_backend"] = str(value).upper()


def _override_keys(value: Any, made: Made, _: Facts) -> None:
    if isinstance(value, dict):
        made["override_keys"] = tuple(sorted(map(str, value)))


def _eplb(value: Any, made: Made, _: Facts) -> None:
    redundant = whole(value.get("num_redundant_experts")) if isinstance(value, dict) else None
    if redundant is not None:
        made["num_redundant_experts"] = redundant


def _api_key(value: Any, made: Made, _: Facts) -> None:
    made["api_key_given"] = bool(value)


def _kv_transfer(value: Any, made: Made, _: Facts) -> None:
    made["kv_transfer"] = bool(value)


def _certificate(value: Any, made: Made, _: Facts) -> None:
    made["ssl_given"] = bool(value)


def _config_file(value: Any, made: Made, _: Facts) -> None:
    made["config_file"] = text(value)


CONVERTED: Final[Mapping[str, Callable[[Any, Made, Facts], None]]] = {
    "quantization": _quantization,
    "swap_space": _swap_space,
    "enable_chunked_prefill": _chunked,
    "served_model_name": _served_names,
    "cuda_graph_sizes": _graph_sizes,
    "cudagraph_capture_sizes": _capture_sizes,
    "compilation_config": _compilation,
    "optimization_level": _optimization_level,
    "speculative_config": _speculative,
    "spec_method": _speculative_short,
    "spec_model": _speculative_short,
    "spec_tokens": _speculative_short,
    "attention_config": _attention_config,
    "attention_backend": _attention_backend,
    "hf_overrides": _override_keys,
    "eplb_config": _eplb,
    "api_key": _api_key,
    "kv_transfer_config": _kv_transfer,
    "ssl_certfile": _certificate,
    "config": _config_file,
}
