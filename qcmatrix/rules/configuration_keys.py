"""The keys of JSON options that become a configuration class: which release takes which.

Read from the class bodies of every release from 0.13.0 to 0.33.0 (``vllm/config/*.py``) on 2026-11-22; only fields that
the constructor takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from qcmatrix.versions import Range, Version

__all__ = ["CLASSES", "ConfigurationClass", "known_keys"]


class ConfigurationClass(msgspec.Struct, frozen=True):
    """One class of vLLM that a JSON option is turned into."""

    name: str
    forbids: Range
    """Releases that refuse a key that the class does not have; older ones drop it without a word."""
    always: str
    """Keys, blank between them, that all of those releases take."""
    some: tuple[tuple[str, str | None, str | None], ...]
    """(key, first release, first release without it)."""


_STRICT: Final = Range("0.16.0", None)
_COMPILATION_STRICT: Final = Range("0.13.0", None)

CLASSES: Final[Mapping[str, ConfigurationClass]] = {
    "compilation_config": ConfigurationClass(
        "CompilationConfig",
        _COMPILATION_STRICT,
        "backend cache_dir compile_cache_save_format compile_mm_encoder compile_sizes "
        "cudagraph_capture_sizes cudagraph_copy_inputs cudagraph_mode cudagraph_num_of_warmups "
        "cudagraph_specialize_lora custom_ops debug_dump_path dynamic_shapes_config "
        "inductor_compile_config inductor_passes max_cudagraph_capture_size mode pass_config "
        "splitting_ops use_inductor_graph_partition",
        (
            ("compile_ranges_endpoints", "0.18.0", None),
            ("compile_ranges_split_points", None, "0.18.0"),
            ("cudagraph_decoder_replay", "0.32.0", None),
            ("cudagraph_mm_encoder", "0.19.0", None),
            ("decoder_replay_cudagraph_capture_sizes", "0.32.0", None),
            ("decoder_replay_trim_threshold", "0.32.0", None),
            ("encoder_cudagraph_max_frames_per_batch", "0.20.0", None),
            ("encoder_cudagraph_max_images_per_batch", "0.19.0", "0.20.0"),
            ("encoder_cudagraph_max_vision_items_per_batch", "0.20.0", None),
            ("encoder_cudagraph_token_budgets", "0.19.0", None),
            ("fast_moe_cold_start", "0.16.0", None),
            ("ir_enable_torch_wrap", "0.20.0", None),
            ("level", None, "0.18.0"),
        ),
    ),
    "compilation_config.pass_config": ConfigurationClass(
        "PassConfig",
        _COMPILATION_STRICT,
        "eliminate_noops enable_qk_norm_rope_fusion fi_allreduce_fusion_max_size_mb fuse_act_quant "
        "fuse_allreduce_rms fuse_attn_quant fuse_norm_quant",
        (
            ("enable_sp", None, "0.32.0"),
            ("fuse_act_padding", "0.16.0", None),
            ("fuse_gemm_comms", None, "0.32.0"),
            ("fuse_minimax_qk_norm", "0.19.1", "0.24.0"),
            ("fuse_mla_dual_rms_norm", "0.20.0", None),
            ("fuse_qk_norm_rope_kvcache", "0.26.0", None),
            ("fuse_rope_kvcache", "0.17.0", None),
            ("fuse_rope_kvcache_cat_mla", "0.22.0", None),
            ("rope_kvcache_fusion_max_token_num", "0.17.0", None),
            ("sp_min_token_num", "0.17.0", "0.32.0"),
        ),
    ),
    "eplb_config": ConfigurationClass(
        "EPLBConfig",
        _STRICT,
        "log_balancedness log_balancedness_interval num_redundant_experts policy step_interval use_async window_size",
        (
            ("communicator", "0.20.0", None),
            ("enable_migration_batching", "0.32.0", None),
        ),
    ),
    "attention_config": ConfigurationClass(
        "AttentionConfig",
        _STRICT,
        "backend disable_flashinfer_q_quantization flash_attn_max_num_splits_for_cuda_graph "
        "flash_attn_version use_trtllm_attention",
        (
            ("backend_per_kind", "0.26.0", None),
            ("disable_flashinfer_prefill", None, "0.22.0"),
            ("flex_attn_block_m", "0.22.0", None),
            ("flex_attn_block_n", "0.22.0", None),
            ("flex_attn_kv_block_size", "0.22.0", None),
            ("flex_attn_q_block_size", "0.22.0", None),
            ("hisparse_config", "0.30.0", None),
            ("indexer_kv_dtype", "0.24.0", None),
            ("indexer_sparse_logits", "0.31.0", None),
            ("indexer_tp_shard_min_rows", "0.33.0", None),
            ("minimax_m3_indexer_cp", "0.33.0", None),
            ("minimax_m3_msa_decode_backend", "0.27.0", None),
            ("mla_prefill_backend", "0.21.0", None),
            ("sparse_mla_force_mqa", "0.26.0", None),
            ("sparse_mla_prefill_workspace_factor", "0.32.0", None),
            ("tokenspeed_mla_min_split_kv", "0.32.0", None),
            ("tq_max_kv_splits_for_cuda_graph", "0.20.0", None),
            ("trtllm_ragged_backend", "0.33.0", None),
            ("use_cudnn_prefill", None, "0.22.0"),
            ("use_fp4_indexer_cache", "0.20.0", "0.30.0"),
            ("use_non_causal", "0.21.0", None),
            ("use_prefill_decode_attention", None, "0.29.0"),
            ("use_prefill_query_quantization", "0.17.0", None),
            ("use_trtllm_ragged_deepseek_prefill", None, "0.22.0"),
        ),
    ),
    "speculative_config": ConfigurationClass(
        "SpeculativeConfig",
        _STRICT,
        "code_revision disable_padded_drafter_batch draft_model_config draft_parallel_config "
        "draft_tensor_parallel_size enforce_eager max_model_len method model num_speculative_tokens "
        "parallel_drafting prompt_lookup_max prompt_lookup_min quantization revision "
        "suffix_decoding_max_cached_requests suffix_decoding_max_spec_factor "
        "suffix_decoding_max_tree_depth suffix_decoding_min_token_prob target_model_config "
        "target_parallel_config tensor_parallel_size",
        (
            ("attention_backend", "0.21.0", None),
            ("disable_by_batch_size", None, "0.17.0"),
            ("disable_eagle_block_drop", "0.30.0", None),
            ("disable_lookahead_block_hashes", "0.33.0", None),
            ("draft_lm_head_quantization", "0.33.0", None),
            ("draft_load_config", "0.17.0", None),
            ("draft_sample_method", "0.21.0", None),
            ("dspark_draft_topk", "0.28.0", None),
            ("enable_adaptive_verification", "0.28.0", None),
            ("fly_entropy_threshold", "0.33.0", None),
            ("fly_entropy_top_k", "0.33.0", None),
            ("fly_window_size", "0.33.0", None),
            ("index_share_for_mtp_iteration", "0.29.0", None),
            ("kv_cache_dtype", "0.26.0", None),
            ("moe_backend", "0.19.0", None),
            ("num_speculative_tokens_per_batch_size", "0.24.0", None),
            ("rejection_sample_method", "0.18.0", None),
            ("speculative_token_tree", None, "0.21.0"),
            ("synthetic_acceptance_length", "0.20.0", None),
            ("synthetic_acceptance_rate", "0.19.0", "0.20.0"),
            ("synthetic_acceptance_rates", "0.20.0", None),
            ("use_heterogeneous_vocab", "0.25.0", None),
            ("use_local_argmax_reduction", "0.17.0", None),
            ("xpress_topc", "0.33.0", None),
        ),
    ),
    "structured_outputs_config": ConfigurationClass(
        "StructuredOutputsConfig",
        _STRICT,
        "backend disable_additional_properties disable_any_whitespace enable_in_reasoning "
        "reasoning_parser reasoning_parser_plugin",
        (("disable_fallback", None, "0.18.0"),),
    ),
}
"""By option (dest); ``compilation_config.pass_config`` is the dictionary inside."""


@lru_cache(maxsize=512)
def known_keys(option: str, version: Version) -> frozenset[str] | None:
    """The keys that ``option`` may have in that release; ``None``: it refuses none."""
    found = CLASSES[option]
    if version not in found.forbids:
        return None
    some = (key for key, low, high in found.some if version in Range(low, high))
    return frozenset((*found.always.split(), *some))
