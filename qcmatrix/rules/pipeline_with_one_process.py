"""Rule: pipeline stages under an executor of one process."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.11.1"),
    reads=("pipeline_parallel_size", "distributed_executor_backend"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/engine/arg_utils.py",
            "Pipeline Parallelism without Ray distributed executor or multiprocessing executor or external launcher is "
            "not supported.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/engine/arg_utils.py",
            "Pipeline Parallelism without Ray distributed executor or multiprocessing executor",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.0/vllm/engine/arg_utils.py",
            "is not supported by the V1 Engine. Falling back to V0.",
            Level.DERIVED,
        ),
    ),
)
def pipeline_with_one_process(deployment: Deployment) -> Verdict:
    """Pipeline stages need more than one process

    What it finds
    `--pipeline-parallel-size` above 1 with `--distributed-executor-backend uni`.

    Why it fails
    `uni` runs everything in one process, and every stage needs its own. vLLM says so while it reads the options.

    What to do
    Leave the executor out: vLLM takes `mp`, or Ray where it is asked for.

    Not covered
    Tensor parallelism with `uni`, which the configuration lets pass. Releases up to 0.11.0
    only warn of it and turn to their old engine.
    """
    stages = deployment.pipeline_parallel_size
    if stages <= 1 or deployment.distributed_executor_backend != "uni":
        return None
    return Breach(
        because=f"{stages} pipeline stages, and --distributed-executor-backend uni is one process",
        about=("distributed_executor_backend", "pipeline_parallel_size"),
        fixes=(Fix("drop `--distributed-executor-backend`", drop=("distributed_executor_backend",)),),
        error="Pipeline Parallelism without Ray distributed executor or multiprocessing executor",
    )
