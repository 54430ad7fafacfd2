"""Rule: linear attention heads that tensor parallelism cannot share out."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.2"),
    reads=("architecture", "tensor_parallel_size"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/model_executor/models/qwen3_next.py",
            "divide(self.num_v_heads, self.tp_size)",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/mamba/gdn/"
            "qwen_gdn_linear_attn.py",
            "divide(self.num_v_heads, self.tp_size)",
            Level.DERIVED,
        ),
    ),
)
def linear_attention_heads_not_divisible(deployment: Deployment) -> Verdict:
    """The linear attention heads cannot be shared out evenly over the ranks

    What it finds
    A hybrid model (Qwen3-Coder-Next) on a tensor parallel size that does not divide the key or value heads of its
    gated delta-net layers. These heads, unlike key-value heads, are never repeated.

    Why it fails
    vLLM slices the projections and the recurrent state by head; the slice widths must be whole, or building the layer
    ends with an AssertionError ("... is not divisible by ...").

    What to do
    Use a tensor parallel size that divides both (16 key heads and 32 value heads for Coder-Next: 1, 2, 4, 8 or 16).

    Not covered
    The full attention layers of the same model: `attention-heads-not-divisible`, `kv-heads-not-divisible`.
    """
    linear = deployment.architecture.linear_attention
    ranks = deployment.tensor_parallel_size
    if linear is None or ranks < 1:
        return None
    for count, which in ((linear.num_key_heads, "key"), (linear.num_value_heads, "value")):
        if count % ranks:
            fewer = next(
                size
                for size in range(ranks - 1, 0, -1)
                if linear.num_key_heads % size == 0 and linear.num_value_heads % size == 0
            )
            return Breach(
                because=f"{count} linear attention {which} heads do not divide into {ranks} tensor parallel ranks",
                about=("tensor_parallel_size",),
                fixes=(Fix(f"use `--tensor-parallel-size {fewer}`", set={"tensor_parallel_size": fewer}),),
                error="is not divisible by",
            )
    return None
