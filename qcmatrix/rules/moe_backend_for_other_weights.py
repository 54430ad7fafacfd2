"""Rule: kernels for the experts that do not take this format."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_SINCE = {"none": Range("0.17.0"), "awq": Range("0.25.0"), "gptq": Range("0.25.0")}
"""Releases that look the name up for experts of that format; older ones do not heed it there."""
# Only names that no such release up to 0.33.0 takes for the format; the others are left to vLLM.
_NOT_FOR = {
    "none": ("unquantized", frozenset({"cutlass", "deep_gemm", "marlin"})),
    "awq": ("WNA16", frozenset({"cutlass", "deep_gemm", "flashinfer_cutlass", "triton"})),
    "gptq": ("WNA16", frozenset({"cutlass", "deep_gemm", "flashinfer_cutlass", "triton"})),
}
_LISTS_TRITON = Range("0.27.0")
"""Releases that have it in the list: it takes no AWQ layout and no bias, which GPTQ might bring."""


@rule(
    holds=Range("0.17.0"),
    reads=(
        "release",
        "architecture",
        "quantization",
        "moe_backend",
        "tensor_parallel_size",
        "data_parallel_size",
        "enable_expert_parallel",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/layers/fused_moe/oracle/unquantized.py",
            "moe_backend='cutlass' is not supported for unquantized MoE. Expected one of ['triton',",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.29.0/vllm/model_executor/layers/fused_moe/oracle/int_wna16.py",
            "moe_backend='cutlass' is not supported for WNA16 MoE. Expected one of ['triton', 'marlin',",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.30.0/vllm/model_executor/layers/fused_moe/oracle/int_wna16.py",
            "WNA16 MoE backend 'TRITON' does not support the deployment configuration since expert bias is not "
            "supported.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.26.0/vllm/model_executor/layers/fused_moe/oracle/int_wna16.py",
            "is not supported for WNA16 MoE.",
            Level.DERIVED,
        ),
    ),
)
def moe_backend_for_other_weights(deployment: Deployment) -> Verdict:
    """--moe-backend names kernels for another format of the experts

    What it finds
    `--moe-backend` with kernels that do not exist for the checkpoint's experts: `cutlass`, `deep_gemm` or `marlin` for
    16-bit ones, `cutlass`, `deep_gemm`, `flashinfer_cutlass` or `triton` for AWQ and GPTQ.

    Why it fails
    An explicit name is no wish: vLLM looks it up in the list of kernels for the format and stops when it is missing.
    From 0.27.0 on `triton` is in the list for AWQ and GPTQ, and does not take their experts.

    What to do
    Leave it out: vLLM takes the first of its list that works.

    Not covered
    Names that are in the list and do not run on the card. AWQ and GPTQ experts before 0.25.0, which do not heed the
    option. FP8: `fp8-block-cut-beyond-refinement` for cut blocks. AWQ and GPTQ experts whose groups
    are cut use other kernels.
    """
    moe, quantization, backend = deployment.architecture.moe, deployment.quantization, deployment.moe_backend
    if moe is None or backend == "auto" or quantization.method not in _NOT_FOR:
        return None
    if deployment.release.version not in _SINCE[quantization.method]:
        return None
    kind, refused = _NOT_FOR[quantization.method]
    if backend not in refused or "experts" in quantization.unquantized:
        return None
    group = quantization.group_size or 0
    ranks = 1 if deployment.enable_expert_parallel else deployment.tensor_parallel_size * deployment.data_parallel_size
    if group > 0 and (ranks < 1 or moe.moe_intermediate_size % (ranks * group)):
        return None
    listed = backend == "triton" and deployment.release.version in _LISTS_TRITON
    return Breach(
        because=f"there are no {backend} kernels for {kind} experts",
        about=("moe_backend",),
        fixes=(Fix("drop `--moe-backend`", drop=("moe_backend",)),),
        error="WNA16 MoE backend 'TRITON' does not support the deployment configuration"
        if listed
        else f"moe_backend='{backend}' is not supported for {kind} MoE.",
    )
