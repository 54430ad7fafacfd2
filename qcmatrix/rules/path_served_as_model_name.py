"""Rule: a file path as the model's name."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range

_PATH_STARTS = ("/", "./", "../", "~")


@rule(
    holds=Range("0.10.0"),
    reads=("checkpoint", "served_model_names"),
    outcome=Outcome.BREAKS_CLIENTS,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "if not served_model_name: return model",
            Level.DERIVED,
        ),
    ),
)
def path_served_as_model_name(deployment: Deployment) -> Verdict:
    """The model is served under a file path

    What it finds
    A model given as a directory, and no `--served-model-name`.

    Why it fails
    The served name is then the path, word for word. A client that asks for the repository's name gets HTTP 404: the
    model does not exist. It has to send the path, which also tells everybody where the weights lie.

    What to do
    Add `--served-model-name` with the name that clients send.

    Not covered
    Paths that look like a repository (`models/qwen`).
    """
    names = deployment.served_model_names
    if len(names) != 1 or not names[0].startswith(_PATH_STARTS):
        return None
    name = deployment.checkpoint.repository.rpartition("/")[2]
    return Breach(
        because=f"clients have to ask for the model {names[0]}",
        about=("model",),
        fixes=(Fix(f"add `--served-model-name {name}`", set={"served_model_name": [name]}),),
        severity=Severity.INFO,
    )
