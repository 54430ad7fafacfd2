"""Rule: attention heads that tensor parallelism cannot share out."""

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
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/model.py",
            "Total number of attention heads (96) must be divisible by tensor parallel size (5).",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/model.py",
            "must be divisible by tensor parallel size",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "must be divisible by tensor parallel size",
            Level.DERIVED,
        ),
    ),
)
def attention_heads_not_divisible(deployment: Deployment) -> Verdict:
    """The attention heads cannot be shared out evenly over the ranks

    What it finds
    A tensor parallel size that does not divide the number of query heads of the model.

    Why it fails
    Every rank computes the same number of heads, so vLLM (every release from 0.10.0 to 0.33.0) refuses the
    configuration before anything is loaded: "Total number of attention heads (96) must be divisible by tensor
    parallel size (5)."

    What to do
    Use a tensor parallel size that divides the heads: 1, 2, 4 or 8 for most models. With an odd number of cards, use
    pipeline or data parallelism for the rest, or leave cards idle.

    Not covered
    Key-value heads: `kv-heads-not-divisible`. Linear attention heads: `linear-attention-heads-not-divisible`.
    """
    heads, ranks = deployment.architecture.num_attention_heads, deployment.tensor_parallel_size
    if ranks < 1 or heads % ranks == 0:
        return None
    fewer = next(size for size in range(ranks - 1, 0, -1) if heads % size == 0)
    return Breach(
        because=f"{heads} attention heads do not divide into {ranks} tensor parallel ranks",
        about=("tensor_parallel_size",),
        fixes=(Fix(f"use `--tensor-parallel-size {fewer}`", set={"tensor_parallel_size": fewer}),),
        error=f"Total number of attention heads ({heads}) must be divisible by tensor parallel size ({ranks}).",
    )
