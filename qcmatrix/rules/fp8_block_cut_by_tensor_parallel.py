"""Rule: tensor parallelism cuts an expert's FP8 block, before block refinement."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_METHODS = ("fp8", "compressed-tensors")


@rule(
    holds=Range("0.10.0", "0.29.0"),
    reads=(
        "architecture",
        "checkpoint",
        "quantization",
        "tensor_parallel_size",
        "data_parallel_size",
        "prefill_context_parallel_size",
        "enable_expert_parallel",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/model_executor/layers/quantization/fp8.py",
            "The output_size of gate's and up's weight = 320 is not divisible by weight quantization block_n = 128.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.18.1/vllm/model_executor/layers/quantization/fp8.py",
            "The output_size of gate's and up's weight = 192 is not divisible by weight quantization block_n = 128.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/model_executor/layers/quantization/fp8.py",
            "if intermediate_size_per_partition % block_n != 0: raise ValueError(",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/fused_moe/config.py",
            "In EP, each device owns a set of experts fully.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/issues/17569",
            "The output_size of gate's and up's weight = 192 is not divisible by weight quantization block_n = 128.",
        ),
    ),
)
def fp8_block_cut_by_tensor_parallel(deployment: Deployment) -> Verdict:
    """Tensor parallelism cuts an expert's FP8 block in two

    What it finds
    A mixture-of-experts checkpoint with block-wise FP8 weights (Qwen's own FP8 checkpoints use blocks of 128 x 128),
    launched without expert parallelism on so many ranks that each rank's slice of an expert is not a whole number of
    blocks. Without expert parallelism vLLM slices every expert over tensor parallel size x data parallel size ranks.

    Why it fails
    One scale belongs to 128 x 128 weights. A slice of 2560 / 8 = 320 columns (480B on 8 ranks) or 768 / 4 = 192
    (30B-A3B on 4 ranks) ends in the middle of a block, so its scales cannot be sliced, and vLLM up to 0.28 stops
    while it creates the weights: "The output_size of gate's and up's weight = 320 is not divisible by weight
    quantization block_n = 128." From 0.29.0 it makes the blocks finer instead: see `fp8-block-cut-beyond-refinement`.

    What to do
    Add `--enable-expert-parallel`: each rank then holds whole experts, and nothing is cut. In every release from
    0.10.0 on the check is made on the slice that the expert layer really has, which is the full width under expert
    parallelism. Or use fewer tensor parallel ranks (4 for the 480B: 640 columns), or a checkpoint without blocks
    (BF16, per-channel FP8).

    Not covered
    Blocks of the attention, dense and shared-expert layers: `fp8-block-cut-in-dense-linear`. Reports from May 2025
    (vLLM 0.8.5) say that expert parallelism did not help then; releases before 0.10.0 are not judged here.
    """
    moe = deployment.architecture.moe
    quantization = deployment.quantization
    block = quantization.block
    if moe is None or block is None or quantization.method not in _METHODS or "experts" in quantization.unquantized:
        return None
    tensor, data = deployment.tensor_parallel_size, deployment.data_parallel_size
    prefill = deployment.prefill_context_parallel_size
    if min(tensor, data, prefill) < 1:
        return None
    ranks = 1 if deployment.enable_expert_parallel else tensor * data * prefill
    width, rest = divmod(moe.moe_intermediate_size, ranks)
    if rest:  # another rule's refusal
        return None
    block_n, block_k = block
    if width % block_n:
        error = f"The output_size of gate's and up's weight = {width} is not divisible by"
        unit, side = block_n, "n"
    elif tensor > 1 and width % block_k:
        error = f"The input_size of down's weight = {width} is not divisible by"
        unit, side = block_k, "k"
    else:
        return None
    if deployment.checkpoint.quantization.method == "none":
        return Unknown(
            "--quantization fp8_per_block makes its blocks once the weights are loaded and rounds their number up: "
            "whether its kernels take cut blocks is not known"
        )
    spread = (
        f"{ranks} ranks"
        if ranks == tensor
        else f"{tensor} x {ranks // tensor} = {ranks} ranks (data parallel ones too)"
    )
    fixes = [Fix("add `--enable-expert-parallel`", set={"enable_expert_parallel": True})] if ranks > 1 else []
    fewer = _largest_whole(moe.moe_intermediate_size, tensor, data * prefill, max(block))
    if fewer is not None:
        fixes.append(Fix(f"use `--tensor-parallel-size {fewer}`", set={"tensor_parallel_size": fewer}))
    return Breach(
        because=f"each of {spread} gets {width} of an expert's {moe.moe_intermediate_size} columns, not a "
        f"multiple of {unit}",
        about=("tensor_parallel_size", "data_parallel_size") if data > 1 else ("tensor_parallel_size",),
        fixes=tuple(fixes),
        error=f"{error} weight quantization block_{side} = {unit}.",
    )


def _largest_whole(columns: int, tensor: int, data: int, block: int) -> int | None:
    """The largest smaller tensor parallel size that divides ``tensor`` and keeps blocks whole."""
    for size in range(tensor - 1, 0, -1):
        if tensor % size == 0 and columns % (size * data * block) == 0:
            return size
    return None
