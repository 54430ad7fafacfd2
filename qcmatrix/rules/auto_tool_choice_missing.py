"""Rule: a tool call parser that automatic tool choice never uses."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("enable_auto_tool_choice", "tool_call_parser"),
    outcome=Outcome.BREAKS_CLIENTS,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/entrypoints/openai/serving_chat.py",
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/renderers/online_renderer.py",
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            Level.DERIVED,
        ),
    ),
)
def auto_tool_choice_missing(deployment: Deployment) -> Verdict:
    """A tool call parser is given, and automatic tool choice is not enabled

    What it finds
    `--tool-call-parser` without `--enable-auto-tool-choice`.

    Why it fails
    The parser is used only when the model may choose a tool by itself. A request with tools and the default tool
    choice is answered with HTTP 400: "auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to
    be set. Coding agents send just that.

    What to do
    Add `--enable-auto-tool-choice`.

    Not covered
    Requests with a named or required tool, which work without it.
    """
    if deployment.tool_call_parser is None or deployment.enable_auto_tool_choice:
        return None
    return Breach(
        because=f"--tool-call-parser {deployment.tool_call_parser} is given, and --enable-auto-tool-choice is not: "
        "requests with tools get HTTP 400",
        about=("tool_call_parser",),
        fixes=(Fix("add `--enable-auto-tool-choice`", set={"enable_auto_tool_choice": True}),),
    )
