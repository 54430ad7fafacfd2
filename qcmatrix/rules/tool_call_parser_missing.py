"""Rule: automatic tool choice without a parser."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Verdict, rule
from qcmatrix.versions import Range

_ERROR = "Error: --enable-auto-tool-choice requires --tool-call-parser"


@rule(
    holds=Range("0.10.0"),
    reads=("checkpoint", "enable_auto_tool_choice", "tool_call_parser"),
    outcome=Outcome.REFUSES_TO_START,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.32.0/vllm/entrypoints/launchers/cli_args.py",
            "Error: --enable-auto-tool-choice requires --tool-call-parser",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/entrypoints/openai/cli_args.py",
            "Error: --enable-auto-tool-choice requires --tool-call-parser",
            Level.PROBED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.10.0/vllm/entrypoints/openai/cli_args.py",
            'raise TypeError("Error: --enable-auto-tool-choice requires " "--tool-call-parser")',
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/entrypoints/common/cli_args.py",
            'raise TypeError("Error: --enable-auto-tool-choice requires --tool-call-parser")',
            Level.DERIVED,
        ),
    ),
)
def tool_call_parser_missing(deployment: Deployment) -> Verdict:
    """Automatic tool choice is enabled without a tool call parser

    What it finds
    `--enable-auto-tool-choice` and no `--tool-call-parser`.

    Why it fails
    vLLM does not guess the parser from the model. It stops before it loads anything: "Error:
    --enable-auto-tool-choice requires --tool-call-parser".

    What to do
    Add `--tool-call-parser qwen3_coder` for Qwen3-Coder, `hermes` for Qwen2.5 and the other Qwen3 models.

    Not covered
    Whether the parser that is given fits the model: `wrong-tool-call-parser`.
    """
    if not deployment.enable_auto_tool_choice or deployment.tool_call_parser:
        return None
    parser = deployment.checkpoint.tool_call_parser
    fixes = [Fix("leave `--enable-auto-tool-choice` out", drop=("enable_auto_tool_choice",))]
    if parser is not None:
        fixes.insert(0, Fix(f"add `--tool-call-parser {parser}`", set={"tool_call_parser": parser}, safe=True))
    return Breach(
        because="--enable-auto-tool-choice is given, and no --tool-call-parser",
        about=("enable_auto_tool_choice",),
        fixes=tuple(fixes),
        error=_ERROR,
    )
