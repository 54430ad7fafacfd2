"""Rule: ``--hf-overrides`` of what the model is made of."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

# Judged by the rules on positions.
_POSITIONS = frozenset(
    {"rope_scaling", "rope_parameters", "rope_theta", "max_position_embeddings", "partial_rotary_factor"}
)
_DECIDING = frozenset(
    {
        "architectures",
        "attn_output_gate",
        "decoder_sparse_step",
        "dtype",
        "full_attention_interval",
        "head_dim",
        "hidden_size",
        "intermediate_size",
        "layer_types",
        "linear_conv_kernel_dim",
        "linear_key_head_dim",
        "linear_num_key_heads",
        "linear_num_value_heads",
        "linear_value_head_dim",
        "max_window_layers",
        "mlp_only_layers",
        "model_type",
        "moe_intermediate_size",
        "num_attention_heads",
        "num_experts",
        "num_experts_per_tok",
        "num_hidden_layers",
        "num_key_value_heads",
        "quantization_config",
        "shared_expert_intermediate_size",
        "sliding_window",
        "text_config",
        "tie_word_embeddings",
        "torch_dtype",
        "use_sliding_window",
        "vocab_size",
    }
)


@rule(
    holds=Range("0.10.0"),
    reads=("override_keys",),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/model.py",
            "hf_overrides_kw[key] = value",
            Level.DERIVED,
        ),
        RuleSource(
            "https://docs.vllm.ai/en/v0.33.0/configuration/engine_args/",
            "If a dictionary, contains arguments to be forwarded to the Hugging Face config.",
        ),
    ),
)
def hf_overrides_change_architecture(deployment: Deployment) -> Verdict:
    """What the model is made of is overridden

    What it finds
    `--hf-overrides` with keys other than those on positions (`rope_scaling`, `rope_parameters`, `rope_theta`,
    `max_position_embeddings`).

    Why it fails
    It may not fail. vLLM takes the value in place of the checkpoint's: another number of layers, heads or experts is
    another model, for which the weights, the KV cache and every answer given here are different. Whether the
    published weights still load into it cannot be told from here.

    What to do
    Leave such keys to the checkpoint's own `config.json`.

    Not covered
    Keys on positions, which have rules of their own.
    """
    others = [key for key in deployment.override_keys if key not in _POSITIONS]
    deciding = [key for key in others if key in _DECIDING]
    if deciding:
        return Unknown(f"--hf-overrides replaces {', '.join(deciding)}: that is another model than the one sized here")
    if others:
        return Unknown(f"what --hf-overrides does with {', '.join(others)} is not looked at", decides=False)
    return None
