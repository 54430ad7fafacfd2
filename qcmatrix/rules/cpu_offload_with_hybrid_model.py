"""Rule: CPU offload of a hybrid model's weights in the releases that could not."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.2", "0.20.0"),
    reads=("architecture", "cpu_offload_gb"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.19.1/vllm/v1/worker/gpu_model_runner.py",
            "Cannot re-initialize the input batch when CPU weight offloading is enabled.",
            Level.DERIVED,
        ),
        RuleSource("https://github.com/vllm-project/vllm/pull/18298", "CPU weight offloading"),
    ),
    enforced_by_vllm=False,
)
def cpu_offload_with_hybrid_model(deployment: Deployment) -> Verdict:
    """A hybrid model cannot have its weights offloaded to the CPU here

    What it finds
    `--cpu-offload-gb` with a hybrid model (Qwen3-Coder-Next) before 0.20.0.

    Why it fails
    A hybrid model has caches of two block sizes, so vLLM builds its input batch anew once they are known, and asserts
    that no weights are offloaded: "Cannot re-initialize the input batch when CPU weight offloading is enabled."

    What to do
    Drop the option and use more GPUs or a smaller checkpoint, or use 0.20.0 or newer.

    Not covered
    How slow offloading is: every step moves the offloaded weights over PCIe.
    """
    if deployment.architecture.linear_attention is None or deployment.cpu_offload_gb <= 0:
        return None
    return Breach(
        because=f"a hybrid model, and {deployment.cpu_offload_gb:g} GiB of weights per GPU are to be offloaded",
        about=("cpu_offload_gb",),
        fixes=(Fix("drop `--cpu-offload-gb`", drop=("cpu_offload_gb",)),),
        error="Cannot re-initialize the input batch when CPU weight offloading is enabled.",
    )
