"""Rule: expert load balancing over ranks that do not divide the experts."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_BALANCES = Range("0.10.1")
"""Releases whose Qwen3 experts can be balanced at all; older ones take the flag and leave it at that."""
_DROP = Fix("drop `--enable-eplb`", drop=("enable_eplb",))


@rule(
    holds=Range("0.10.0"),
    reads=(
        "release",
        "architecture",
        "quantization",
        "tensor_parallel_size",
        "data_parallel_size",
        "enable_expert_parallel",
        "enable_eplb",
        "num_redundant_experts",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/layers/fused_moe/layer.py",
            "EPLB currently only supports even distribution of experts across ranks.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/parallel.py",
            "enable_expert_parallel must be True to use EPLB.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/layers/fused_moe/routed_experts.py",
            "EPLB is not supported AutoAWQMoEMethod.",
            Level.PROBED,
        ),
    ),
)
def eplb_with_uneven_experts(deployment: Deployment) -> Verdict:
    """Expert load balancing without expert ranks it can balance

    What it finds
    `--enable-eplb` without expert parallelism, on a single rank, on ranks that do not divide the experts (with the
    redundant ones), or with AWQ or GPTQ experts.

    Why it fails
    Load balancing moves experts between ranks that hold equally many. vLLM checks the first two in its configuration
    ("enable_expert_parallel must be True to use EPLB.") and the third while it builds the layers ("EPLB currently
    only supports even distribution of experts across ranks.").

    AWQ and GPTQ experts cannot be moved at all: the kernels have no support for it in any release.

    What to do
    Add `--enable-expert-parallel`, choose redundant experts so that the sum divides, or drop `--enable-eplb`.

    Not covered
    Without load balancing, experts may be spread unevenly: that works in all releases. 0.10.0 starts in the last two
    cases and does not balance: its Qwen3 class knows nothing of it.
    """
    moe = deployment.architecture.moe
    if not deployment.enable_eplb:
        return None
    ranks = deployment.tensor_parallel_size * deployment.data_parallel_size
    if not deployment.enable_expert_parallel:
        return Breach(
            because="--enable-eplb balances experts over ranks, and expert parallelism is off",
            about=("enable_eplb",),
            fixes=(Fix("add `--enable-expert-parallel`", set={"enable_expert_parallel": True}), _DROP),
            error="enable_expert_parallel must be True to use EPLB.",
        )
    if ranks <= 1:
        return Breach(because="there is one rank", about=("enable_eplb",), fixes=(_DROP,), error="EPLB requires")
    if moe is None or deployment.release.version not in _BALANCES:
        return None
    method = deployment.quantization.method
    if method in ("awq", "gptq") and "experts" not in deployment.quantization.unquantized:
        return Breach(
            because=f"experts of method {method} cannot be moved between ranks",
            about=("enable_eplb",),
            fixes=(_DROP,),
            error="EPLB",
        )
    experts = moe.num_experts + deployment.num_redundant_experts
    if experts % ranks == 0:
        return None
    return Breach(
        because=f"{experts} experts do not divide into {ranks} ranks",
        about=("enable_eplb", "tensor_parallel_size"),
        fixes=(_DROP,),
        error="EPLB currently only supports even distribution of experts across ranks.",
    )
