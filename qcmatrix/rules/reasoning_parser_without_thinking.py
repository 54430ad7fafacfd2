"""Rule: a reasoning parser for a model that does not think."""

from __future__ import annotations

from qcmatrix.deployment import Deployment
from qcmatrix.rules.declare import Breach, Fix, Level, Outcome, RuleSource, Severity, Verdict, rule
from qcmatrix.versions import Range

_TAKES_ALL = Range("0.17.0")
_ALWAYS_TAKES_ALL = ("deepseek_r1",)
_NEVER_THINKS = ("coder", "instruct")


@rule(
    holds=Range("0.10.0"),
    reads=("release", "checkpoint", "reasoning_parser"),
    outcome=Outcome.STARTS_AND_IS_WRONG,
    sources=(
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.20.0/vllm/reasoning/qwen3_reasoning_parser.py",
            "Thinking enabled but no </think>: output was truncated. Everything generated so far is reasoning.",
            Level.DERIVED,
        ),
        RuleSource(
            "https://github.com/vllm-project/vllm/blob/v0.33.0/vllm/parser/qwen3.py",
            "initial_state=ParserState.REASONING if thinking else ParserState.CONTENT",
            Level.DERIVED,
        ),
        RuleSource(
            "https://huggingface.co/Qwen/Qwen3-Coder-480B-A35B-Instruct",
            "This model supports only non-thinking mode and does not generate <think></think> blocks in its output.",
        ),
    ),
)
def reasoning_parser_without_thinking(deployment: Deployment) -> Verdict:
    """A reasoning parser is set for a model that does not think

    What it finds
    `--reasoning-parser` for a checkpoint that never writes a <think> block: Qwen3-Coder, Qwen2.5-Coder, and the
    Instruct releases of July 2025.

    Why it fails
    From 0.17.0 on the `qwen3` parser takes everything before </think> as reasoning, and an answer without </think> as
    reasoning that was cut off. The whole answer arrives as `reasoning`, the content is empty, and most clients show
    nothing. `deepseek_r1` does so in every release. Up to 0.16.0 the `qwen3` parser passes such answers through.

    What to do
    Leave the flag out.

    Not covered
    Requests that switch thinking off themselves (`chat_template_kwargs`), which the newer parsers honour.
    """
    parser = deployment.reasoning_parser
    if not parser:
        return None
    name = deployment.checkpoint.repository.rpartition("/")[2].lower()
    if not any(word in name for word in _NEVER_THINKS):
        return None
    if parser in _ALWAYS_TAKES_ALL or deployment.release.version in _TAKES_ALL:
        because = f"the model writes no </think>, so the {parser} parser hands the whole answer out as reasoning"
        severity = None
    else:
        because = (
            f"the model writes no <think> block for the {parser} parser to find, and 0.17.0 changes what that means"
        )
        severity = Severity.INFO
    return Breach(
        because=because,
        about=("reasoning_parser",),
        fixes=(Fix("leave `--reasoning-parser` out", drop=("reasoning_parser",)),),
        severity=severity,
    )
