"""Rule: MLP widths that tensor parallelism cannot slice evenly."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=(
        "architecture",
        "tensor_parallel_size",
        "data_parallel_size",
        "prefill_context_parallel_size",
        "enable_expert_parallel",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/layers/fused_moe/config.py",
            "assert self.intermediate_size % tp_size == 0",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/fused_moe/layer.py",
            "assert intermediate_size % self.tp_size == 0",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/fused_moe/config.py",
            "assert self.intermediate_size % tp_size == 0",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/distributed/utils.py",
            "is not divisible by",
            Level.DERIVED,
        ),
    ),
)
def mlp_width_not_divisible(deployment: Deployment) -> Verdict:
    """The width of an MLP does not divide into the ranks

    What it finds
    An MLP (dense, shared expert, or the routed experts) whose intermediate size is not a multiple of the number of
    ranks that share it. Routed experts are sliced over tensor parallel size x data parallel size ranks unless expert
    parallelism keeps them whole; everything else over the tensor parallel ranks.

    Why it fails
    Each rank must hold the same number of columns. vLLM asserts this while it builds the layer: `assert
    intermediate_size % self.tp_size == 0` for experts, "... is not divisible by ..." for dense layers.

    What to do
    Choose sizes whose product divides the intermediate size, or add `--enable-expert-parallel` when it is the routed
    experts that do not divide.

    Not covered
    Slices that are whole but cut a quantization block or group: `fp8-block-cut-by-tensor-parallel`,
    `fp8-block-cut-in-dense-linear`, `group-cut-in-dense-linear`.
    """
    architecture, tensor, data = deployment.architecture, deployment.tensor_parallel_size, deployment.data_parallel_size
    moe, prefill = architecture.moe, deployment.prefill_context_parallel_size
    if min(tensor, data, prefill) < 1:
        return None
    if moe is None or moe.dense_layers:
        width = architecture.intermediate_size
        if width % tensor:
            return _breach(f"the MLP's {width} columns", tensor, width, ())
    if moe is None:
        return None
    shared = moe.shared_expert_intermediate_size
    if shared % tensor:
        return _breach(f"the shared expert's {shared} columns", tensor, shared, ())
    ranks = 1 if deployment.enable_expert_parallel else tensor * data * prefill
    width = moe.moe_intermediate_size
    if width % ranks:
        return _breach(
            f"an expert's {width} columns",
            ranks,
            width,
            (Fix("add `--enable-expert-parallel`", set={"enable_expert_parallel": True}),),
        )
    return None


def _breach(what: str, ranks: int, width: int, fixes: tuple[Fix, ...]) -> Breach:
    return Breach(
        because=f"{what} do not divide into {ranks} ranks",
        about=("tensor_parallel_size",),
        fixes=fixes,
        error=f"AssertionError: {width} is not divisible by {ranks}" if not fixes else "AssertionError",
    )
