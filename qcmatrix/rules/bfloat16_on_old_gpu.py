"""Rule: bfloat16 asked of a card that has none."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("gpu", "dtype"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/platforms/cuda.py",
            "Bfloat16 is only supported on GPUs with compute capability of at least",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "Falling back to %s for compatibility.",
            Level.DERIVED,
        ),
    ),
    enforced_by_vllm=False,
)
def bfloat16_on_old_gpu(deployment: Deployment) -> Verdict:
    """bfloat16 is asked of a card that does not have it

    What it finds
    `--dtype bfloat16` on an NVIDIA card older than compute capability 8.0 (T4, V100).

    Why it fails
    "Bfloat16 is only supported on GPUs with compute capability of at least 8.0. ... You can use float16 instead by
    explicitly setting the `dtype` flag in CLI, for example: --dtype=half."

    What to do
    Drop `--dtype`: with `auto`, vLLM falls back to float16 on such cards by itself.

    Not covered
    Whether the model is as good in float16.
    """
    capability = deployment.gpu.compute_capability
    if deployment.dtype != "bfloat16" or deployment.gpu.vendor == "amd" or capability is None or capability >= (8, 0):
        return None
    return Breach(
        because=f"{deployment.gpu.name} has compute capability {capability[0]}.{capability[1]}, and bfloat16 needs 8.0",
        about=("dtype",),
        fixes=(Fix("drop `--dtype`", drop=("dtype",)), Fix("use `--dtype half`", set={"dtype": "half"})),
        error="Bfloat16 is only supported on GPUs with compute capability of at least 8.0.",
    )
