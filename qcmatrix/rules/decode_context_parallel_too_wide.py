"""Rule: decode context parallelism that tensor parallelism cannot carry."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_CHECKS_HEADS = Range("0.11.1")
_WORDS_OF_FLAGS = Range("0.27.0")


@rule(
    holds=Range("0.10.2"),
    reads=("release", "architecture", "tensor_parallel_size", "decode_context_parallel_size"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/model.py",
            "Decode context parallelism for GQA/MQA requires `--tensor-parallel-size` (8) to be greater than",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/model.py",
            "Decode context parallelism for GQA/MQA requires",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.20.0/vllm/config/model.py",
            "must be greater than total num kv heads",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/engine/arg_utils.py",
            "must be divisible by dcp_size",
            Level.DERIVED,
        ),
    ),
)
def decode_context_parallel_too_wide(deployment: Deployment) -> Verdict:
    """Decode context parallelism is wider than tensor parallelism allows

    What it finds
    `--decode-context-parallel-size` that does not divide the tensor parallel size, or that asks for more than the
    key-value heads leave room for.

    Why it fails
    Decode context parallelism spreads the KV cache over ranks that would otherwise hold copies of the same key-value
    head. So it works only where there are copies: the tensor parallel size must be greater than the number of
    key-value heads, at most that many times over, and the query heads per key-value head must divide. vLLM checks
    this from 0.11.1; 0.10.2 to 0.11.0 check only that the size divides the tensor parallel size.

    What to do
    Drop it, or raise the tensor parallel size: the 480B (8 key-value heads) needs 16 ranks for a size of 2.

    Not covered
    Attention backends that cannot do it.
    """
    size, tensor = deployment.decode_context_parallel_size, deployment.tensor_parallel_size
    if size <= 1 or tensor < 1:
        return None
    drop = Fix("drop `--decode-context-parallel-size`", drop=("decode_context_parallel_size",))
    about = ("decode_context_parallel_size", "tensor_parallel_size")
    if tensor % size:
        return Breach(
            because=f"a size of {size} does not divide {tensor} tensor parallel ranks",
            about=about,
            fixes=(drop,),
            error=f"tp_size={tensor} must be divisible by",
        )
    if deployment.release.version not in _CHECKS_HEADS:
        return None
    heads, kv_heads = deployment.architecture.num_attention_heads, deployment.architecture.num_key_value_heads
    if tensor <= kv_heads:
        because = f"{tensor} ranks hold {kv_heads} key-value heads without copies, so there is nothing to spread"
        errors = "must be greater than total num kv heads", "Decode context parallelism for GQA/MQA requires"
    elif size > tensor // kv_heads:
        copies = tensor // kv_heads
        because = f"{tensor} ranks hold {copies} copies of each of {kv_heads} key-value heads, fewer than {size}"
        errors = "decode context parallel size must less than or equal to", "exceeds the maximum supported value"
    elif heads // kv_heads % size:
        because = f"{heads // kv_heads} query heads per key-value head do not divide by {size}"
        errors = "must be divisible by dcp world size", "The model's number of query heads per KV head"
    else:
        return None
    error = errors[deployment.release.version in _WORDS_OF_FLAGS]
    return Breach(because=because, about=about, fixes=(drop,), error=error)
