"""Rule: an AWQ or GPTQ group cut in the experts."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_FINEST = 32


@rule(
    holds=Range("0.10.0"),
    reads=(
        "architecture",
        "quantization",
        "tensor_parallel_size",
        "data_parallel_size",
        "prefill_context_parallel_size",
        "enable_expert_parallel",
    ),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/quantization/awq_marlin.py",
            "Falling back to Moe WNA16 kernels.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/quantization/moe_wna16.py",
            "we reduce the group size to ensure that",
            Level.DERIVED,
        ),
    ),
)
def group_cut_in_experts(deployment: Deployment) -> Verdict:
    """Tensor parallelism cuts a quantization group of the experts

    What it finds
    A 4- or 8-bit grouped checkpoint (AWQ, GPTQ) of a mixture of experts whose experts are sliced so that a rank's
    slice is not a whole number of groups: 30B-A3B on 4 ranks (192 columns, groups of 128), the 480B on 8 (320).

    Why it fails
    The fast Marlin kernels need whole groups. vLLM notices ("... is not supported by AWQMoeMarlin. Falling back to
    Moe WNA16 kernels.") and uses slower Triton kernels with groups cut down to 64 or 32. Where even 32 does not
    divide, it stops at an assertion. For compressed-tensors checkpoints the slicing of the scales is not checked, and
    what happens is not known.

    What to do
    Add `--enable-expert-parallel`, which keeps experts whole and the fast kernels in use, or use fewer ranks.

    Not covered
    How much slower the fallback is.
    """
    moe, quantization = deployment.architecture.moe, deployment.quantization
    group = quantization.group_size
    if moe is None or group is None or group <= 0 or deployment.enable_expert_parallel:
        return None
    if "experts" in quantization.unquantized or quantization.method not in ("awq", "gptq", "compressed-tensors"):
        return None
    ranks = deployment.tensor_parallel_size * deployment.data_parallel_size * deployment.prefill_context_parallel_size
    if ranks < 1:
        return None
    width, rest = divmod(moe.moe_intermediate_size, ranks)
    if rest or width % group == 0:
        return None
    because = (
        f"each of {ranks} ranks gets {width} of an expert's {moe.moe_intermediate_size} columns, not a multiple of the "
        f"group of {group}"
    )
    if quantization.method == "compressed-tensors":
        return Unknown(because)
    finer = group
    while finer >= _FINEST and (width % finer or deployment.architecture.hidden_size % finer):
        finer //= 2
    fix = Fix("add `--enable-expert-parallel`", set={"enable_expert_parallel": True})
    if finer < _FINEST:
        return Breach(
            because=f"{because}, nor of {_FINEST}",
            about=("tensor_parallel_size",),
            fixes=(fix,),
            error="AssertionError",
            outcome=Outcome.REFUSES_TO_START,
        )
    return Breach(
        because=f"{because}: slower kernels with groups of {finer} are used",
        about=("tensor_parallel_size",),
        fixes=(fix,),
    )
