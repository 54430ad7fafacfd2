"""Rule: a context that the KV cache cannot hold."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.memory.ledger import Footprint
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.wider_split import over_this_node
from qcmatrix.versions import Range

_RELEASES_SAYING_MODELS = Range("0.10.0", "0.22.0")
_STEP = 1024


@rule(
    holds=Range("0.10.0"),
    reads=(
        "footprint",
        "release",
        "gpu",
        "context",
        "max_model_len",
        "kv_cache_dtype",
        "kv_cache_memory_bytes",
        "gpu_memory_utilization",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "enable_expert_parallel",
        "architecture",
        "fleet",
        "num_gpu_blocks_override",
    ),
    outcome=Outcome.DOES_NOT_FIT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/v1/core/kv_cache_planning.py",
            "cache is needed, which is larger than the available KV cache",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/v1/core/kv_cache_utils.py",
            "To serve at least one request with the models's max seq len",
            Level.DERIVED,
        ),
    ),
)
def kv_cache_too_small_for_context(deployment: Deployment, footprint: Footprint) -> Verdict:
    """The KV cache cannot hold one request of the asked length

    What it finds
    A `--max-model-len` (or, when none was given, the native length of the model: 262,144 for Qwen3-Coder) whose KV
    cache is larger than what a GPU has left for it.

    Why it fails
    vLLM promises to serve at least one request of the maximum length and stops when it cannot: "To serve at least one
    request with the models's max seq len (262144), (... GiB KV cache is needed, which is larger than the available KV
    cache memory (... GiB)." ("model's" from 0.22.0 on). It is the most frequent start-up failure in public reports,
    and often the length was merely left at its native value. Each data parallel rank needs a whole KV cache of its
    own; with pipeline parallelism the stage with the least room decides.

    What to do
    Lower `--max-model-len` to what fits, use more tensor parallel ranks (until each holds one key-value head), raise
    `--gpu-memory-utilization`, or halve the KV cache with `--kv-cache-dtype fp8`.

    Not covered
    Lengths too close to the limit to tell: `kv-cache-tight`. How many requests run at once: the maximum concurrency.
    """
    longest = footprint.max_context
    if footprint.kv_gib.high <= 0 or deployment.max_model_len == -1 or deployment.context <= longest.high:
        return None
    needed, left = footprint.needed_kv_gib, footprint.kv_gib
    per = "each data parallel rank's" if deployment.data_parallel_size > 1 else "the"
    where = f" on {footprint.stage}" if footprint.stage else ""
    demand = f"a request of {deployment.context} tokens needs {needed:.2f} GiB of KV cache per GPU"
    fits = int(longest.low) // _STEP * _STEP
    fixes: list[Fix] = []
    override = deployment.num_gpu_blocks_override
    if override is not None and needed <= left.low:
        return Breach(
            because=f"{demand}, and --num-gpu-blocks-override {override} leaves room for {footprint.kv_tokens.mid:.0f} "
            f"tokens only (without it {left.mid:.2f} GiB would be there)",
            about=("num_gpu_blocks_override",),
            fixes=(
                Fix("drop `--num-gpu-blocks-override`", drop=("num_gpu_blocks_override",)),
                *([Fix(f"use `--max-model-len {fits}`", set={"max_model_len": fits})] if fits >= _STEP else []),
            ),
            error=_error(deployment, needed, None),
        )
    if deployment.data_parallel_size == 1:
        fixes += over_this_node(deployment)  # idle GPUs first: the length asked for stays
    if fits >= _STEP:
        fixes.append(Fix(f"use `--max-model-len {fits}`", set={"max_model_len": fits}))
    if deployment.kv_cache_dtype == "auto" and (deployment.gpu.compute_capability or (0, 0)) >= (8, 9):
        fixes.append(Fix("use `--kv-cache-dtype fp8`", set={"kv_cache_dtype": "fp8"}))
    if deployment.gpu_memory_utilization < 0.95 and deployment.kv_cache_memory_bytes is None:
        fixes.append(Fix("use `--gpu-memory-utilization 0.95`", set={"gpu_memory_utilization": 0.95}))
    tensor, data = deployment.tensor_parallel_size, deployment.data_parallel_size
    if data > 1:
        fixes.append(
            Fix(
                f"use `--tensor-parallel-size {tensor * data}` in place of data parallelism",
                set={"tensor_parallel_size": tensor * data, "data_parallel_size": 1},
            )
        )
    return Breach(
        because=f"{demand}, and {per} GPUs have {left.mid:.2f} GiB left{where} (at most {left.high:.2f})",
        about=("max_model_len",),
        fixes=tuple(fixes),
        error=_error(deployment, needed, left.mid),
    )


def _error(deployment: Deployment, needed: float, left: float | None) -> str:
    """vLLM's words; what it will find left is an estimate, and marked as one."""
    whose = "models's" if deployment.release.version in _RELEASES_SAYING_MODELS else "model's"
    found = "..." if left is None else f"about {left:.1f}"
    return (
        f"To serve at least one request with the {whose} max seq len ({deployment.context}), ({needed:.2f} GiB "
        f"KV cache is needed, which is larger than the available KV cache memory ({found} GiB)."
    )
