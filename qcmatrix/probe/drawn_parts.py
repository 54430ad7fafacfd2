"""What drawn launches are made of: each option with the values that users give it, sound and odd."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.launch.yarn import native_positions

__all__ = ["PARTS", "Model", "Part"]

_T = TypeVar("_T")


class _Chooser(Protocol):
    def pick(self, options: Sequence[_T]) -> _T: ...

    def chance(self, probability: float) -> bool: ...


class Part(msgspec.Struct, frozen=True):
    """An option with its values, or options that belong together."""

    words: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


class Model(msgspec.Struct, frozen=True):
    """What the parts have to know of the model."""

    native: int
    """Positions."""
    rope_theta: float
    layers: int
    dense: bool
    hybrid: bool
    quantized: str
    """``none``, ``fp8``, ``awq``, ``gptq``, ``compressed-tensors``."""

    @staticmethod
    def of(checkpoint: ResolvedCheckpoint) -> Model:
        """What the parts have to know of ``checkpoint``."""
        shape = checkpoint.architecture
        return Model(
            native=native_positions(shape, checkpoint.checkpoint),
            rope_theta=shape.rope_theta,
            layers=shape.num_hidden_layers,
            dense=shape.moe is None,
            hybrid=shape.linear_attention is not None,
            quantized=checkpoint.checkpoint.quantization.method,
        )


Maker = Callable[[_Chooser, Model, Release, float, float], Part | None]
"""(choices, model, release, how many options, how odd) -> the part, or ``None``: it is left out."""


def _option(name: str, probability: float, sound: tuple[str, ...], odd: tuple[str, ...] = ()) -> Maker:
    """An option of one value; an empty text stands for no value at all."""

    def make(choose: _Chooser, _: Model, __: Release, amount: float, oddness: float) -> Part | None:
        if not choose.chance(probability * amount):
            return None
        value = choose.pick(odd if odd and (not sound or choose.chance(oddness)) else sound)
        words = (name,) if value == "" else (f"{name}={value}",) if choose.chance(0.1) else (name, value)
        return Part(words)

    return make


def _switch(probability: float, *names: str) -> Maker:
    """One of some switches."""

    def make(choose: _Chooser, _: Model, __: Release, amount: float, ___: float) -> Part | None:
        return Part((choose.pick(names),)) if choose.chance(probability * amount) else None

    return make


def _variable(name: str, probability: float, values: tuple[str, ...]) -> Maker:
    """An environment variable."""

    def make(choose: _Chooser, _: Model, __: Release, amount: float, ___: float) -> Part | None:
        if not choose.chance(probability * amount):
            return None
        return Part(env=((name, choose.pick(values)),))

    return make


def _tensor_parallel(choose: _Chooser, _: Model, __: Release, ___: float, oddness: float) -> Part | None:
    size = choose.pick((3, 5, 6, 12, 32, 64) if choose.chance(oddness) else (1, 2, 4, 8, 4, 8, 2, 16))
    if size == 1:
        return None
    forms = (("-tp", str(size)), ("--tensor-parallel-size", str(size)), (f"--tensor-parallel-size={size}",))
    return Part(choose.pick(forms))


def _pipeline(choose: _Chooser, model: Model, _: Release, amount: float, oddness: float) -> Part | None:
    if not choose.chance(0.1 + 0.1 * amount):
        return None
    stages = choose.pick((2, 2, 3, 4, 7))
    words = (choose.pick(("--pipeline-parallel-size", "-pp")), str(stages))
    if not choose.chance(0.3):
        return Part(words)
    layers = [model.layers // stages] * stages
    layers[-1] += model.layers - sum(layers)
    if choose.chance(oddness):
        layers[0] += 1
    if choose.chance(oddness):
        layers.pop()
    return Part(words, (("VLLM_PP_LAYER_PARTITION", ",".join(map(str, layers))),))


def _data_parallel(choose: _Chooser, _: Model, __: Release, amount: float, ___: float) -> Part | None:
    if not choose.chance(0.15 + 0.15 * amount):
        return None
    name = choose.pick(("--data-parallel-size", "-dp"))
    return Part((name, str(choose.pick((2, 2, 4, 8)))))


def _expert_parallel(choose: _Chooser, model: Model, _: Release, __: float, oddness: float) -> Part | None:
    likely = oddness if model.dense else 0.45
    return Part(("--enable-expert-parallel",)) if choose.chance(likely) else None


def _eplb(choose: _Chooser, model: Model, _: Release, amount: float, oddness: float) -> Part | None:
    if not choose.chance(0.08 * amount if not model.dense else 0.3 * oddness * amount):
        return None
    words: tuple[str, ...] = ("--enable-eplb",)
    if choose.chance(0.7):
        words += ("--eplb-config", json.dumps({"num_redundant_experts": choose.pick((0, 2, 16, 32))}))
    return Part(words)


def _length(choose: _Chooser, model: Model, _: Release, __: float, oddness: float) -> Part | None:
    if not choose.chance(0.6):
        return None
    native = model.native
    sound = ("4096", "8192", "32k", "32K", str(native), str(native // 2), "16384", "20_000")
    odd = ("65536", "131072", str(native + 1), "200K", "256K", "262144", "1048576", "1M", "1000000", "-1", "auto", "0")
    value = choose.pick((*odd, "524288", "200.5k", "1.5M", "-2") if choose.chance(2 * oddness) else sound)
    return Part((f"--max-model-len={value}",) if value.startswith("-") else ("--max-model-len", value))


def _positions(choose: _Chooser, model: Model, release: Release, amount: float, oddness: float) -> Part | None:
    """YaRN in every form, and overrides of the length alone."""
    if not choose.chance(0.12 + 0.2 * amount):
        return None
    factor = choose.pick((2.0, 4.0, 4, 8.0, 1.5))
    original = choose.pick((model.native, model.native, model.native, 32768, 262144))
    scaling: dict[str, Any] = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    if choose.chance(oddness / 2):
        scaling["type"] = scaling.pop("rope_type")
    if choose.chance(0.6):
        scaling["rope_theta"] = model.rope_theta
    if model.hybrid and choose.chance(0.5):
        scaling["partial_rotary_factor"] = 0.25
    if choose.chance(oddness / 2):
        scaling.pop(choose.pick(sorted(set(scaling) - {"rope_theta", "partial_rotary_factor"})))
    overrides: dict[str, Any] = {choose.pick(("rope_scaling", "rope_parameters")): scaling}
    if choose.chance(0.5):
        overrides["max_position_embeddings"] = int(original * factor)
    if choose.chance(oddness / 2):
        overrides["rope_theta"] = model.rope_theta
    if choose.chance(0.12):
        overrides = {"max_position_embeddings": int(model.native * factor)}
    reach = int(original * factor)
    words: tuple[str, ...]
    if choose.chance(0.2 if "rope_scaling" in release.flag_by_dest else 0.03):
        words = ("--rope-scaling", json.dumps(scaling))
    elif choose.chance(0.1) and all(isinstance(value, dict) for value in overrides.values()):
        words = tuple(
            word
            for key, inner in overrides.items()
            for name, value in inner.items()
            for word in (f"--hf-overrides.{key}.{name}", str(value))
        )
    else:
        words = ("--hf-overrides", json.dumps(overrides))
    if choose.chance(0.5):
        words += ("--max-model-len", str(choose.pick((reach, reach // 2, reach, reach + 1))))
    env = (("VLLM_ALLOW_LONG_MAX_MODEL_LEN", choose.pick(("1", "true", "0"))),) if choose.chance(0.1) else ()
    return Part(words, env)


def _tools(choose: _Chooser, _: Model, release: Release, amount: float, oddness: float) -> Part | None:
    if not choose.chance(0.4 * amount + 0.05):
        return None
    parsers = [name for name in ("qwen3_coder", "hermes", "qwen3_xml") if name in release.file.tool_parsers]
    parser = choose.pick(("qwen_coder", "qwen3_coder", "qwen3_xml", "none") if choose.chance(oddness) else parsers)
    both = ("--enable-auto-tool-choice", "--tool-call-parser", parser)
    return Part(choose.pick((both[:1], both[1:])) if choose.chance(oddness) else both)


def _reasoning(choose: _Chooser, _: Model, release: Release, amount: float, oddness: float) -> Part | None:
    if not choose.chance(0.06 * amount):
        return None
    known = [name for name in ("qwen3", "deepseek_r1") if name in release.file.reasoning_parsers]
    return Part(("--reasoning-parser", "nonesuch" if choose.chance(oddness) else choose.pick(known)))


def _quantization(choose: _Chooser, model: Model, _: Release, amount: float, oddness: float) -> Part | None:
    if not choose.chance(0.15 * amount):
        return None
    online = ("fp8", "fp8", "fp8_per_block", "fp8_per_tensor")
    odd = ("awq", "awq_marlin", "gptq", "gptq_marlin", "compressed-tensors", "modelopt", "bitsandbytes", "fp8", "foo")
    sound = online if model.quantized == "none" else (model.quantized,)
    return Part(("--quantization", choose.pick(odd if choose.chance(oddness) else sound)))


def _speculation(choose: _Chooser, model: Model, _: Release, amount: float, oddness: float) -> Part | None:
    if not choose.chance(0.08 * amount):
        return None
    sound: list[dict[str, Any]] = [{"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}]
    if model.hybrid:
        sound.append({"method": "qwen3_next_mtp", "num_speculative_tokens": 2})
    odd: list[dict[str, Any]] = [{"method": "ngram"}, {"method": "qwen3_next_mtp", "num_speculative_tokens": 2}]
    return Part(("--speculative-config", json.dumps(choose.pick(odd if choose.chance(oddness) else sound))))


_COMPILATION: Final = (
    '{"cudagraph_mode":"FULL_AND_PIECEWISE"}',
    '{"cudagraph_mode":"FULL_DECODE_ONLY"}',
    '{"cudagraph_mode":"PIECEWISE","use_inductor":true}',
    '{"cudagraph_capture_sizes":[1,2,4,8]}',
    '{"level":3}',
    '{"mode":3}',
    '{"mode":"VLLM_COMPILE"}',
    '{"nonesuch":1}',
    "3",
)


def _compilation(choose: _Chooser, _: Model, __: Release, amount: float, ___: float) -> Part | None:
    if not choose.chance(0.1 * amount):
        return None
    if choose.chance(0.4):
        return Part(choose.pick((("-O0",), ("-O", "2"), ("-O3",), ("-O=1",), ("-O", "5"))))
    return Part(("--compilation-config", choose.pick(_COMPILATION)))


PARTS: Final[tuple[Maker, ...]] = (
    _tensor_parallel,
    _pipeline,
    _data_parallel,
    _expert_parallel,
    _eplb,
    _option("-dcp", 0.1, ("1", "2", "4"), ("8", "16", "3")),
    _option(
        "--all2all-backend",
        0.06,
        ("naive", "allgather_reducescatter"),
        ("pplx", "deepep_high_throughput", "deepep_low_latency", "nonesuch"),
    ),
    _length,
    _positions,
    _variable("VLLM_ALLOW_LONG_MAX_MODEL_LEN", 0.1, ("1", "true", "0")),
    _option(
        "--kv-cache-dtype",
        0.3,
        ("fp8", "auto", "fp8_e4m3", "bfloat16"),
        ("fp8_e5m2", "fp8_inc", "int8", "nvfp4"),
    ),
    _switch(0.07, "--calculate-kv-scales"),
    _option("--max-num-seqs", 0.35, ("1", "16", "64", "128", "256", "512", "1024"), ("0", "4096", "-1", "1k")),
    _option(
        "--max-num-batched-tokens",
        0.35,
        ("1024", "2048", "8192", "16K", "16k", "32768"),
        ("0", "128", "512", "262144", "auto"),
    ),
    _switch(0.25, "--enable-chunked-prefill", "--no-enable-chunked-prefill"),
    _switch(0.2, "--enable-prefix-caching", "--no-enable-prefix-caching"),
    _option("--block-size", 0.15, ("16", "32", "64", "128"), ("8", "24", "1", "256")),
    _tools,
    _reasoning,
    _quantization,
    _option("--dtype", 0.2, ("bfloat16", "auto", "float16", "half"), ("float32", "fp16", "float")),
    _option("--gpu-memory-utilization", 0.3, ("0.9", "0.95", "0.85", "1.0"), ("1.1", "0", "90", "-0.1")),
    _switch(0.15, "--enforce-eager"),
    _switch(0.1, "--trust-remote-code"),
    _option("--swap-space", 0.05, ("16", "4")),
    _option("--max-seq-len-to-capture", 0.04, ("32768",)),
    _switch(0.05, "--disable-log-requests", "--no-enable-log-requests", "--enable-log-requests"),
    _option(
        "--moe-backend",
        0.05,
        ("triton", "auto"),
        ("deep_gemm", "cutlass", "flashinfer_cutlass", "marlin"),
    ),
    _option(
        "--attention-backend",
        0.08,
        ("FLASH_ATTN", "FLASHINFER", "TRITON_ATTN"),
        ("flash_attn", "XFORMERS", "FLEX_ATTENTION"),
    ),
    _variable("VLLM_ATTENTION_BACKEND", 0.06, ("FLASH_ATTN", "FLASHINFER", "TRITON_ATTN")),
    _variable("VLLM_USE_DEEP_GEMM", 0.12, ("0", "1")),
    _variable("VLLM_USE_V1", 0.04, ("1",)),
    _option("--cpu-offload-gb", 0.04, ("10", "0")),
    _speculation,
    _compilation,
    _switch(0.05, "--async-scheduling", "--no-async-scheduling"),
    _option("--kv-cache-memory-bytes", 0.04, ("20G", "10000000000"), ("20GiB",)),
    _option("--num-gpu-blocks-override", 0.04, ("4096",), ("100",)),
    _option("--seed", 0.05, ("1", "0"), ("x",)),
    _switch(0.03, "--enable-lora"),
    _option("--max-lora-rank", 0.02, ("16", "64"), ("33",)),
    _option("--mamba-cache-mode", 0.03, ("none", "align"), ("all", "x")),
    _option("--mamba-ssm-cache-dtype", 0.03, ("float32", "auto"), ("float16", "x")),
    _option("--data-parallel-size-local", 0.03, ("1", "2"), ("16",)),
    _option("--data-parallel-backend", 0.02, ("mp",), ("ray",)),
    _option("--distributed-executor-backend", 0.04, ("mp",), ("uni",)),
    _option("--load-format", 0.03, ("auto", "safetensors"), ("dummy",)),
    _option("--served-model-name", 0.08, ("qwen3-coder",)),
    _option("--host", 0.08, ("0.0.0.0",)),  # noqa: S104 - a word of a command
    _option("--port", 0.06, ("8001",), ("x",)),
    _option("--generation-config", 0.04, ("vllm", "auto")),
    # Below -1 newer releases refuse it in their configuration class; no rule foretells that yet, so it is not drawn.
    _option("--max-logprobs", 0.02, ("20",), ("-1",)),
    _option("--nonesuch", 0.02, ("1", "")),
)
"""Every part, in the order of the words."""
