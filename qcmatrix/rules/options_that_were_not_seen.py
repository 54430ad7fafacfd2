"""Rule: options-that-were-not-seen."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.launch.parsed import ProblemKind
from qcmatrix.rules.declare import Breach, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

_UNSEEN = frozenset({ProblemKind.UNEXPANDED, ProblemKind.CONFIG_FILE})


@rule(
    holds=Range("0.10.0", None),
    reads=("problems",),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    enforced_by_vllm=False,
    sources=(
        RuleSource(
            "https://docs.vllm.ai/en/v0.33.0/configuration/serve_args/",
            "You can load CLI arguments via a YAML config file",
        ),
    ),
)
def options_that_were_not_seen(deployment: Deployment) -> Verdict:
    """Options stand where they were not seen, or replace others unseen

    What it finds
    A `--config` file, a shell variable that is not set in the command, and a dotted option
    (`--hf-overrides.rope_theta 1`) beside the JSON form of the same option.

    Why it fails
    What was not seen cannot be judged. A dotted option does not add to the JSON form: vLLM moves it to the end, where
    it replaces the JSON as a whole.

    What to do
    Write the options of the file and the values of the variables into the command that is checked. Write one JSON
    value, or dotted options only.

    Not covered
    The contents of the file.
    """
    for problem in deployment.problems:
        if problem.kind is ProblemKind.DOTTED_REPLACES_JSON:
            return Breach(because=problem.text, about=problem.words[:1])
    unseen = [problem for problem in deployment.problems if problem.kind in _UNSEEN and not problem.harmless]
    if not unseen:
        return None
    return Unknown(because="; ".join(problem.text for problem in unseen))
