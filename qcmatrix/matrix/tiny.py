"""The facts of the tiny checkpoint, as the catalogue has those of published ones; ``serving/tiny`` makes it."""

from __future__ import annotations

from qcmatrix.catalogue.models import Architecture, Checkpoint, MixtureOfExperts, ModelFile, ResolvedCheckpoint
from qcmatrix.matrix.entries import TINY

__all__ = ["tiny_checkpoint"]


def tiny_checkpoint() -> ResolvedCheckpoint:
    """Two layers of a Qwen3-MoE with the real vocabulary and random weights."""
    architecture = Architecture(
        architecture="Qwen3MoeForCausalLM",
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        vocab_size=151936,
        max_position_embeddings=8192,
        rope_theta=10_000_000.0,
        moe=MixtureOfExperts(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=64),
    )
    checkpoint = Checkpoint(repository=TINY, short=TINY, tool_call_parser="qwen3_coder")
    model = ModelFile(name=TINY, family="qwen3-coder", architecture=architecture, sources=(), checkpoints=(checkpoint,))
    return ResolvedCheckpoint(model, checkpoint, architecture)
