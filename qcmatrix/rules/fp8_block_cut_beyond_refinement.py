"""Rule: an FP8 block cut by tensor parallelism that finer blocks cannot mend (0.29.0 on)."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd

from qcmatrix.catalogue.gpus import Gpu
from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_FINEST = 32
_PADS_FOR_EXPLICIT_BACKEND = Range("0.31.0")
_EXPERTS = Fix("add `--enable-expert-parallel`", set={"enable_expert_parallel": True})
_UNSUPPORTED = "FP8 MoE backend {} does not support the deployment configuration since kernel does not support"


@rule(
    holds=Range("0.29.0"),
    reads=(
        "release",
        "architecture",
        "checkpoint",
        "quantization",
        "gpu",
        "tensor_parallel_size",
        "data_parallel_size",
        "prefill_context_parallel_size",
        "enable_expert_parallel",
        "moe_backend",
        "env",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.29.0/vllm/model_executor/layers/quantization/fp8.py",
            "The output_size of gate's and up's weight = 48 is not divisible by weight quantization block_n = 128.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/layers/fused_moe/oracle/fp8.py",
            "No FP8 MoE backend supports the deployment configuration.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.29.0/vllm/model_executor/layers/fused_moe/oracle/fp8.py",
            "refine = math.gcd(block_n, block_k, ispp, config.hidden_dim); if refine < 32: return None",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.31.0/vllm/model_executor/layers/fused_moe/oracle/fp8.py",
            "Pad the TP shard to whole checkpoint blocks, keeping scales rank-local.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/fused_moe/experts/"
            "triton_moe.py",
            "Block-quantized FP8 with arbitrary block shape",
            Level.DERIVED,
        ),
    ),
)
def fp8_block_cut_beyond_refinement(deployment: Deployment) -> Verdict:
    """Tensor parallelism cuts an expert's FP8 block, and no kernel can mend it

    What it finds
    The cut of `fp8-block-cut-by-tensor-parallel` in the releases that try to mend it. From 0.29.0 vLLM makes the
    blocks of the experts finer (128 -> 64 or 32) so that a rank's slice holds whole ones. This rule finds the
    launches where that does not work, and notes the ones where it does.

    Why it fails
    Finer blocks must be at least 32 wide, the checkpoint must be of method `fp8` (compressed-tensors is still
    refused), and only the Triton kernels take them, which need FP8 hardware (compute capability 8.9 or newer, or a
    CDNA3 or newer AMD card). Whatever forces another kernel ends the launch: `VLLM_USE_DEEP_GEMM=1` (which many
    Qwen3-Coder guides still set), `VLLM_ROCM_USE_AITER=1`, or `--moe-backend` with a kernel other than `triton`. From
    0.31.0 an explicit `--moe-backend` makes vLLM pad each slice to whole blocks instead, which works with all kernels
    and costs memory.

    What to do
    Add `--enable-expert-parallel`: nothing is cut, and every kernel is available. Or drop what forces the kernel.

    Not covered
    How fast the refined blocks are. Nobody has published a measurement; vLLM ships tuned Triton configurations for
    blocks of 128 only. That is why launches that do start are noted here as unknown in speed.
    """
    quantization, moe = deployment.quantization, deployment.architecture.moe
    block = quantization.block
    if moe is None or block is None or deployment.enable_expert_parallel or "experts" in quantization.unquantized:
        return None
    ranks = deployment.tensor_parallel_size * deployment.data_parallel_size * deployment.prefill_context_parallel_size
    if ranks < 1:
        return None
    width, rest = divmod(moe.moe_intermediate_size, ranks)
    block_n, block_k = block
    if rest or (width % block_n == 0 and (ranks == 1 or width % block_k == 0)):
        return None
    if deployment.checkpoint.quantization.method == "none":
        return Unknown(
            "--quantization fp8_per_block makes its blocks once the weights are loaded and rounds their number up: "
            "whether its kernels take cut blocks is not known"
        )
    cut = (
        f"each of {ranks} ranks gets {width} of an expert's {moe.moe_intermediate_size} columns, "
        f"not a multiple of {block_n}"
    )
    not_divisible = (
        f"The output_size of gate's and up's weight = {width} is not divisible by "
        f"weight quantization block_n = {block_n}."
    )
    if quantization.method != "fp8":
        return Breach(
            because=f"{cut}, and vLLM makes blocks finer for method fp8 only, not {quantization.method}",
            about=("tensor_parallel_size",),
            fixes=(_EXPERTS,),
            error=not_divisible,
        )
    finer = gcd(block_n, block_k, width, deployment.architecture.hidden_size)
    if deployment.moe_backend != "auto":
        return _explicit_backend(deployment, moe.moe_intermediate_size, block_n, cut, finer, not_divisible)
    if finer < _FINEST:
        return Breach(
            because=f"{cut}; blocks would have to shrink to {finer}, below the smallest of {_FINEST}",
            about=("tensor_parallel_size",),
            fixes=(_EXPERTS,),
            error=not_divisible,
        )
    forced = _forced_kernel(deployment.env, deployment.gpu)
    if forced is not None:
        name, kernel = forced
        return Breach(
            because=f"{cut}; blocks of {finer} run on the Triton kernels only, and {name} forces {kernel}",
            about=(name, "tensor_parallel_size"),
            fixes=(_EXPERTS, Fix(f"unset {name}", drop_env=(name,))),
            error=_UNSUPPORTED.format(kernel),
        )
    return _triton(deployment.gpu, cut, finer)


def _explicit_backend(
    deployment: Deployment, columns: int, block_n: int, cut: str, finer: int, not_divisible: str
) -> Verdict:
    backend = deployment.moe_backend
    if backend == "triton" and finer >= _FINEST:
        return _triton(deployment.gpu, cut, finer)
    if deployment.release.version in _PADS_FOR_EXPLICIT_BACKEND:
        if columns % block_n == 0 and deployment.architecture.hidden_size % block_n == 0:
            return Unknown(f"{cut}; vLLM pads every slice to whole blocks for --moe-backend {backend}", decides=False)
        error = f"Block-aligned FP8 TP sharding requires {block_n}-aligned global expert dimensions"
    else:
        error = not_divisible if finer < _FINEST else _UNSUPPORTED.format(backend.upper())
    return Breach(
        because=f"{cut}, and the kernels of --moe-backend {backend} take whole blocks only",
        about=("moe_backend", "tensor_parallel_size"),
        fixes=(_EXPERTS, Fix("drop `--moe-backend`", drop=("moe_backend",))),
        error=error,
    )


def _forced_kernel(env: Mapping[str, str], gpu: Gpu) -> tuple[str, str] | None:
    """The environment variable that forces an MoE kernel which takes blocks of 128 only, and that kernel."""
    if gpu.vendor == "amd":
        if "VLLM_ROCM_USE_AITER" in env and _on(env, "VLLM_ROCM_USE_AITER") and _on(env, "VLLM_ROCM_USE_AITER_MOE"):
            return "VLLM_ROCM_USE_AITER", "AITER"
        return None
    for name in ("VLLM_USE_DEEP_GEMM", "VLLM_MOE_USE_DEEP_GEMM"):
        if name in env and _on(env, "VLLM_USE_DEEP_GEMM") and _on(env, "VLLM_MOE_USE_DEEP_GEMM"):
            return name, "DEEPGEMM"
    return None


def _on(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "1").strip().lower() not in ("0", "false", "")


def _triton(gpu: Gpu, cut: str, finer: int) -> Verdict:
    if gpu.vendor != "amd":
        if gpu.compute_capability is None:
            return Unknown(f"{cut}; whether the Triton FP8 kernels run on {gpu.name} is not known")
        if gpu.compute_capability < (8, 9):
            major, minor = gpu.compute_capability
            return Breach(
                because=f"{cut}; blocks of {finer} need FP8 hardware, and {gpu.name} (compute capability "
                f"{major}.{minor}) runs FP8 weights through Marlin, which takes whole blocks only",
                about=("tensor_parallel_size",),
                fixes=(_EXPERTS,),
                error="No FP8 MoE backend supports the deployment configuration.",
            )
    return Unknown(
        f"{cut}; vLLM refines the blocks to {finer}, for which its speed has not been measured", decides=False
    )
