"""Ask a real vLLM release about the KV cache: JSON lines in, JSON lines out.

Runs inside an environment where ``import vllm`` is the release to be asked (a CPU build, or the unpacked sources on
``PYTHONPATH``; the Python files are enough). Everything that decides a number is vLLM's own code: the spec classes and
their page sizes, ``MambaStateShapeCalculator``, the raising of the block size of hybrid models, the grouping of
layers, ``get_kv_cache_config(s)`` with its length check, the estimate, and the two log lines. What stands in for the
rest is a configuration object with plain attributes, and the KV heads per rank.

    python kv_oracle.py < questions.jsonl > answers.jsonl

A question: ``layers``, ``kv_heads`` (of the model), ``head_dim``, ``linear`` (``null``, or the numbers of the gated
delta-net layers), ``tp``, ``stages`` (layers of each pipeline stage), ``kv_cache_dtype``, ``block_size`` or ``null``,
``dcp``, ``max_model_len``, ``available`` (bytes, one per stage), ``override`` (``num_gpu_blocks_override``, ``null``),
``prefix_caching`` (bool), ``ssm_dtype`` (``auto`` or a dtype), ``speculative`` (tokens), ``checkpoints`` (bool: what a
FlashInfer gated delta-net layer declares in 0.33.0).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import inspect
import json
import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules for packages that are not installed: parts of vLLM that the arithmetic never calls want them."""

    def __init__(self) -> None:
        self.missing: set[str] = set()

    def find_spec(self, fullname, _path, _target=None):
        """A spec for a package that was found missing, and for what is inside it."""
        if fullname.partition(".")[0] in self.missing:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        """The stand-in."""
        return _Anything(spec.name)

    def exec_module(self, module):
        """Nothing to run."""


class _Anything(ModuleType):
    """A module that has every public name."""

    __version__ = "0.0.0"
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=name)


def import_release() -> None:
    """Import what is asked, with stand-ins for what is not installed."""
    stand_ins = StandIns()
    sys.meta_path.append(stand_ins)
    wanted = ["vllm.v1.core.kv_cache_utils", "vllm.model_executor.models.config", "vllm.platforms.interface"]
    while wanted:
        try:
            importlib.import_module(wanted[0])
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", "vllm") or package in stand_ins.missing:
                raise
            stand_ins.missing.add(package)
        else:
            del wanted[0]


class Recorder:
    """A logger that keeps the lines of the KV cache."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def __getattr__(self, _name):
        return self._keep

    def _keep(self, message, *args, **_kwargs):
        if isinstance(message, str) and "KV cache size: %s tokens" in message:
            texts = [str(arg) for arg in args]
            digits = next(text for text in texts if text.replace(",", "").isdigit())
            self.tokens.append(int(digits.replace(",", "")))


def _resolved_layout():
    try:
        from vllm.v1.kv_cache_layout import KVCacheLayout
    except ImportError:
        return None
    return KVCacheLayout.LBNHC


def make_config(question):
    """The attributes of a VllmConfig that the planning code reads."""
    import torch

    layout = _resolved_layout()
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
        get_resolved_kv_cache_layout=lambda: layout,
    )
    kv_heads = max(1, question["kv_heads"] // question["tp"])
    model = SimpleNamespace(
        model="oracle",
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
        speculative_config=(
            SimpleNamespace(
                num_speculative_tokens=question["speculative"],
                use_eagle=lambda: False,
                use_eagle_block_drop=lambda: False,
                use_multi_module_mtp=lambda: False,
            )
            if question["speculative"]
            else None
        ),
        num_speculative_tokens=question["speculative"],
        num_prefill_lookahead_tokens=0,
        kv_transfer_config=None,
        additional_config={},
    )


def state_shapes_and_dtypes(question, config):
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


def align_hybrid(question, config):
    """Let the release raise the block size."""
    shapes, dtypes = state_shapes_and_dtypes(question, config)

    class Model:
        @classmethod
        def get_mamba_state_shape_from_config(cls, _config):
            return shapes

        @classmethod
        def get_mamba_state_dtype_from_config(cls, _config):
            return dtypes

    from vllm.model_executor.models import ModelRegistry

    type(ModelRegistry).resolve_model_cls = lambda *_, **__: (Model, "oracle")

    import vllm.model_executor.models.config as model_config
    from vllm.platforms.interface import Platform

    with contextlib.suppress(AttributeError):
        model_config.envs.VLLM_USE_V1 = True
    model_config.HybridAttentionMambaModelConfig.verify_and_update_config(config)
    if hasattr(Platform, "_align_hybrid_block_size"):
        import vllm.config.vllm

        vllm.config.vllm.set_current_vllm_config = lambda *_, **__: contextlib.nullcontext()
        from vllm.v1.attention.backend import MultipleOf

        class Backend:
            """The sizes and the spec hook of FlashAttentionBackend for head sizes up to 256 outside Blackwell."""

            @staticmethod
            def get_supported_kernel_block_sizes(*_args, **_kwargs):
                return [MultipleOf(16)]

            @classmethod
            def customize_spec(cls, spec):
                return spec

        if hasattr(Platform, "_find_non_ssm_backends"):
            Platform._find_non_ssm_backends = staticmethod(lambda _config: [Backend])
        import vllm.model_executor.layers.mamba.abstract as abstract

        if hasattr(abstract, "get_mamba_prefill_checkpoint_alignment"):
            alignment = 64 if question["checkpoints"] and config.cache_config.mamba_cache_mode == "align" else None
            abstract.get_mamba_prefill_checkpoint_alignment = lambda _config: alignment
        Platform._align_hybrid_block_size(config, Backend)
    elif hasattr(Platform, "update_block_size_for_backend"):
        Platform.update_block_size_for_backend(config)
    return shapes, dtypes


def make_specs(question, config):
    """One dict of layer name -> spec for each pipeline stage, in the order in which the model builds its layers."""
    import vllm.v1.kv_cache_interface as interface

    shapes, dtypes = align_hybrid(question, config) if question["linear"] else ((), ())
    dtype = _cache_torch_dtype(question, config)

    def build(kind, **values):
        accepted = {field for base in kind.__mro__ for field in getattr(base, "__annotations__", {})}
        return kind(**{name: value for name, value in values.items() if name in accepted})

    attention = build(
        interface.FullAttentionSpec,
        block_size=config.cache_config.block_size,
        num_kv_heads=config.model_config.get_num_kv_heads(config.parallel_config),
        head_size=question["head_dim"],
        dtype=dtype,
        use_mla=False,
        kv_quant_mode=(
            interface.get_kv_quant_mode(question["kv_cache_dtype"]) if hasattr(interface, "get_kv_quant_mode") else None
        ),
    )
    state = None
    if question["linear"]:
        mode = config.cache_config.mamba_cache_mode
        state = build(
            interface.MambaSpec,
            shapes=shapes,
            dtypes=dtypes,
            block_size=config.cache_config.mamba_block_size or config.model_config.max_model_len,
            page_size_padded=config.cache_config.mamba_page_size_padded,
            mamba_cache_mode=mode,
            num_speculative_blocks=question["speculative"],
            num_prefill_checkpoint_blocks=int(question["checkpoints"] and mode == "align"),
        )
    stages, layer = [], 0
    interval = question["linear"]["full_attention_interval"] if question["linear"] else 1
    attention_first = not hasattr(importlib.import_module("vllm.v1.core.kv_cache_utils"), "_report_kv_cache_config")
    attention_first = attention_first and not hasattr(
        importlib.import_module("vllm.v1.core.kv_cache_utils"), "get_kv_cache_capacity"
    )
    for count in question["stages"]:
        own = range(layer, layer + count)
        layer += count
        if attention_first:  # up to 0.11.0 the runner collects attention layers before state layers
            own = sorted(own, key=lambda index: ((index + 1) % interval != 0, index))
        stages.append({f"layer.{index}": attention if (index + 1) % interval == 0 else state for index in own})
    return stages, attention, state


def _cache_torch_dtype(question, config):
    if question["kv_cache_dtype"] == "auto":
        return config.model_config.dtype
    for name in ("vllm.utils.torch_utils", "vllm.utils"):
        with contextlib.suppress(ImportError, AttributeError):
            return importlib.import_module(name).STR_DTYPE_TO_TORCH_DTYPE[question["kv_cache_dtype"]]
    raise LookupError(question["kv_cache_dtype"])


def answer(question):
    """What the release says."""
    config = make_config(question)
    length = question["max_model_len"]
    utils = importlib.import_module("vllm.v1.core.kv_cache_utils")
    try:
        planning = importlib.import_module("vllm.v1.core.kv_cache_planning")
    except ImportError:
        planning = utils
    stages, attention, state = make_specs(question, config)
    recorder = Recorder()
    utils.logger = planning.logger = recorder
    checks: list[dict[str, int]] = []

    def keep(available, needed, estimate):
        # The search of the older releases leaves its last try in the configuration.
        largest = estimate(available)
        config.model_config.max_model_len = length
        checks.append({"available": available, "needed": needed, "estimate": largest})

    if hasattr(planning, "_check_enough_kv_cache_memory"):
        planning._check_enough_kv_cache_memory = lambda available, needed, _length, estimate: keep(
            available, needed(), estimate
        )
    else:
        planning.check_enough_kv_cache_memory = lambda _config, spec, available: keep(
            available,
            planning.max_memory_usage_bytes(config, spec.values()),
            lambda memory: planning.estimate_max_model_len(config, spec, memory),
        )
    available = question["available"]
    if hasattr(planning, "get_global_kv_cache_groups"):
        groups = planning.get_global_kv_cache_groups(config, stages)
        configs = planning.get_kv_cache_configs(config, stages, available, groups)
    elif hasattr(planning, "get_kv_cache_configs"):
        configs = planning.get_kv_cache_configs(config, stages, available)
    else:
        configs = [
            planning.get_kv_cache_config(config, spec, have) for spec, have in zip(stages, available, strict=True)
        ]
        planning.unify_kv_cache_configs(configs)
    if not recorder.tokens:  # from 0.28 the engine core logs the line, later
        recorder.tokens = [utils.get_kv_cache_capacity(config, one)[0] for one in configs]
    return {
        "block_size": configs[0].kv_cache_groups[0].kv_cache_spec.block_size
        if not question["linear"]
        else max(
            group.kv_cache_spec.block_size
            for group in configs[0].kv_cache_groups
            if isinstance(group.kv_cache_spec, type(attention))
        ),
        "page_bytes": configs[0].kv_cache_groups[0].kv_cache_spec.page_size_bytes,
        "groups": [sorted(len(group.layer_names) for group in one.kv_cache_groups) for one in configs],
        "state_mode": config.cache_config.mamba_cache_mode if state else None,
        "blocks": min(one.num_blocks for one in configs),
        "tokens": min(recorder.tokens),
        "max_concurrency": utils.get_max_concurrency_for_kv_cache_config(config, configs[0]),
        "needed_bytes": max(check["needed"] for check in checks),
        "largest_context": min(check["estimate"] for check in checks),
        "admits": all(check["available"] > 0 and check["needed"] <= check["available"] for check in checks),
    }


def main() -> None:
    """Answer every line of standard input."""
    import_release()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            reply = {"answer": answer(question)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        sys.stdout.write(json.dumps({"question": question, **reply}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
