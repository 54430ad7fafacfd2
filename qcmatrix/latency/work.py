"""How much arithmetic and how many bytes one token costs, by part of the model.

Counts are multiply-accumulate weights (parameters that a token meets), without biases, norms and scales: they are used
for lower bounds only, so everything left out keeps the bound a bound.
"""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from qcmatrix.catalogue.models import Architecture

__all__ = ["LayerWork", "expected_experts", "layer_work"]


class LayerWork(msgspec.Struct, frozen=True):
    """Parameters met by one token, summed over all layers, by part."""

    attention: int
    """q, k, v and o projections of full attention layers."""
    linear_attention: int
    """Projections of the gated delta-net layers."""
    mlp: int
    """Dense MLPs, shared experts and routers: every token meets them."""
    one_expert: int
    """One expert of one layer."""
    moe_layers: int
    head: int
    """``lm_head``: met once per generated token."""
    full_attention_layers: int


def _is_full_attention(architecture: Architecture, layer: int) -> bool:
    linear = architecture.linear_attention
    return linear is None or (layer + 1) % linear.full_attention_interval == 0


def layer_work(architecture: Architecture) -> LayerWork:
    """The parts of ``architecture``.

    Source: the layer definitions of vLLM's ``qwen3.py``, ``qwen3_moe.py`` and ``qwen3_next.py``.
    """
    # A published rope_scaling is a table, which cannot be hashed; it changes no shape.
    plain = architecture if architecture.rope_scaling is None else replace(architecture, rope_scaling=None)
    return _layer_work(plain)


@lru_cache(maxsize=64)
def _layer_work(architecture: Architecture) -> LayerWork:
    a = architecture
    layers = range(a.num_hidden_layers)
    full = sum(_is_full_attention(a, layer) for layer in layers)
    queries = a.num_attention_heads * a.head_dim
    keys = a.num_key_value_heads * a.head_dim
    gate = queries if a.attn_output_gate else 0
    attention = full * a.hidden_size * (queries + gate + 2 * keys + queries)
    linear_attention = 0
    if a.linear_attention is not None:
        linear = a.linear_attention
        key_dim = linear.num_key_heads * linear.key_head_dim
        value_dim = linear.num_value_heads * linear.value_head_dim
        projections = 2 * key_dim + 2 * value_dim + 2 * linear.num_value_heads + value_dim
        linear_attention = (a.num_hidden_layers - full) * a.hidden_size * projections
    dense_layers = a.num_hidden_layers if a.moe is None else len(a.moe.dense_layers)
    mlp = dense_layers * 3 * a.hidden_size * a.intermediate_size
    one_expert = moe_layers = 0
    if a.moe is not None:
        moe_layers = a.num_hidden_layers - dense_layers
        mlp += moe_layers * a.hidden_size * (3 * a.moe.shared_expert_intermediate_size + a.moe.num_experts)
        one_expert = 3 * a.hidden_size * a.moe.moe_intermediate_size
    return LayerWork(
        attention=attention,
        linear_attention=linear_attention,
        mlp=mlp,
        one_expert=one_expert,
        moe_layers=moe_layers,
        head=a.vocab_size * a.hidden_size,
        full_attention_layers=full,
    )


def expected_experts(num_experts: int, per_token: int, tokens: float) -> float:
    """Distinct experts that ``tokens`` tokens meet in one layer, if the router chose evenly.

    A skewed router meets fewer; one token always meets exactly ``per_token``.
    """
    return num_experts * (1.0 - math.pow(1.0 - per_token / num_experts, tokens))
