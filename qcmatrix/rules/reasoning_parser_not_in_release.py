"""Rule: a reasoning parser that the release does not have."""

from __future__ import annotations

import difflib

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_DROP = Fix("leave `--reasoning-parser` out", drop=("reasoning_parser",))


@rule(
    holds=Range("0.11.1"),
    reads=("release", "reasoning_parser", "options"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/reasoning/abs_reasoning_parsers.py",
            "Reasoning parser 'nonesuch' not found. Available parsers:",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.11.2/vllm/entrypoints/openai/api_server.py",
            "invalid reasoning parser: {reasoning_parser}",
            Level.DERIVED,
        ),
    ),
)
def reasoning_parser_not_in_release(deployment: Deployment) -> Verdict:
    """The reasoning parser is none of this release

    What it finds
    `--reasoning-parser` with a name that this release does not register.

    Why it fails
    vLLM looks the name up while it builds its configuration, before it loads the model.

    What to do
    Qwen3-Coder does not think: leave the option out. For thinking models: the name that the finding proposes.

    Not covered
    Names that a `--reasoning-parser-plugin` registers. Up to 0.11.0 the argument parser knows the names and refuses
    the value itself.
    """
    given = deployment.reasoning_parser
    known = deployment.release.file.reasoning_parsers
    if given is None or given in known or deployment.options.get("reasoning_parser_plugin"):
        return None
    close = difflib.get_close_matches(given, known, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    fixes = (
        (Fix(f"use `--reasoning-parser {close[0]}`", set={"reasoning_parser": close[0]}), _DROP) if close else (_DROP,)
    )
    return Breach(
        because=f"vLLM {deployment.release} has no reasoning parser {given}{meant}",
        about=("reasoning_parser",),
        fixes=fixes,
        error=given,
    )
