"""Rule: a coding model served without tool calls."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.0"),
    reads=("checkpoint", "enable_auto_tool_choice", "tool_call_parser"),
    outcome=Outcome.BREAKS_CLIENTS,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/entrypoints/openai/serving_chat.py",
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            Level.DERIVED,
        ),
    ),
)
def tools_not_enabled(deployment: Deployment) -> Verdict:
    """The server does not offer tool calls

    What it finds
    Neither `--enable-auto-tool-choice` nor `--tool-call-parser`, for a checkpoint that was trained to call tools.

    Why it fails
    Chat and completion work. A request with tools is answered with HTTP 400, so agents (Qwen Code, Cline, Continue's
    agent mode) cannot use the server.

    What to do
    Add both flags, if agents are to use it.

    Not covered
    Clients that put the tools into the prompt themselves.
    """
    parser = deployment.checkpoint.tool_call_parser
    if parser is None or deployment.enable_auto_tool_choice or deployment.tool_call_parser is not None:
        return None
    return Breach(
        because="without --enable-auto-tool-choice and --tool-call-parser, requests with tools get HTTP 400",
        about=(),
        fixes=(
            Fix(
                f"add `--enable-auto-tool-choice --tool-call-parser {parser}`",
                set={"enable_auto_tool_choice": True, "tool_call_parser": parser},
            ),
        ),
        severity=Severity.INFO,
    )
