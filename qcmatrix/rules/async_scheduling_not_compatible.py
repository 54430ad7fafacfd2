"""Rule: asynchronous scheduling together with what it cannot schedule."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_NO_PIPELINE = Range("0.10.0", "0.15.0")
_NO_SPECULATION = Range("0.10.0", "0.11.1")
_NO_SINGLE_PROCESS = Range("0.10.0", "0.11.0")
_DRAFT_ON_GPU = Range("0.11.1", "0.33.0")


@rule(
    holds=Range("0.10.0"),
    reads=(
        "release",
        "given",
        "async_scheduling",
        "pipeline_parallel_size",
        "speculation",
        "distributed_executor_backend",
    ),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/engine/arg_utils.py",
            "Async scheduling is not supported with pipeline-parallel-size > 1.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.14.1/vllm/config/vllm.py",
            "Async scheduling is not yet compatible with pipeline_parallel_size > 1.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/vllm.py",
            "Currently, async scheduling is only supported with EAGLE/MTP/Draft Model/NGram GPU/DSpark/DFlash",
            Level.DERIVED,
        ),
    ),
)
def async_scheduling_not_compatible(deployment: Deployment) -> Verdict:
    """--async-scheduling with what it cannot be combined with

    What it finds
    `--async-scheduling` given together with pipeline parallelism (up to 0.14.1), with speculative decoding (any up to
    0.11.0, n-gram look-up after that), or with `--distributed-executor-backend uni` (up to 0.10.2).

    Why it fails
    Asked for by name, vLLM takes it for a condition and stops: "Async scheduling is not yet compatible with
    pipeline_parallel_size > 1." Left to itself it switches asynchronous scheduling off in such a launch.

    What to do
    Leave `--async-scheduling` out: where it can be had it is on by default from 0.14.0 on.

    Not covered
    Ray as executor, and the kinds of speculative decoding other than n-gram from 0.11.1 on.
    """
    if "async_scheduling" not in deployment.given or not deployment.async_scheduling:
        return None
    version, speculation = deployment.release.version, deployment.speculation
    if deployment.pipeline_parallel_size > 1 and version in _NO_PIPELINE:
        words = "supported with pipeline-parallel-size" if version in _NO_SPECULATION else ""
        words = words or "yet compatible with pipeline_parallel_size"
        return _breach(f"{deployment.pipeline_parallel_size} pipeline stages", f"Async scheduling is not {words} > 1.")
    if speculation is not None and version in _NO_SPECULATION:
        error = "Currently, speculative decoding is not supported with async scheduling."
        return _breach("speculative decoding", error)
    if speculation is not None and speculation.method == "ngram" and version in _DRAFT_ON_GPU:
        return _breach("n-gram look-up", "Currently, async scheduling is only supported with EAGLE/MTP")
    if deployment.distributed_executor_backend == "uni" and version in _NO_SINGLE_PROCESS:
        return _breach("one process", "Async scheduling is not supported with uni-process backend.")
    return None


def _breach(what: str, error: str) -> Breach:
    drop = Fix("drop `--async-scheduling`", drop=("async_scheduling",))
    because = f"this release cannot schedule {what} asynchronously"
    return Breach(because=because, about=("async_scheduling",), fixes=(drop,), error=error)
