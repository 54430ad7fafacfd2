"""Prose about calls where no tool is offered (TC-24)."""

from __future__ import annotations

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Need, check
from qcmatrix.suites.tools.offered import CORE, said

__all__ = ["tags_without_tools"]

_TEXT = "It begins with `<tool_call>`, then comes the function."


@check(
    "TC-24.no-tools",
    suite="tools",
    profiles=CORE,
    core=False,
    needs=(Need.TOOLS, Need.FORCING),
    sources=("https://github.com/noonghunna/club-3090/issues/72", "https://github.com/ollama/ollama/issues/16398"),
)
def tags_without_tools(bench: Bench) -> None:
    """Without tools a tag in the text is text.

    The request offers no tool, so nothing in the answer can be a call: a sentence that names `<tool_call>` must reach
    the user whole. No vendor promises it, so it is no core check.
    """
    answer = bench.chat("Go on.", **bench.say(_TEXT))
    bench.expect_ok(answer)
    bench.expect(answer.content == _TEXT and not answer.calls, f"the text {_TEXT!r}", said(answer))
