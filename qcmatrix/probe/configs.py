"""The ``config.json`` of a checkpoint, for a release that is to be asked: no weights, no tokenizer, no network."""

from __future__ import annotations

from typing import Any

from qcmatrix.catalogue.models import Architecture, Quantization, ResolvedCheckpoint

__all__ = ["config_json"]

_MODEL_TYPES = {
    "Qwen3MoeForCausalLM": "qwen3_moe",
    "Qwen3NextForCausalLM": "qwen3_next",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen2ForCausalLM": "qwen2",
    "LlamaForCausalLM": "llama",
}
_ROTARY_SHARE_OF_NEXT = 0.25
"""``partial_rotary_factor`` of every published Qwen3-Next: https://huggingface.co/Qwen/Qwen3-Coder-Next, 2026-11-22."""


def config_json(checkpoint: ResolvedCheckpoint) -> dict[str, Any]:
    """What vLLM reads of ``checkpoint`` before any weight: the keys that decide shapes, positions and quantization.

    Keys that decide nothing here (dropout, token ids, cache flags) are left out.
    :func:`qcmatrix.catalogue.models.resolve_model` reads the same architecture and quantization from it again.

    Raises:
        KeyError: an architecture that the catalogue does not have.
    """
    shape = checkpoint.architecture
    config: dict[str, Any] = {
        "architectures": [shape.architecture],
        "model_type": _MODEL_TYPES[shape.architecture],
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.max_position_embeddings,
        "rms_norm_eps": 1e-6,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tie_word_embeddings,
        "torch_dtype": "bfloat16",
        # Qwen2's class has the bias whatever the file says, and its published files do not say it.
        **({} if shape.architecture == "Qwen2ForCausalLM" else {"attention_bias": shape.attention_bias}),
        **({"rope_scaling": dict(shape.rope_scaling)} if shape.rope_scaling else {}),
        **_experts(shape),
        **_linear_attention(shape),
    }
    quantization = _quantization(checkpoint.quantization, shape)
    return config if quantization is None else {**config, "quantization_config": quantization}


def _experts(shape: Architecture) -> dict[str, Any]:
    moe = shape.moe
    if moe is None:
        return {}
    shared = moe.shared_expert_intermediate_size
    return {
        "num_experts": moe.num_experts,
        "num_experts_per_tok": moe.num_experts_per_tok,
        "moe_intermediate_size": moe.moe_intermediate_size,
        "decoder_sparse_step": 1,
        "mlp_only_layers": list(moe.dense_layers),
        "norm_topk_prob": True,
        **({"shared_expert_intermediate_size": shared} if shared else {}),
    }


def _linear_attention(shape: Architecture) -> dict[str, Any]:
    linear = shape.linear_attention
    if linear is None:
        return {}
    return {
        "full_attention_interval": linear.full_attention_interval,
        "linear_num_key_heads": linear.num_key_heads,
        "linear_num_value_heads": linear.num_value_heads,
        "linear_key_head_dim": linear.key_head_dim,
        "linear_value_head_dim": linear.value_head_dim,
        "linear_conv_kernel_dim": linear.conv_kernel_dim,
        "partial_rotary_factor": _ROTARY_SHARE_OF_NEXT,
    }


def _quantization(stored: Quantization, shape: Architecture) -> dict[str, Any] | None:
    if stored.method == "none":
        return None
    kept = _in_16_bit(shape, fp8=stored.method == "fp8")
    if stored.method == "fp8":
        block = {"weight_block_size": list(stored.block)} if stored.block else {}
        return {
            "quant_method": "fp8",
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            **block,
            "modules_to_not_convert": ["lm_head", *kept],
        }
    if stored.method == "awq":
        return {
            "quant_method": "awq",
            "bits": stored.weight_bits,
            "group_size": stored.group_size,
            "zero_point": not stored.symmetric,
            "version": "gemm",
            "modules_to_not_convert": kept or None,
        }
    if stored.method == "gptq":
        return {
            "quant_method": "gptq",
            "bits": stored.weight_bits,
            "group_size": stored.group_size,
            "desc_act": False,
            "sym": stored.symmetric,
            "lm_head": False,
            **({"dynamic": {"-:.*mlp.gate.*": {}}} if shape.moe else {}),
        }
    return _compressed_tensors(stored, shape)


def _in_16_bit(shape: Architecture, *, fp8: bool) -> list[str]:
    """The small modules that every published file keeps in 16 bit.

    FP8 files name them layer by layer, and vLLM compares whole names; for AWQ it looks for a part of the name.
    """
    names = ["mlp.gate"] if shape.moe else []
    if shape.linear_attention is not None:
        names += ["mlp.shared_expert_gate", "linear_attn.in_proj_ba", "linear_attn.conv1d"]
    if not fp8:
        return names
    return [f"model.layers.{layer}.{name}" for layer in range(shape.num_hidden_layers) for name in names]


def _compressed_tensors(stored: Quantization, shape: Architecture) -> dict[str, Any]:
    nvfp4 = stored.weight_bits == 4 and stored.activation_bits == 4
    if nvfp4:
        weights = _scheme(4, "float", "tensor_group", stored.group_size, dynamic=False)
        activations = _scheme(4, "float", "tensor_group", stored.group_size, dynamic="local")
    else:
        weights = _scheme(stored.weight_bits, "float", "channel", None, dynamic=False)
        activations = _scheme(stored.activation_bits, "float", "token", None, dynamic=True)
    ignored = ["lm_head"]
    if shape.moe:
        ignored.append("re:.*mlp.gate$")
    if shape.linear_attention is not None:
        ignored.append("re:.*mlp.shared_expert_gate$")
    if "linear_attention" in stored.unquantized:
        ignored.append("re:.*linear_attn.*")
    return {
        "quant_method": "compressed-tensors",
        "format": "nvfp4-pack-quantized" if nvfp4 else "float-quantized",
        "quantization_status": "compressed",
        "ignore": ignored,
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": weights,
                "input_activations": activations,
                "output_activations": None,
            }
        },
    }


def _scheme(bits: int, kind: str, strategy: str, group: int | None, *, dynamic: bool | str) -> dict[str, Any]:
    return {
        "num_bits": bits,
        "type": kind,
        "symmetric": True,
        "strategy": strategy,
        "group_size": group,
        "dynamic": dynamic,
    }
