"""Rule: ``--max-seq-len-to-capture`` under the V1 engine."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.rules.old_engine import why_old_engine
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0", "0.11.0"),
    reads=("release", "gpu", "given", "kv_cache_dtype", "attention_backend", "env"),
    outcome=Outcome.REDUNDANT,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/config/__init__.py",
            "Maximum sequence len covered by CUDA graphs.",
            Level.DERIVED,
        ),
    ),
)
def max_seq_len_to_capture_without_effect(deployment: Deployment) -> Verdict:
    """--max-seq-len-to-capture does nothing under the V1 engine

    What it finds
    `--max-seq-len-to-capture` in 0.10.0 up to 0.10.2.

    Why it fails
    It was a limit of the old engine: longer sequences ran without CUDA graphs. The V1 engine, which serves the Qwen3
    models, captures graphs by number of tokens in a step and never looks at it. 0.11.0 took the flag out, so the same
    command stops there.

    What to do
    Leave it out.

    Not covered
    Launches that fall back to the old engine, which does look at the limit: `VLLM_USE_V1=0`, its attention backends,
    an FP8 KV cache on most cards. Cards that are not known.
    """
    if "max_seq_len_to_capture" not in deployment.given or deployment.env.get("VLLM_USE_V1") == "0":
        return None
    if deployment.gpu.compute_capability is None or why_old_engine(deployment) is not None:
        return None
    return Breach(
        because="the V1 engine captures CUDA graphs whatever the sequence length, and 0.11.0 has the flag no more",
        about=("max_seq_len_to_capture",),
        fixes=(Fix("leave it out", drop=("max_seq_len_to_capture",), safe=True),),
    )
