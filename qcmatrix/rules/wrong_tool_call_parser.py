"""Rule: a tool call parser for another model's format."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Unknown, Verdict, rule
from qcmatrix.versions import Range

# Names of the same format. `qwen3_xml` came with 0.11.0 and is the same class since 0.24.0; `qwen3_json` is Hermes.
_SAME_FORMAT = ({"qwen3_coder", "qwen3_xml"}, {"hermes", "qwen3_json"})
_FROM_TEMPLATE = frozenset({"hf", "beam"})
"""Parsers that take the format from the model's own files."""


@rule(
    holds=Range("0.10.0"),
    reads=(
        "release",
        "checkpoint",
        "enable_auto_tool_choice",
        "tool_call_parser",
        "tool_parser_plugin",
        "chat_template",
    ),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/QwenLM/Qwen3-Coder/issues/537",
            "--tool-call-parser hermes ... Error in extracting tool call from response.",
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/tool_parsers/__init__.py",
            '"qwen3_json": ("hermes_tool_parser", "Hermes2ProToolParser")',
            Level.DERIVED,
        ),
    ),
)
def wrong_tool_call_parser(deployment: Deployment) -> Verdict:
    """The tool call parser is one for another format

    What it finds
    `--tool-call-parser` with a parser of this release that reads another format than the checkpoint writes: `hermes`
    for Qwen3-Coder, or `qwen3_coder` for Qwen2.5 and the other Qwen3 models.

    Why it fails
    Qwen3-Coder writes calls as tags, <function=...><parameter=...>, the other Qwen models as JSON between the same
    <tool_call> tags. The wrong parser finds the outer tags and fails inside: it logs an error and hands the call to
    the client as text, or drops it. The server starts and looks well.

    What to do
    `qwen3_coder` (from 0.11.0 on also `qwen3_xml`) for Qwen3-Coder, `hermes` for Qwen2.5 and the other Qwen3 models.

    Not covered
    Bugs of the right parser, which differ by release. A chat template or a parser plugin of your own is not judged.
    """
    given, right = deployment.tool_call_parser, deployment.checkpoint.tool_call_parser
    if given is None or right is None or given == right or not deployment.enable_auto_tool_choice:
        return None
    if any(given in names and right in names for names in _SAME_FORMAT):
        return None
    if given not in deployment.release.file.tool_parsers:
        return None  # tool-call-parser-not-in-release
    if given in _FROM_TEMPLATE or deployment.chat_template is not None or deployment.tool_parser_plugin is not None:
        return Unknown(f"whether {given} reads what the model writes depends on the template or plugin", decides=False)
    return Breach(
        because=f"the model writes tool calls in the {right} format, and {given} reads another one",
        about=("tool_call_parser",),
        fixes=(Fix(f"use `--tool-call-parser {right}`", set={"tool_call_parser": right}),),
    )
