"""Rule: an FP8 block cut in attention, dense MLP or shared expert."""

from __future__ import annotations

from collections.abc import Iterator

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_KEEPS_SHARED_EXPERT_WHOLE = Range("0.20.0")
# Merged layers (query, key and value; gate and up) may end in the middle of a block; output projections may not.
_ALLOWS_CUT_OUTPUTS = Range("0.14.0")


@rule(
    holds=Range("0.10.0"),
    reads=(
        "release",
        "architecture",
        "checkpoint",
        "quantization",
        "tensor_parallel_size",
        "data_parallel_size",
        "enable_expert_parallel",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/layers/quantization/utils/fp8_utils.py",
            "Weight input_size_per_partition = 64 is not divisible by weight quantization block_k = 128.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/quantization/utils/"
            "fp8_utils.py",
            "is not divisible by weight quantization block_k",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/quantization/fp8.py",
            "Weight output_partition_size = ... is not divisible by weight quantization block_n",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/pull/52915",
            "Tensor parallelism produces a rank-local shared-expert width of 64, while the checkpoint uses "
            "128-element FP8 quantization blocks",
        ),
    ),
)
def fp8_block_cut_in_dense_linear(deployment: Deployment) -> Verdict:
    """Tensor parallelism cuts an FP8 block of an attention or dense layer

    What it finds
    A block-wise FP8 checkpoint on so many tensor parallel ranks that a rank's slice of the attention projections, a
    dense MLP or the shared expert is not a whole number of blocks.

    Why it fails
    These layers are sliced over the tensor parallel ranks; expert parallelism does not touch them, and the finer
    blocks of 0.29.0 are for routed experts only. Qwen3-Coder-Next has a shared expert of 512 columns: 8 ranks get 64
    each, half a block, and vLLM stops with "Weight input_size_per_partition = 64 is not divisible by weight
    quantization block_k = 128." (up to 0.13.0 "Weight output_partition_size = 64 ... block_n", of the layer before).

    What to do
    Use a smaller tensor parallel size and put the other GPUs to work with data parallelism. From 0.20.0, tensor, data
    and expert parallelism together keep the shared expert of Qwen3-Next whole on each rank.

    Not covered
    Layers that the checkpoint keeps in 16 bit, and the routed experts: `fp8-block-cut-by-tensor-parallel`.
    """
    block, tensor = deployment.quantization.block, deployment.tensor_parallel_size
    if block is None or tensor <= 1 or deployment.quantization.method not in ("fp8", "compressed-tensors"):
        return None
    cut = _first_cut(deployment, tensor, block)
    if cut is None:
        return None
    layer, width, side = cut
    unit = block[0] if side == "n" else block[1]
    if deployment.checkpoint.quantization.method == "none":
        return Unknown(
            "--quantization fp8_per_block makes its blocks once the weights are loaded and rounds their number up: "
            "whether its kernels take cut blocks is not known"
        )
    what = "output_partition_size" if side == "n" else "input_size_per_partition"
    smaller = next(
        (s for s in range(tensor - 1, 0, -1) if not tensor % s and _first_cut(deployment, s, block) is None), None
    )
    fixes: tuple[Fix, ...] = ()
    if smaller is not None:
        data = deployment.data_parallel_size * tensor // smaller
        fixes = (
            Fix(
                f"use `--tensor-parallel-size {smaller} --data-parallel-size {data}`",
                set={"tensor_parallel_size": smaller, "data_parallel_size": data},
            ),
            Fix(f"use `--tensor-parallel-size {smaller}`", set={"tensor_parallel_size": smaller}),
        )
    return Breach(
        because=f"each of {tensor} ranks gets {width} of the {layer}, not a multiple of the FP8 block of {unit}",
        about=("tensor_parallel_size",),
        fixes=fixes,
        error=f"Weight {what} = {width} is not divisible by weight quantization block_{side} = {unit}.",
    )


def _first_cut(deployment: Deployment, tensor: int, block: tuple[int, int]) -> tuple[str, int, str] | None:
    for layer, total, side in _slices(deployment, tensor):
        width, rest = divmod(total, tensor)
        # a remainder is another rule's refusal
        if not rest and width % (block[0] if side == "n" else block[1]):
            return layer, width, side
    return None


def _slices(deployment: Deployment, tensor: int) -> Iterator[tuple[str, int, str]]:
    """(layer, elements over all ranks, sliced along the output "n" or the input "k") in the order vLLM builds them."""
    architecture, kept = deployment.architecture, deployment.quantization.unquantized
    head, linear, moe = architecture.head_dim, architecture.linear_attention, architecture.moe
    version = deployment.release.version
    merged_may_be_cut = deployment.quantization.method == "fp8" and version in _ALLOWS_CUT_OUTPUTS
    if linear is not None and "linear_attention" not in kept:
        key, value = linear.num_key_heads * linear.key_head_dim, linear.num_value_heads * linear.value_head_dim
        yield "linear attention projection", 2 * (key + value), "n"
        yield "linear attention output", value, "k"
    if "attention" not in kept:
        queries = architecture.num_attention_heads * head
        if not merged_may_be_cut:
            yield "query projection", queries * (2 if architecture.attn_output_gate else 1), "n"
            yield "key projection", max(architecture.num_key_value_heads, tensor) * head, "n"
        yield "attention output", queries, "k"
    if (moe is None or moe.dense_layers) and "mlp" not in kept:
        if not merged_may_be_cut:
            yield "MLP columns", architecture.intermediate_size, "n"
        yield "MLP columns", architecture.intermediate_size, "k"
    if moe is not None and moe.shared_expert_intermediate_size and "shared_expert" not in kept:
        whole = (
            tensor > 1
            and deployment.data_parallel_size > 1
            and deployment.enable_expert_parallel
            and version in _KEEPS_SHARED_EXPERT_WHOLE
        )
        if not whole:
            if not merged_may_be_cut:
                yield "shared expert's columns", moe.shared_expert_intermediate_size, "n"
            yield "shared expert's columns", moe.shared_expert_intermediate_size, "k"
