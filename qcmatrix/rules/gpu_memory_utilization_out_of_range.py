"""Rule: a share of the GPU's memory that is no share."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_FIELD = Range("0.11.1")
_PERCENT = 100


@rule(
    holds=Range("0.10.0"),
    reads=("release", "gpu_memory_utilization"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/cache.py",
            "gpu_memory_utilization Input should be less than or equal to 1",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.1/vllm/config/cache.py",
            "gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "GPU memory utilization must be less than 1.0. Got",
            Level.DERIVED,
        ),
    ),
)
def gpu_memory_utilization_out_of_range(deployment: Deployment) -> Verdict:
    """The share of the GPU's memory is not between 0 and 1

    What it finds
    `--gpu-memory-utilization` of 0 or less, above 1 (90 for 90%), or not a number.

    Why it fails
    It is a share of the card's memory. Above 1 every release refuses it: "GPU memory utilization must be less than
    1.0. Got 90.0." up to 0.11.0, "Input should be less than or equal to 1" from 0.11.1 on. 0 and less are refused
    from 0.11.1 on ("Input should be greater than 0"); before, no memory is left for the KV cache.

    What to do
    Write 90% as `0.9`, or leave the option out.

    Not covered
    Shares that are allowed and too small for the weights, or too large for what comes beside: the memory rules.
    """
    share = deployment.gpu_memory_utilization
    if 0 < share <= 1:
        return None
    fixes = [Fix("drop `--gpu-memory-utilization`", drop=("gpu_memory_utilization",))]
    if 1 < share <= _PERCENT and share / _PERCENT >= 0.5:
        meant = share / _PERCENT
        fixes.insert(0, Fix(f"use `--gpu-memory-utilization {meant:g}`", set={"gpu_memory_utilization": meant}))
    if deployment.release.version in _FIELD:
        error = f"Input should be {'greater than 0' if share <= 0 else 'less than or equal to 1'}"
    else:
        error = f"GPU memory utilization must be less than 1.0. Got {float(share)}." if share > 1 else ""
    return Breach(
        because=f"--gpu-memory-utilization is {share:g}, and a share lies above 0 and is at most 1",
        about=("gpu_memory_utilization",),
        fixes=tuple(fixes),
        error=error,
    )
