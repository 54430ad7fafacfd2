"""Rule: data parallel ranks that each hold everything but the experts."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("architecture", "tensor_parallel_size", "data_parallel_size"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://docs.vllm.ai/en/latest/serving/data_parallel_deployment/",
            "Data Parallel deployment, where model weights are replicated across separate instances/GPUs",
        ),
    ),
)
def data_parallel_repeats_attention(deployment: Deployment) -> Verdict:
    """Every data parallel rank holds all attention weights and its own KV cache

    What it finds
    Data parallelism for a mixture of experts whose attention could still be shared out by tensor parallelism.

    Why it fails
    It does not fail. Only the experts are spread over data parallel ranks; each rank holds the attention weights and
    the embeddings whole, and a KV cache of its own. A request must fit one rank's cache, so the longest context
    shrinks: the 480B takes 253,952 bytes per token on a rank of one GPU, and 31,744 per GPU on a rank of 8.

    What to do
    For long contexts prefer tensor parallelism inside the node; for many short requests data parallelism is the
    faster one, since attention then needs no exchange between GPUs.

    Not covered
    Which of the two is faster for a given load.
    """
    tensor, data = deployment.tensor_parallel_size, deployment.data_parallel_size
    kv_heads = deployment.architecture.num_key_value_heads
    if data <= 1 or tensor < 1 or deployment.architecture.moe is None or tensor >= kv_heads:
        return None
    wider = tensor * data
    fixes: tuple[Fix, ...] = ()
    if deployment.architecture.num_attention_heads % wider == 0 and (wider % kv_heads == 0 or kv_heads % wider == 0):
        fixes = (
            Fix(
                f"use `--tensor-parallel-size {wider}` in place of data parallelism",
                set={"tensor_parallel_size": wider, "data_parallel_size": 1},
            ),
        )
    return Breach(
        because=f"each of {data} ranks holds all attention weights and a whole KV cache on {tensor} GPU"
        f"{'s' if tensor > 1 else ''}",
        about=("data_parallel_size",),
        fixes=fixes,
        severity=Severity.INFO,
    )
