"""Rule: a batch smaller than the context without chunked prefill."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.11.1"),
    reads=("max_num_batched_tokens", "context", "enable_chunked_prefill"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/scheduler.py",
            "max_num_batched_tokens (8192) is smaller than max_model_len (262144).",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.1/vllm/config/scheduler.py",
            "This effectively limits the maximum sequence length to max_num_batched_tokens",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/config/scheduler.py",
            "This effectively limits the maximum sequence length to max_num_batched_tokens",
            Level.DERIVED,
        ),
    ),
)
def batched_tokens_below_context(deployment: Deployment) -> Verdict:
    """Without chunked prefill a batch must hold the whole context

    What it finds
    Chunked prefill switched off, with `--max-num-batched-tokens` smaller than the context.

    Why it fails
    Without chunks a prompt is processed in one step, so the step must be as large as the longest prompt. vLLM
    refuses: "max_num_batched_tokens (8192) is smaller than max_model_len (262144). This effectively limits the
    maximum sequence length to max_num_batched_tokens and makes vLLM reject longer sequences."

    What to do
    Leave chunked prefill on (the default), or raise `--max-num-batched-tokens` to the context, which costs activation
    memory in proportion.

    Not covered
    Releases before 0.11.1, which keep chunked prefill on whatever is asked: `chunked-prefill-stays-on`. What the best
    step size is: larger steps prefill faster and delay other requests more.
    """
    tokens, context = deployment.max_num_batched_tokens, deployment.context
    if deployment.enable_chunked_prefill or tokens >= context:
        return None
    return Breach(
        because=f"steps of {tokens} tokens cannot hold a prompt of {context} in one piece",
        about=("max_num_batched_tokens", "enable_chunked_prefill", "max_model_len"),
        fixes=(
            Fix("leave chunked prefill on", set={"enable_chunked_prefill": True}),
            Fix(f"use `--max-model-len {tokens}`", set={"max_model_len": tokens}),
            Fix(f"use `--max-num-batched-tokens {context}`", set={"max_num_batched_tokens": context}),
        ),
        error=f"max_num_batched_tokens ({tokens}) is smaller than max_model_len ({context}).",
    )
