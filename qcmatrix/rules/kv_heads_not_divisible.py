"""Rule: key-value heads that can neither be shared out nor repeated."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("architecture", "tensor_parallel_size"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/models/qwen3_moe.py",
            "assert tp_size % self.total_num_kv_heads == 0",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/models/qwen3_moe.py",
            "assert tp_size % self.total_num_kv_heads == 0",
            Level.DERIVED,
        ),
    ),
)
def kv_heads_not_divisible(deployment: Deployment) -> Verdict:
    """The key-value heads can neither be shared out nor repeated

    What it finds
    A tensor parallel size that does not divide the number of key-value heads, and is not a multiple of it either.

    Why it fails
    With fewer ranks than key-value heads each rank takes an equal share of them; with more, each head is repeated on
    an equal number of ranks. Anything else ends in a bare AssertionError while the attention layer is built (`assert
    self.total_num_kv_heads % tp_size == 0` or `assert tp_size % self.total_num_kv_heads == 0`). The configuration
    check before it looks at the query heads only.

    What to do
    Use a tensor parallel size that divides the key-value heads or is a multiple of them.

    Not covered
    Repeated key-value heads work, and cost memory: the KV cache per GPU stops shrinking once every rank holds one
    head.
    """
    kv_heads, ranks = deployment.architecture.num_key_value_heads, deployment.tensor_parallel_size
    if ranks < 1 or kv_heads % ranks == 0 or ranks % kv_heads == 0:
        return None
    heads = deployment.architecture.num_attention_heads
    fewer = next(
        size for size in range(ranks - 1, 0, -1) if heads % size == 0 and (kv_heads % size == 0 or size % kv_heads == 0)
    )
    condition = (
        "assert self.total_num_kv_heads % tp_size == 0"
        if kv_heads >= ranks
        else "assert tp_size % self.total_num_kv_heads == 0"
    )
    return Breach(
        because=f"{kv_heads} key-value heads can neither be shared out over {ranks} ranks nor repeated evenly on them",
        about=("tensor_parallel_size",),
        fixes=(Fix(f"use `--tensor-parallel-size {fewer}`", set={"tensor_parallel_size": fewer}),),
        error=f"AssertionError: {condition}",
    )
