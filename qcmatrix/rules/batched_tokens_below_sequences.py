"""Rule: a batch with fewer tokens than sequences."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("max_num_batched_tokens", "max_num_seqs"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/scheduler.py",
            "max_num_batched_tokens (128) must be greater than or equal to max_num_seqs (256).",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "be greater than or equal to max_num_seqs",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/scheduler.py",
            "be greater than or equal to max_num_seqs",
            Level.DERIVED,
        ),
    ),
)
def batched_tokens_below_sequences(deployment: Deployment) -> Verdict:
    """A step has fewer tokens than running sequences

    What it finds
    `--max-num-batched-tokens` smaller than `--max-num-seqs` (also when the latter is the release's default: 256 or
    1024).

    Why it fails
    Every running sequence decodes at least one token per step, so vLLM refuses: "max_num_batched_tokens (512) must be
    greater than or equal to max_num_seqs (1024)."

    What to do
    Lower `--max-num-seqs` (a single user needs few) or raise `--max-num-batched-tokens`.

    Not covered
    Step sizes that are allowed and slow.
    """
    tokens, sequences = deployment.max_num_batched_tokens, deployment.max_num_seqs
    if tokens >= sequences:
        return None
    return Breach(
        because=f"{tokens} tokens per step for {sequences} sequences",
        about=("max_num_batched_tokens", "max_num_seqs"),
        fixes=(
            Fix(f"use `--max-num-seqs {tokens}`", set={"max_num_seqs": tokens}),
            Fix(f"use `--max-num-batched-tokens {sequences}`", set={"max_num_batched_tokens": sequences}),
        ),
        error=f"max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs ({sequences}).",
    )
