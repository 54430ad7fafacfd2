"""Rule: FP8 checkpoints of Qwen3-Next on the first release that knew the model."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.2", "0.11.0"),
    reads=("architecture", "quantization"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/issues/25378",
            "Qwen/Qwen3-Next-80B-A3B-Instruct-FP8 Fails Starting",
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/model_executor/models/qwen3_next.py",
            "output_sizes=[self.projection_size_qkvz, self.projection_size_ba]",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.0/vllm/model_executor/models/qwen3_next.py",
            "ba_proj doesn't support blockwise fp8 quantization.",
            Level.DERIVED,
        ),
    ),
)
def next_fp8_before_split_projection(deployment: Deployment) -> Verdict:
    """vLLM 0.10.2 cannot load FP8 checkpoints of Qwen3-Next

    What it finds
    A block-wise FP8 checkpoint of a Qwen3-Next model (Qwen3-Coder-Next-FP8) on vLLM 0.10.2.

    Why it fails
    0.10.2 builds two projections of the linear attention layers as one layer. The checkpoint stores one of them in
    FP8 and the other in 16 bit, which one layer cannot hold, so building the model fails. 0.11.0 split the layer.

    What to do
    Use 0.11.0 or newer (0.15.0 or newer for Qwen3-Coder-Next).

    Not covered
    Checkpoints without block-wise FP8.
    """
    if deployment.architecture.linear_attention is None or deployment.quantization.block is None:
        return None
    return Breach(
        because="the linear attention projections are one layer here, and the checkpoint stores them in FP8 and 16 bit"
    )
