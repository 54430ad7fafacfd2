"""How a release plans the KV cache for a given free memory: its own spec classes, grouping, length check and estimate.

Everything that decides a number is vLLM's own code: the spec classes and their page sizes, the calculators of the state
shapes, the raising of the block size of hybrid models, the grouping of layers, the length check and its estimate, and
the two log lines. What stands in for the rest is a configuration object with plain attributes, and the KV heads per
rank; what the layers of a real model ask for is the matter of ``kv_specs.py``.

A question: ``layers``, ``kv_heads`` (of the model), ``head_dim``, ``linear`` (``null``, or the numbers of the gated
delta-net layers), ``tp``, ``stages`` (layers of each pipeline stage), ``kv_cache_dtype``, ``block_size`` or ``null``,
``dcp``, ``max_model_len``, ``available`` (bytes, one per stage), ``override`` (``num_gpu_blocks_override``, ``null``),
``prefix_caching`` (bool), ``ssm_dtype`` (``auto`` or a dtype), ``speculative`` (tokens), ``checkpoints`` (bool: what a
FlashInfer gated delta-net layer declares in 0.33.0), ``capability`` (9.0 where it is not said).

What is replaced in vLLM's modules for one question is put back after it: other questions go to the same process.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from qcmatrix_worker import groups, pretend

__all__ = ["HANDLERS"]

Question = dict[str, Any]


def answer_kv_plan(question: Question) -> dict[str, Any]:
    """Blocks, tokens, concurrency and the verdict of the length check; bytes unless said otherwise.

    ``groups`` are the sizes of the cache groups, in layers, of each stage; ``state_mode`` is the Mamba cache mode.
    """
    groups.ready()
    capability = question.get("capability") or pretend.H200.capability
    pretend.set_card(capability=(capability[0], capability[1]))
    with contextlib.ExitStack() as patches:
        return _answer(question, patches)


def _answer(question: Question, patches: contextlib.ExitStack) -> dict[str, Any]:
    config = _config(question)
    length = question["max_model_len"]
    utils = importlib.import_module("vllm.v1.core.kv_cache_utils")
    try:
        planning = importlib.import_module("vllm.v1.core.kv_cache_planning")
    except ImportError:
        planning = utils
    stages, attention, state = _specs(question, config, patches)
    recorder = _Recorder()
    for module in {id(module): module for module in (utils, planning)}.values():
        patches.enter_context(mock.patch.object(module, "logger", recorder))
    checks: list[dict[str, int]] = []

    def keep(available: int, needed: int, estimate: Callable[[int], int]) -> None:
        # The search of the older releases leaves its last try in the configuration.
        largest = estimate(available)
        config.model_config.max_model_len = length
        checks.append({"available": available, "needed": needed, "estimate": largest})

    if hasattr(planning, "_check_enough_kv_cache_memory"):
        check: Any = lambda available, needed, _length, estimate: keep(available, needed(), estimate)  # noqa: E731
        patches.enter_context(mock.patch.object(planning, "_check_enough_kv_cache_memory", check))
    else:
        check = lambda _config, spec, available: keep(  # noqa: E731
            available,
            planning.max_memory_usage_bytes(config, spec.values()),
            lambda memory: planning.estimate_max_model_len(config, spec, memory),
        )
        patches.enter_context(mock.patch.object(planning, "check_enough_kv_cache_memory", check))
    configs = _plan(planning, config, stages, question["available"])
    if not recorder.tokens:  # from 0.28 the engine core logs the line, later
        recorder.tokens = [utils.get_kv_cache_capacity(config, one)[0] for one in configs]
    attention_groups = [
        group.kv_cache_spec.block_size
        for group in configs[0].kv_cache_groups
        if isinstance(group.kv_cache_spec, type(attention))
    ]
    return {
        "block_size": max(attention_groups)
        if question["linear"]
        else configs[0].kv_cache_groups[0].kv_cache_spec.block_size,
        "page_bytes": configs[0].kv_cache_groups[0].kv_cache_spec.page_size_bytes,
        "groups": [sorted(len(group.layer_names) for group in one.kv_cache_groups) for one in configs],
        "state_mode": config.cache_config.mamba_cache_mode if state else None,
        "blocks": min(one.num_blocks for one in configs),
        "tokens": min(recorder.tokens),
        "max_concurrency": utils.get_max_concurrency_for_kv_cache_config(config, configs[0]),
        "needed_bytes": max(one["needed"] for one in checks),
        "largest_context": min(one["estimate"] for one in checks),
        "admits": all(one["available"] > 0 and one["needed"] <= one["available"] for one in checks),
    }


def _plan(planning: Any, config: Any, stages: list[dict[str, Any]], available: list[int]) -> list[Any]:
    if hasattr(planning, "get_global_kv_cache_groups"):
        cache_groups = planning.get_global_kv_cache_groups(config, stages)
        return list(planning.get_kv_cache_configs(config, stages, available, cache_groups))
    if hasattr(planning, "get_kv_cache_configs"):
        return list(planning.get_kv_cache_configs(config, stages, available))
    configs = [planning.get_kv_cache_config(config, spec, have) for spec, have in zip(stages, available, strict=True)]
    planning.unify_kv_cache_configs(configs)
    return configs


class _Recorder:
    """A logger that keeps the tokens of the KV cache's line."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def __getattr__(self, _name: str) -> Any:
        return self._keep

    def _keep(self, message: Any, *args: Any, **_kwargs: Any) -> None:
        if isinstance(message, str) and "KV cache size: %s tokens" in message:
            texts = [str(arg) for arg in args]
            digits = next(text for text in texts if text.replace(",", "").isdigit())
            self.tokens.append(int(digits.replace(",", "")))


def _config(question: Question) -> Any:
    """The attributes of a ``VllmConfig`` that the planning code reads."""
    import torch

    try:
        from vllm.v1.kv_cache_layout import KVCacheLayout

        cache_layout = KVCacheLayout.LBNHC
    except ImportError:
        cache_layout = None
    block_size = question["block_size"]
    cache = SimpleNamespace(
        block_size=block_size or 16,
        user_specified_block_size=block_size is not None,
        user_specified_mamba_block_size=False,
        cache_dtype=question["kv_cache_dtype"],
        num_gpu_blocks_override=question["override"],
        enable_prefix_caching=question["prefix_caching"],
        mamba_block_size=None,
        mamba_page_size_padded=None,
        mamba_cache_mode="none",
        mamba_cache_dtype="auto",
        mamba_ssm_cache_dtype=question["ssm_dtype"],
        calculate_kv_scales=False,
        kv_cache_dtype_skip_layers=[],
        prefix_cache_retention_interval=None,
        prefix_match_unit=None,
        use_replayssm=False,
        kv_cache_layout=None,
        get_resolved_kv_cache_layout=lambda: cache_layout,
    )
    kv_heads = max(1, question["kv_heads"] // question["tp"])
    model = SimpleNamespace(
        model="asked",
        max_model_len=question["max_model_len"],
        original_max_model_len=question["max_model_len"],
        dtype=torch.bfloat16,
        use_mla=False,
        is_hybrid=question["linear"] is not None,
        architecture="Qwen3NextForCausalLM",
        architectures=["Qwen3NextForCausalLM"],
        _model_info=SimpleNamespace(architecture="Qwen3NextForCausalLM"),
        hf_config=SimpleNamespace(model_type="qwen3_next"),
        hf_text_config=SimpleNamespace(model_type="qwen3_next"),
        supports_mamba_prefix_caching=False,
        get_num_kv_heads=lambda _parallel: kv_heads,
        get_head_size=lambda: question["head_dim"],
        get_mamba_chunk_size=lambda: None,
        supports_kv_cache_grouping=False,
    )
    speculative = SimpleNamespace(
        num_speculative_tokens=question["speculative"],
        use_eagle=lambda: False,
        use_eagle_block_drop=lambda: False,
        use_multi_module_mtp=lambda: False,
    )
    return SimpleNamespace(
        cache_config=cache,
        model_config=model,
        parallel_config=SimpleNamespace(
            tensor_parallel_size=question["tp"],
            decode_context_parallel_size=question["dcp"],
            prefill_context_parallel_size=1,
        ),
        scheduler_config=SimpleNamespace(
            disable_hybrid_kv_cache_manager=False, enable_chunked_prefill=True, max_num_batched_tokens=8192
        ),
        compilation_config=SimpleNamespace(cudagraph_mode=None, static_forward_context={}),
        attention_config=SimpleNamespace(hisparse_config=None, backend=None),
        device_config=SimpleNamespace(device_type="cuda"),
        speculative_config=speculative if question["speculative"] else None,
        num_speculative_tokens=question["speculative"],
        num_prefill_lookahead_tokens=0,
        kv_transfer_config=None,
        additional_config={},
    )


def _state_shapes_and_dtypes(question: Question, config: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The state of one gated delta-net layer, from vLLM's calculators."""
    from vllm.model_executor.layers.mamba.mamba_utils import MambaStateDtypeCalculator, MambaStateShapeCalculator

    linear = question["linear"]
    shapes = MambaStateShapeCalculator.gated_delta_net_state_shape(
        question["tp"],
        linear["num_key_heads"],
        linear["num_value_heads"],
        linear["key_head_dim"],
        linear["value_head_dim"],
        linear["conv_kernel_dim"],
        question["speculative"],
    )
    dtype_of = MambaStateDtypeCalculator.gated_delta_net_state_dtype
    arguments = [config.model_config.dtype, config.cache_config.mamba_cache_dtype]
    if "mamba_ssm_cache_dtype" in inspect.signature(dtype_of).parameters:
        arguments.append(config.cache_config.mamba_ssm_cache_dtype)
    return tuple(shapes), tuple(dtype_of(*arguments))


def _align_hybrid(
    question: Question, config: Any, patches: contextlib.ExitStack
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Let the release raise the block size."""
    shapes, dtypes = _state_shapes_and_dtypes(question, config)

    class Model:
        @classmethod
        def get_mamba_state_shape_from_config(cls, _config: Any) -> Any:
            return shapes

        @classmethod
        def get_mamba_state_dtype_from_config(cls, _config: Any) -> Any:
            return dtypes

    import vllm.model_executor.models.config as model_config
    from vllm.model_executor.models import ModelRegistry
    from vllm.platforms.interface import Platform

    resolve = lambda *_, **__: (Model, "asked")  # noqa: E731
    patches.enter_context(mock.patch.object(type(ModelRegistry), "resolve_model_cls", resolve))
    patches.enter_context(mock.patch.dict("os.environ", {"VLLM_USE_V1": "1"}))
    model_config.HybridAttentionMambaModelConfig.verify_and_update_config(config)
    if hasattr(Platform, "_align_hybrid_block_size"):
        _align_on_platform(question, config, patches)
    elif hasattr(Platform, "update_block_size_for_backend"):
        Platform.update_block_size_for_backend(config)
    return shapes, dtypes


def _align_on_platform(question: Question, config: Any, patches: contextlib.ExitStack) -> None:
    """The same from 0.20.0 on, where the platform does it by the attention backend."""
    import vllm.config.vllm
    import vllm.model_executor.layers.mamba.abstract as abstract
    from vllm.platforms.interface import Platform
    from vllm.v1.attention.backend import MultipleOf

    class Backend:
        """The sizes and the spec hook of FlashAttentionBackend for head sizes up to 256 outside Blackwell."""

        @staticmethod
        def get_supported_kernel_block_sizes(*_args: Any, **_kwargs: Any) -> list[Any]:
            return [MultipleOf(16)]

        @classmethod
        def customize_spec(cls, spec: Any) -> Any:
            return spec

    @contextlib.contextmanager
    def nothing(*_: Any, **__: Any) -> Iterator[None]:
        yield

    patches.enter_context(mock.patch.object(vllm.config.vllm, "set_current_vllm_config", nothing))
    if hasattr(Platform, "_find_non_ssm_backends"):
        patches.enter_context(
            mock.patch.object(Platform, "_find_non_ssm_backends", staticmethod(lambda _config: [Backend]))
        )
    if hasattr(abstract, "get_mamba_prefill_checkpoint_alignment"):
        alignment = 64 if question["checkpoints"] and config.cache_config.mamba_cache_mode == "align" else None
        aligned = lambda _config: alignment  # noqa: E731
        patches.enter_context(mock.patch.object(abstract, "get_mamba_prefill_checkpoint_alignment", aligned))
    Platform._align_hybrid_block_size(config, Backend)


def _specs(question: Question, config: Any, patches: contextlib.ExitStack) -> tuple[list[dict[str, Any]], Any, Any]:
    """One dict of layer name -> spec for each pipeline stage, in the order in which the runner collects its layers."""
    import vllm.v1.core.kv_cache_utils as utils
    import vllm.v1.kv_cache_interface as interface

    shapes, dtypes = _align_hybrid(question, config, patches) if question["linear"] else ((), ())
    attention = _build(
        interface.FullAttentionSpec,
        block_size=config.cache_config.block_size,
        num_kv_heads=config.model_config.get_num_kv_heads(config.parallel_config),
        head_size=question["head_dim"],
        dtype=_cache_torch_dtype(question, config),
        use_mla=False,
        kv_quant_mode=(
            interface.get_kv_quant_mode(question["kv_cache_dtype"]) if hasattr(interface, "get_kv_quant_mode") else None
        ),
    )
    state = None
    if question["linear"]:
        mode = config.cache_config.mamba_cache_mode
        state = _build(
            interface.MambaSpec,
            shapes=shapes,
            dtypes=dtypes,
            block_size=config.cache_config.mamba_block_size or config.model_config.max_model_len,
            page_size_padded=config.cache_config.mamba_page_size_padded,
            mamba_cache_mode=mode,
            num_speculative_blocks=question["speculative"],
            num_prefill_checkpoint_blocks=int(question["checkpoints"] and mode == "align"),
        )
    # up to 0.11.0 the runner collects attention layers before state layers
    attention_first = not hasattr(utils, "_report_kv_cache_config") and not hasattr(utils, "get_kv_cache_capacity")
    interval = question["linear"]["full_attention_interval"] if question["linear"] else 1
    stages, layer = [], 0
    for count in question["stages"]:
        own = list(range(layer, layer + count))
        layer += count
        if attention_first:
            own.sort(key=lambda index: ((index + 1) % interval != 0, index))
        stages.append({f"layer.{index}": attention if (index + 1) % interval == 0 else state for index in own})
    return stages, attention, state


def _build(kind: Any, **values: Any) -> Any:
    accepted = {field for base in kind.__mro__ for field in getattr(base, "__annotations__", {})}
    return kind(**{name: value for name, value in values.items() if name in accepted})


def _cache_torch_dtype(question: Question, config: Any) -> Any:
    if question["kv_cache_dtype"] == "auto":
        return config.model_config.dtype
    for name in ("vllm.utils.torch_utils", "vllm.utils"):
        with contextlib.suppress(ImportError, AttributeError):
            return importlib.import_module(name).STR_DTYPE_TO_TORCH_DTYPE[question["kv_cache_dtype"]]
    raise LookupError(question["kv_cache_dtype"])


HANDLERS = {"kv_plan": answer_kv_plan}
