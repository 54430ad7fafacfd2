"""Rule: an AWQ or GPTQ group cut in attention, dense MLP or shared expert."""

from __future__ import annotations

from collections.abc import Iterator

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("architecture", "quantization", "tensor_parallel_size"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/layers/quantization/auto_awq.py",
            "The input size is not aligned with the quantized weight shape.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/quantization/auto_awq.py",
            "The input size is not aligned with the quantized weight shape.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/quantization/awq.py",
            "This can be caused by too large tensor parallel size.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/quantization/utils/"
            "marlin_utils.py",
            "is not divisible by group_size",
            Level.DERIVED,
        ),
    ),
)
def group_cut_in_dense_linear(deployment: Deployment) -> Verdict:
    """Tensor parallelism cuts a quantization group of a dense layer

    What it finds
    An AWQ or GPTQ checkpoint on so many tensor parallel ranks that a rank's slice of the input of an output
    projection (attention, dense MLP, shared expert) is not a whole number of groups.

    Why it fails
    128 weights along the input share one scale. Qwen2.5-Coder-14B has an MLP of 13,824 columns: over 8 ranks each
    gets 1,728 = 13.5 groups. AWQ answers "The input size is not aligned with the quantized weight shape. This can be
    caused by too large tensor parallel size." For GPTQ, vLLM 0.32.0 creates such weights; what its kernels make of
    them is told as unknown.

    What to do
    Use a smaller tensor parallel size.

    Not covered
    Experts, for which vLLM can make groups finer: `group-cut-in-experts`.
    """
    quantization, tensor = deployment.quantization, deployment.tensor_parallel_size
    group = quantization.group_size
    if quantization.method not in ("awq", "gptq") or group is None or group <= 0 or tensor <= 1:
        return None
    cut = _first_cut(deployment, tensor, group)
    if cut is None:
        return None
    layer, width = cut
    because = f"each of {tensor} ranks gets {width} of the {layer}, not a multiple of the group of {group}"
    if quantization.method == "gptq":
        return Unknown(f"{because}: whether a GPTQ kernel takes that depends on the release and the card")
    smaller = next(
        (s for s in range(tensor - 1, 0, -1) if not tensor % s and not _first_cut(deployment, s, group)), None
    )
    return Breach(
        because=because,
        about=("tensor_parallel_size",),
        fixes=()
        if smaller is None
        else (Fix(f"use `--tensor-parallel-size {smaller}`", set={"tensor_parallel_size": smaller}),),
        error="The input size is not aligned with the quantized weight shape.",
    )


def _first_cut(deployment: Deployment, tensor: int, group: int) -> tuple[str, int] | None:
    for layer, total in _inputs(deployment):
        width, rest = divmod(total, tensor)
        if not rest and width % group:
            return layer, width
    return None


def _inputs(deployment: Deployment) -> Iterator[tuple[str, int]]:
    """(layer, width over all ranks) of the layers that are sliced along their input."""
    architecture, kept = deployment.architecture, deployment.quantization.unquantized
    linear, moe = architecture.linear_attention, architecture.moe
    if linear is not None and "linear_attention" not in kept:
        yield "linear attention output's input", linear.num_value_heads * linear.value_head_dim
    if "attention" not in kept:
        yield "attention output's input", architecture.num_attention_heads * architecture.head_dim
    if (moe is None or moe.dense_layers) and "mlp" not in kept:
        yield "MLP's columns", architecture.intermediate_size
    if moe is not None and moe.shared_expert_intermediate_size and "shared_expert" not in kept:
        yield "shared expert's columns", moe.shared_expert_intermediate_size
