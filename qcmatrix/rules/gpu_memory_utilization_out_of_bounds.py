"""Rule: a share of the GPU's memory that is none."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_FIELD_BOUNDS = Range("0.11.1")
"""Releases that refuse zero and less as well when they read the option."""


@rule(
    holds=Range("0.10.0"),
    reads=("release", "gpu_memory_utilization"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/cache.py",
            "gpu_memory_utilization: Input should be less than or equal to 1",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/config/cache.py",
            "gpu_memory_utilization: Input should be greater than 0",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "GPU memory utilization must be less than 1.0. Got",
            Level.DERIVED,
        ),
    ),
)
def gpu_memory_utilization_out_of_bounds(deployment: Deployment) -> Verdict:
    """The share of GPU memory is not between 0 and 1

    What it finds
    `--gpu-memory-utilization` of 0 or less, or above 1: often a percentage (90 for 0.90).

    Why it fails
    The option is a share of the card. Above 1 every release refuses it; 0 and less is refused from 0.11.1 on, and
    leaves no memory for the weights before.

    What to do
    A share below 1: 0.90 to 0.95 is usual.

    Not covered
    Shares that are allowed and too large for what else lies on the card: `memory-outside-budget-runs-out`.
    """
    share = deployment.gpu_memory_utilization
    if 0 < share <= 1:
        return None
    if deployment.release.version in _FIELD_BOUNDS:
        error = "Input should be greater than 0" if share <= 0 else "Input should be less than or equal to 1"
    else:
        error = "" if share <= 0 else f"GPU memory utilization must be less than 1.0. Got {share}."
    fixes = [Fix("leave it out", drop=("gpu_memory_utilization",))]
    if 1 < share <= 100:
        meant = share / 100
        fixes.insert(0, Fix(f"use `--gpu-memory-utilization {meant:g}`", set={"gpu_memory_utilization": meant}))
    return Breach(
        because=f"--gpu-memory-utilization {share:g} is no share of the card",
        about=("gpu_memory_utilization",),
        fixes=tuple(fixes),
        error=error,
    )
