"""Rule: the checkpoint's sampling defaults become the server's."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("checkpoint", "generation_config"),
    outcome=Outcome.SLOWER_OR_SMALLER,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "Default sampling parameters have been overridden by the",
            Level.DERIVED,
        ),
        RuleSource(
            "https://huggingface.co/Qwen/Qwen3-Coder-480B-A35B-Instruct",
            "We suggest using the following sampling parameters: temperature=0.7, top_p=0.8, top_k=20, "
            "repetition_penalty=1.05.",
        ),
    ),
)
def generation_config_changes_sampling(deployment: Deployment) -> Verdict:
    """The checkpoint's sampling defaults apply to every request

    What it finds
    A Qwen3-Coder checkpoint and `--generation-config` left at `auto`.

    Why it fails
    vLLM takes the defaults of the checkpoint's `generation_config.json` for whatever a request leaves out: for
    Qwen3-Coder among them a repetition penalty of 1.05. That is right for chat. Code completion, which repeats names
    and indentation, and benchmarks that expect OpenAI's defaults are better off without it.

    What to do
    Send the parameters with each request, or start with `--generation-config vllm` for vLLM's own neutral defaults.

    Not covered
    What a checkpoint's file says: it is not read here.
    """
    if deployment.generation_config != "auto" or "qwen3-coder" not in deployment.checkpoint.repository.lower():
        return None
    return Breach(
        because="requests that leave sampling parameters out get the checkpoint's, a repetition penalty included",
        about=("generation_config",),
        fixes=(Fix("use vLLM's neutral defaults: `--generation-config vllm`", set={"generation_config": "vllm"}),),
        severity=Severity.INFO,
    )
