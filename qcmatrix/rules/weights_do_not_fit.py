"""Rule: no memory left for the KV cache."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.memory.ledger import GIB, Footprint
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.rules.wider_split import over_this_node
from qcmatrix.versions import Range

_HIGH_SHARE = 0.95


@rule(
    holds=Range("0.10.0"),
    reads=(
        "footprint",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "enable_expert_parallel",
        "architecture",
        "fleet",
    ),
    outcome=Outcome.DOES_NOT_FIT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/v1/core/kv_cache_planning.py",
            "No available memory for the cache blocks.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/v1/core/kv_cache_utils.py",
            "No available memory for the cache blocks.",
            Level.DERIVED,
        ),
    ),
)
def weights_do_not_fit(deployment: Deployment, footprint: Footprint) -> Verdict:
    """The weights leave no memory for the KV cache

    What it finds
    A GPU on which weights, activations and the rest take the whole budget (`--gpu-memory-utilization` x the memory
    that CUDA reports), so that nothing is left for the KV cache.

    Why it fails
    vLLM loads the weights, measures a profile run and gives what remains of the budget to the KV cache. When nothing
    remains it stops: "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when
    initializing the engine." When the weights alone exceed the card it never gets that far: CUDA runs out of memory
    while loading.

    What to do
    Spread the weights over more GPUs (a larger tensor parallel size; data parallel ranks each hold all attention
    weights), use a smaller checkpoint (FP8, AWQ), or raise `--gpu-memory-utilization`.

    Not covered
    Memory that other processes already hold.
    """
    kv, weights = footprint.kv_gib, footprint.weights_bytes / GIB
    if kv.low > 0:
        return None
    where = f" ({footprint.stage})" if footprint.stage else ""
    ledger = (
        f"{weights:.2f} GiB of weights and {footprint.overhead_gib.mid:.2f} GiB of overhead against a budget of "
        f"{footprint.budget_gib:.2f} GiB per GPU{where}"
    )
    if kv.high > 0 and weights <= footprint.usable_gib:
        return Unknown(
            f"{ledger}: the estimate cannot tell whether anything is left for the KV cache (at most {kv.high:.2f} GiB, "
            f"and in the worst case {-kv.low:.2f} GiB are missing)",
            decides=False,
        )
    fixes: list[Fix] = []
    share, data, tensor = (
        deployment.gpu_memory_utilization,
        deployment.data_parallel_size,
        deployment.tensor_parallel_size,
    )
    if deployment.kv_cache_memory_bytes is None and kv.low + (_HIGH_SHARE - share) * footprint.usable_gib > 0:
        fixes.append(Fix(f"use `--gpu-memory-utilization {_HIGH_SHARE}`", set={"gpu_memory_utilization": _HIGH_SHARE}))
    if data > 1:
        fixes.append(
            Fix(
                f"use `--tensor-parallel-size {tensor * data}` in place of data parallelism",
                set={"tensor_parallel_size": tensor * data, "data_parallel_size": 1},
            )
        )
    fixes += over_this_node(deployment)
    for times in (2, 4, 8, 16):
        wider = tensor * times
        if deployment.architecture.num_attention_heads % wider:
            break
        if wider * data * deployment.pipeline_parallel_size <= deployment.fleet.gpus_per_node:
            continue  # offered above, with experts kept whole
        if weights / times + footprint.overhead_gib.high < footprint.budget_gib:
            fixes.append(Fix(f"use `--tensor-parallel-size {wider}` on more GPUs", set={"tensor_parallel_size": wider}))
            break
    return Breach(
        because=ledger,
        about=("tensor_parallel_size", "gpu_memory_utilization"),
        fixes=tuple(fixes),
        error="torch.OutOfMemoryError: CUDA out of memory."
        if weights > footprint.usable_gib
        else "No available memory for the cache blocks.",
    )
