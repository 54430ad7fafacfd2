"""A deployment: a launch with everything that decides its fate filled in.

Rules and the memory model read a deployment and nothing else. Every attribute is a plain value; the attributes named in
a rule's ``reads`` are looked up here. What differs between launches can be hashed, ``options`` and ``env`` excepted, so
that a verdict can be remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.gpus import Gpu
from qcmatrix.catalogue.models import Architecture, Checkpoint, Quantization
from qcmatrix.catalogue.releases import Release
from qcmatrix.launch.parsed import Problem
from qcmatrix.launch.rope import RopeRequest

__all__ = ["Deployment", "RopeRequest", "Speculation"]


class Speculation(msgspec.Struct, frozen=True, kw_only=True):
    """Speculative decoding as asked for."""

    method: str | None
    """``mtp``, ``ngram``, ``eagle3`` ...; ``None``: vLLM tells it from the draft model."""
    model: str | None
    """The draft model."""
    num_speculative_tokens: int | None
    draft_tensor_parallel_size: int | None = None


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What one ``vllm serve`` will be: flat, typed, with the release's defaults filled in.

    ``None`` for a value that was not given means that vLLM decides it; the comments say how. A struct rather than a
    dataclass because ``msgspec.structs.replace`` makes one out of another in a microsecond.
    """

    # What it is made of
    release: Release
    fleet: Fleet
    gpu: Gpu
    checkpoint: Checkpoint
    architecture: Architecture
    quantization: Quantization
    """In effect: the checkpoint's, or online ``--quantization fp8`` of a 16-bit checkpoint."""
    options: Mapping[str, Any]
    """Only what was given, by dest."""
    env: Mapping[str, str]
    unknown: tuple[str, ...]
    """Words that the release's surface does not know."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the words of the command, where it was read from words."""
    model: str = ""
    """As the command names it: repository, path, or nothing."""
    given: frozenset[str] = frozenset()
    """Dests of ``options``: what was asked for, as against what is a default."""

    # Parallelism
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    decode_context_parallel_size: int = 1
    prefill_context_parallel_size: int = 1
    enable_expert_parallel: bool = False
    pipeline_partition: tuple[int, ...] | None = None
    """``VLLM_PP_LAYER_PARTITION``."""
    data_parallel_size_local: int | None = None
    """Data parallel ranks on this node; ``None``: all of them, or what the backend makes of it."""
    data_parallel_rank: int | None = None
    data_parallel_start_rank: int | None = None
    data_parallel_backend: str = "mp"
    """``mp`` or ``ray``."""
    data_parallel_external_lb: bool = False
    data_parallel_hybrid_lb: bool = False
    nnodes: int = 1
    """``--nnodes``: nodes of one engine under the multiprocessing executor (0.11.1 and later)."""
    node_rank: int = 0
    headless: bool = False
    distributed_executor_backend: str | None = None
    """``mp``, ``ray``, ``uni``, ``external_launcher``; ``None``: vLLM chooses."""
    all2all_backend: str | None = None
    """``--all2all-backend`` or ``VLLM_ALL2ALL_BACKEND``."""
    enable_eplb: bool = False
    num_redundant_experts: int = 0
    enable_dbo: bool = False
    disable_custom_all_reduce: bool = False

    # Weights
    quantization_flag: str | None = None
    """``--quantization`` as given; ``None``: not given."""
    dtype: str = "auto"
    load_format: str = "auto"
    trust_remote_code: bool = False
    model_impl: str = "auto"
    cpu_offload_gb: float = 0.0
    """GiB of weights per GPU that live in host memory."""
    moe_backend: str = "auto"
    linear_backend: str = "auto"
    enable_lora: bool = False
    max_loras: int = 1
    max_lora_rank: int = 16

    # Length and memory
    max_model_len: int | None = None
    """As asked; ``None``: not given (native length applies); ``-1``: ``auto``."""
    context: int = 0
    """The length that will be served: ``max_model_len``, or the native (or YaRN-extended) length. Under ``-1`` that is
    the upper bound: vLLM takes what the memory holds."""
    gpu_memory_utilization: float = 0.9
    kv_cache_memory_bytes: int | None = None
    kv_cache_dtype: str = "auto"
    calculate_kv_scales: bool = False
    block_size: int | None = None
    """As given; ``None``: the attention backend decides (16 for most)."""
    max_num_batched_tokens: int = 2048
    """Filled in from the release's defaults when not given."""
    max_num_seqs: int = 256
    """Filled in likewise."""
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool | None = None
    """``None``: not given; on, except for hybrid models in most releases."""
    swap_space_gib: float | None = None
    """Per GPU; ``None``: the release has no swap space."""
    kv_offloading_size: float | None = None
    """GiB of host memory for KV blocks, all ranks together."""
    num_gpu_blocks_override: int | None = None
    disable_hybrid_kv_cache_manager: bool | None = None
    mamba_cache_dtype: str = "auto"
    mamba_ssm_cache_dtype: str = "auto"
    mamba_block_size: int | None = None
    mamba_cache_mode: str | None = None
    """``None``: not given."""
    attention_backend: str | None = None
    """``--attention-backend``, ``--attention-config.backend`` or ``VLLM_ATTENTION_BACKEND``, in upper case."""
    kv_transfer: bool = False
    """``--kv-transfer-config`` is given."""
    enable_sleep_mode: bool = False

    # Compilation and CUDA graphs
    enforce_eager: bool = False
    optimization_level: int | None = None
    """``-O0`` to ``-O3`` of 0.12.0 and later; ``None``: not given."""
    compilation_mode: int | str | None = None
    """``--compilation-config`` ``mode`` (``level`` up to 0.11.0), as given."""
    cudagraph_mode: str | None = None
    """``NONE``, ``PIECEWISE``, ``FULL``, ``FULL_DECODE_ONLY``, ``FULL_AND_PIECEWISE``; ``None``: not given."""
    cudagraph_capture_sizes: tuple[int, ...] | None = None
    max_cudagraph_capture_size: int | None = None
    async_scheduling: bool | None = None
    performance_mode: str = "balanced"

    # Positions
    rope: RopeRequest | None = None
    """How YaRN (or another scaling) was asked for; ``None``: it was not."""
    override_keys: tuple[str, ...] = ()
    """Keys of ``--hf-overrides``, sorted."""

    # Decoding
    speculation: Speculation | None = None
    max_logprobs: int = 20

    # Serving
    enable_auto_tool_choice: bool = False
    tool_call_parser: str | None = None
    tool_parser_plugin: str | None = None
    reasoning_parser: str | None = None
    chat_template: str | None = None
    generation_config: str = "auto"
    served_model_names: tuple[str, ...] = ()
    """As clients have to ask for it: ``--served-model-name``, or the model as the command names it."""
    host: str | None = None
    port: int = 8000
    uds: str | None = None
    """Unix domain socket that is listened on instead of host and port."""
    ssl_given: bool = False
    """A TLS certificate is given."""
    api_key_given: bool = False
    """``--api-key`` on the command line."""
    api_key_in_env: bool = False
    """``VLLM_API_KEY``."""
    api_server_count: int | None = None
    config_file: str | None = None
    """``--config``: options that stand in a file, not looked at."""

    @property
    def cuda_graphs(self) -> bool:
        """Are CUDA graphs captured, as far as the options say?"""
        return not (self.enforce_eager or self.cudagraph_mode == "NONE" or self.optimization_level == 0)
