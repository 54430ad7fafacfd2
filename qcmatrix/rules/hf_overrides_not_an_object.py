"""Rule: ``--hf-overrides`` that is no JSON object."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_SHOWN = 40


@rule(
    holds=Range("0.10.0"),
    reads=("options",),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/config/model.py",
            "hf_overrides.dict[str,any] Input should be a valid dictionary",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/config.py",
            "hf_overrides: HfOverrides = field(default_factory=dict)",
            Level.DERIVED,
        ),
    ),
)
def hf_overrides_not_an_object(deployment: Deployment) -> Verdict:
    """The value of --hf-overrides is no JSON object

    What it finds
    `--hf-overrides` with a list, a number, or braces that do not close, as a shell makes of an unquoted JSON value.

    Why it fails
    What does not begin with `{` and end with `}` is taken for a plain text, and the model's configuration wants a
    dictionary: "Input should be a valid dictionary".

    What to do
    Put the JSON object in single quotes: `--hf-overrides '{"max_position_embeddings": 262144}'`.

    Not covered
    JSON between braces that cannot be read: the argument parser stops there, see `words-that-cannot-be-read`.
    """
    if "hf_overrides" not in deployment.options:
        return None
    value = deployment.options["hf_overrides"]
    if isinstance(value, dict):
        return None
    shown = str(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return Breach(
        because=f"--hf-overrides is {shown!r}, and it must be a JSON object",
        about=("hf_overrides",),
        fixes=(Fix("drop `--hf-overrides`", drop=("hf_overrides",)),),
        error="Input should be a valid dictionary",
    )
