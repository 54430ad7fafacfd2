"""Rule: Qwen3-Next split into pipeline stages, before that worked."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.11.1", "0.12.0"),
    reads=("architecture", "pipeline_parallel_size"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.1/vllm/model_executor/models/qwen3_next.py",
            "No Qwen3Next layer found in the model.layers.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.12.0/vllm/model_executor/models/qwen3_next.py",
            "No Qwen3Next layer found in the model.layers.",
            Level.PROBED,
        ),
    ),
)
def hybrid_model_in_pipeline_stages(deployment: Deployment) -> Verdict:
    """Qwen3-Next does not start on more than one pipeline stage

    What it finds
    A hybrid model (Qwen3-Next, Qwen3-Coder-Next) with `--pipeline-parallel-size` above 1.

    Why it fails
    While it collects its experts, the model class of these two releases stops at the first layer that has none. On each
    stage but the first the list of layers begins with placeholders of the stages before, so those ranks raise `No
    Qwen3Next layer found in the model.layers.` and the server ends. Later releases look at all layers first.

    What to do
    Use tensor or data parallelism, or vLLM 0.12.0 or later.

    Not covered
    0.10.2 and 0.11.0, which do not collect the experts there.
    """
    stages = deployment.pipeline_parallel_size
    if stages <= 1 or deployment.architecture.linear_attention is None:
        return None
    return Breach(
        because=f"{stages} pipeline stages of a hybrid model: every stage but the first finds no layer with experts",
        about=("pipeline_parallel_size",),
        fixes=(Fix("drop `--pipeline-parallel-size`", drop=("pipeline_parallel_size",)),),
        error="No Qwen3Next layer found in the model.layers.",
    )
