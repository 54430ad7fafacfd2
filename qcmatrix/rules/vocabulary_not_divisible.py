"""Rule: a padded vocabulary that tensor parallelism cannot share out."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

# DEFAULT_VOCAB_PADDING_SIZE of vLLM's VocabParallelEmbedding
_PADDING = 64


@rule(
    holds=Range("0.10.0"),
    reads=("architecture", "tensor_parallel_size"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/distributed/utils.py",
            "151936 is not divisible by 6",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/model_executor/layers/vocab_parallel_embedding.py",
            "DEFAULT_VOCAB_PADDING_SIZE = 64",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/distributed/utils.py",
            "is not divisible by",
            Level.DERIVED,
        ),
    ),
)
def vocabulary_not_divisible(deployment: Deployment) -> Verdict:
    """The padded vocabulary does not divide into the ranks

    What it finds
    A tensor parallel size that does not divide the vocabulary after vLLM has padded it to a multiple of 64.

    Why it fails
    Embedding and output head are sliced by token; every rank holds an equal slice of the padded vocabulary (151,936
    tokens, a multiple of 64, for all Qwen3 models). A size such as 3 or 5 ends in an AssertionError ("... is not
    divisible by ...") while the embedding is built.

    What to do
    Use a power of two. Sizes like 3, 5 or 6 nearly always fail on the heads or the vocabulary.

    Not covered
    Extra tokens of LoRA adapters in old releases.
    """
    vocabulary, ranks = deployment.architecture.vocab_size, deployment.tensor_parallel_size
    padded = -(-vocabulary // _PADDING) * _PADDING
    if ranks < 1 or padded % ranks == 0:
        return None
    fewer = next(size for size in range(ranks - 1, 0, -1) if padded % size == 0)
    return Breach(
        because=f"a vocabulary of {padded} (padded to a multiple of {_PADDING}) does not divide into {ranks} ranks",
        about=("tensor_parallel_size",),
        fixes=(Fix(f"use `--tensor-parallel-size {fewer}`", set={"tensor_parallel_size": fewer}),),
        error=f"AssertionError: {padded} is not divisible by {ranks}",
    )
