"""Rule: multi-token prediction asked of a model without the layers for it."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range, Version

_METHODS = ("mtp", "qwen3_next_mtp")
_TAKEN_FOR_A_DRAFT = Range("0.10.2", "0.15.0")
_OWN_METHOD = Range("0.10.2", "0.11.0")
_WITH_LAYERS = ("Qwen3NextForCausalLM",)


@rule(
    holds=Range("0.10.2"),
    reads=("release", "architecture", "speculation"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/speculative.py",
            "Unsupported speculative method: 'mtp'",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/config/speculative.py",
            "Unsupported speculative method: 'mtp'",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.14.1/vllm/config/speculative.py",
            "Speculative decoding with draft model is not supported yet.",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.15.0/vllm/config/speculative.py",
            "Unsupported speculative method:",
            Level.DERIVED,
        ),
    ),
)
def draft_layers_not_in_model(deployment: Deployment) -> Verdict:
    """Multi-token prediction of a model that has no layers for it

    What it finds
    `--speculative-config` with method `mtp` or `qwen3_next_mtp`, and no draft model, on a model other than
    Qwen3-Next (Qwen3-Coder-Next).

    Why it fails
    The method runs extra layers of the checkpoint itself. Qwen3-Coder 30B and 480B have none, and vLLM stops:
    "Unsupported speculative method: 'mtp'". Up to 0.14.1 it takes the request for one of a draft model and stops with
    "Speculative decoding with draft model is not supported yet."

    What to do
    Method `ngram`, which needs no layers, or a draft model.

    Not covered
    How much is won by it. Releases before 0.10.2, which do not know the method.
    """
    asked = deployment.speculation
    if asked is None or asked.method not in _METHODS or asked.model is not None:
        return None
    if deployment.architecture.architecture in _WITH_LAYERS:
        return None
    return Breach(
        because=f"{deployment.architecture.architecture} has no prediction layers for method {asked.method}",
        about=("speculative_config",),
        fixes=(Fix("drop `--speculative-config`", drop=("speculative_config",)),),
        error=_words(deployment.release.version, asked.method),
    )


def _words(version: Version, method: str) -> str:
    if version not in _TAKEN_FOR_A_DRAFT:
        return "Unsupported speculative method: 'mtp'"
    if version not in _OWN_METHOD:
        return "Speculative decoding with draft model is not supported yet."
    # 0.10.2 has no `mtp` for all, and its `qwen3_next_mtp` looks for a draft inside of the model.
    known = method == "qwen3_next_mtp"
    return "num_speculative_tokens was provided without speculative model." if known else "Input should be 'ngram'"
