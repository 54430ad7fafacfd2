"""Rule: a model that the release does not know."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

# First release whose registry has the class; the others of this family are older than 0.10.0.
_SINCE = {"Qwen3NextForCausalLM": Range("0.10.2")}
_ALWAYS = frozenset({"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM"})


@rule(
    holds=Range("0.10.0"),
    reads=("release", "architecture"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/model_executor/models/registry.py",
            "Qwen3NextForCausalLM",
            Level.DERIVED,
        ),
    ),
)
def model_class_not_in_release(deployment: Deployment) -> Verdict:
    """The release does not know the model's class

    What it finds
    A model whose class the release's registry does not have: Qwen3-Coder-Next and Qwen3-Next before 0.10.2.

    Why it fails
    vLLM looks the class of `config.json` up in its registry. Without it, it tries the Transformers library's own
    implementation, which in those days did not know the model type either, and stops.

    What to do
    Use a newer release. For Qwen3-Coder-Next, 0.15.0 (the release of its time) or newer.

    Not covered
    Classes that are not in the catalogue are answered with unknown.
    """
    name = deployment.architecture.architecture
    if name in _ALWAYS:
        return None
    since = _SINCE.get(name)
    if since is None:
        return Unknown(f"which releases know {name} is not in the catalogue")
    if deployment.release.version in since:
        return None
    return Breach(because=f"{name} appeared in vLLM {since.low}, and this is {deployment.release.version}")
