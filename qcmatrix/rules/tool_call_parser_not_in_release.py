"""Rule: a tool call parser that the release does not have."""

from __future__ import annotations

import difflib

from qcmatrix.catalogue.releases import tool_parser_history
from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range


@rule(
    holds=Range("0.10.1"),
    reads=("release", "checkpoint", "enable_auto_tool_choice", "tool_call_parser", "tool_parser_plugin"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/entrypoints/launchers/launcher.py",
            "invalid tool call parser: qwen_coder (chose from",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/entrypoints/openai/api_server.py",
            "invalid tool call parser: qwen_coder (chose from",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/entrypoints/common/cli_args.py",
            "invalid tool call parser: {args.tool_call_parser} (chose from",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.2/vllm/entrypoints/openai/api_server.py",
            "invalid tool call parser: {args.tool_call_parser}",
            Level.DERIVED,
        ),
    ),
)
def tool_call_parser_not_in_release(deployment: Deployment) -> Verdict:
    """The tool call parser is none of this release

    What it finds
    `--tool-call-parser` with a name that this release does not register: `qwen3_xml` before 0.11.0, or a typing
    mistake.

    Why it fails
    vLLM checks the name before it loads the model and stops: "invalid tool call parser: ... (chose from { ... })".

    What to do
    The parser of this release that fits the model.

    Not covered
    Names that a `--tool-parser-plugin` registers. The name is looked at only with `--enable-auto-tool-choice`. 0.10.0
    knows the names in its argument parser and refuses the value there: the command line says so.
    """
    given = deployment.tool_call_parser
    release = deployment.release
    if given is None or given in release.file.tool_parsers or deployment.tool_parser_plugin is not None:
        return None
    if not deployment.enable_auto_tool_choice:
        return None
    history = tool_parser_history(given)
    if history:
        since = f"; it is there in {', '.join(str(part) for part in history)}"
    else:
        close = difflib.get_close_matches(given, release.file.tool_parsers, n=1)
        since = f"; did you mean {close[0]}?" if close else ""
    right = deployment.checkpoint.tool_call_parser
    fixes: tuple[Fix, ...] = ()
    if right is not None and right in release.file.tool_parsers:
        fixes = (Fix(f"use `--tool-call-parser {right}`", set={"tool_call_parser": right}, safe=True),)
    return Breach(
        because=f"vLLM {release} has no tool call parser {given}{since}",
        about=("tool_call_parser",),
        fixes=fixes,
        error=f"invalid tool call parser: {given} (chose from {{",
    )
