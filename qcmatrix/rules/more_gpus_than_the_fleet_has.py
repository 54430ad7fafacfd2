"""Rule: a launch that wants more GPUs than there are."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=(
        "fleet",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "prefill_context_parallel_size",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/parallel.py",
            "is larger than the number of available GPUs",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/v1/engine/utils.py",
            "Error computing device indices for",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def more_gpus_than_the_fleet_has(deployment: Deployment) -> Verdict:
    """The launch wants more GPUs than the fleet has

    What it finds
    Tensor parallel size x pipeline parallel size x data parallel size greater than the number of GPUs.

    Why it fails
    Every rank needs a GPU of its own. What vLLM says depends on the release and on which size is too large: a world
    size "larger than the number of available GPUs" (0.11.1 on), a Ray placement group that never becomes ready, or,
    for data parallel ranks, an error that names the local range of devices.

    What to do
    Lower one of the sizes. On 8 GPUs, tensor parallel 8, or tensor parallel 4 x data parallel 2, or data parallel 8.

    Not covered
    Enough GPUs in all, but not in one node: `engine-spans-nodes-without-launcher`, `data-parallel-ranks-beyond-node`.
    """
    tensor, pipeline = deployment.tensor_parallel_size, deployment.pipeline_parallel_size
    data, count = deployment.data_parallel_size, deployment.fleet.count
    prefill = deployment.prefill_context_parallel_size
    wanted = tensor * pipeline * data * prefill
    if min(tensor, pipeline, data, prefill) < 1 or wanted <= count:
        return None
    sizes = [
        ("tensor_parallel_size", tensor),
        ("pipeline_parallel_size", pipeline),
        ("prefill_context_parallel_size", prefill),
        ("data_parallel_size", data),
    ]
    product = " x ".join(f"{name.removesuffix('_size').replace('_', ' ')} {size}" for name, size in sizes if size > 1)
    offers = []
    for name, size in sizes:
        fits = size * count // wanted
        if size > 1 and fits >= 1 and fits * (wanted // size) <= count:
            offers.append((fits * (wanted // size), Fix(f"use `--{name.replace('_', '-')} {fits}`", set={name: fits})))
    offers.sort(key=lambda offer: -offer[0])  # what leaves fewer GPUs idle comes first
    return Breach(
        because=f"{product} = {wanted} GPUs, and the fleet has {count}",
        about=tuple(name for name, size in sizes if size > 1),
        fixes=tuple(fix for _, fix in offers),
    )
