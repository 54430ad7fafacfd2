"""Rule: a served name from which clients cannot tell the model."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("checkpoint", "served_model_names"),
    outcome=Outcome.BREAKS_CLIENTS,
    sources=(
        RuleSource(
            "https://github.com/continuedev/continue/blob/main/core/autocomplete/templating/AutocompleteTemplate.ts",
            'lowerCaseModel.includes("qwen") && lowerCaseModel.includes("coder")',
        ),
    ),
)
def served_model_name_hides_family(deployment: Deployment) -> Verdict:
    """Clients cannot tell from the served name that the model is Qwen Coder

    What it finds
    A Coder checkpoint whose served names lack "qwen" or "coder".

    Why it fails
    Continue chooses the fill-in-the-middle template by the model's name. Without both words it takes another model's
    template, with markers that Qwen reads as plain text, and completions are garbage. Chat is not affected.

    What to do
    Serve a name with both words, `qwen3-coder` for example (several names may be given), or set the template in the
    client.

    Not covered
    Other clients' rules: Zed wants its own setting (`prompt_format`) for names that it does not know.
    """
    if "coder" not in deployment.checkpoint.repository.lower():
        return None
    names = deployment.served_model_names
    if not names or any("qwen" in name.lower() and "coder" in name.lower() for name in names):
        return None
    lacking = " and ".join(f"`{word}`" for word in ("qwen", "coder") if word not in names[0].lower())
    return Breach(
        because=f"the served name {names[0]} lacks {lacking}, by which Continue picks the completion template",
        about=("served_model_name",),
        fixes=(Fix("serve the name `qwen3-coder` as well", set={"served_model_name": [*names, "qwen3-coder"]}),),
        severity=Severity.WARNING,
    )
