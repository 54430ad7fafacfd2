"""Rule: code of a repository is trusted, and none is needed."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("trust_remote_code", "architecture"),
    outcome=Outcome.UNSAFE,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/model_executor/models/registry.py",
            '"Qwen3MoeForCausalLM": ("qwen3_moe", "Qwen3MoeForCausalLM")',
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/model_executor/models/registry.py",
            '"Qwen3MoeForCausalLM": ("qwen3_moe", "Qwen3MoeForCausalLM")',
            Level.DERIVED,
        ),
    ),
)
def trust_remote_code_without_need(deployment: Deployment) -> Verdict:
    """--trust-remote-code is given for a model that brings no code

    What it finds
    `--trust-remote-code` for a Qwen2, Qwen3 or Qwen3-Next architecture, all of which are built into vLLM and
    Transformers.

    Why it fails
    The flag lets Python code from the model's repository run with the server's rights. These checkpoints have none,
    so it buys nothing today and opens the door to whoever changes the repository.

    What to do
    Leave it out.

    Not covered
    Derived checkpoints that do bring code.
    """
    if not deployment.trust_remote_code or not deployment.architecture.architecture.startswith(("Qwen2For", "Qwen3")):
        return None
    return Breach(
        because=f"{deployment.architecture.architecture} is built into vLLM",
        about=("trust_remote_code",),
        fixes=(Fix("leave `--trust-remote-code` out", drop=("trust_remote_code",), safe=True),),
        severity=Severity.INFO,
    )
