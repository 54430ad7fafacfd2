"""The same through the `openai` package over HTTP, as most programs ask (TC-01, TC-03, TC-27)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Need, check
from qcmatrix.suites.tools.clients import ask_typed
from qcmatrix.suites.tools.offered import CORE, arguments_of, offer, written

__all__ = ["through_openai"]

_FILE = "    if x:\n\treturn '北京 \\ \"q\"'\n"
_CASES: dict[str, dict[str, Any]] = {
    "single": {"title": "one call", "before": "", "calls": [("read_file", {"path": "src/app.py"})]},
    "parallel": {
        "title": "a sentence and three calls",
        "before": "All three.\n",
        "calls": [("read_file", {"path": "a.py"}), ("ping", {}), ("read_file", {"path": "b.py"})],
    },
    "deltas": {"title": "a value in many deltas", "before": "", "calls": [("write", {"path": "a", "content": _FILE})]},
}


@check(
    "TC-27.openai",
    suite="tools",
    profiles=CORE,
    needs=(Need.TOOLS, Need.FORCING),
    sources=(
        "https://github.com/vllm-project/vllm/blob/v0.33.0/tests/tool_use/test_tool_calls.py",
        "https://github.com/openai/openai-python/blob/main/src/openai/lib/streaming/_deltas.py",
    ),
    variants=_CASES,
)
def through_openai(bench: Bench, given: Mapping[str, Any]) -> None:
    """What `openai.OpenAI` gives a program.

    The client reads the reply over HTTP by itself; names, arguments, content and finish reason that it hands out are
    those of the text that the model was made to write, and the ids differ.
    """
    text = given["before"] + "\n".join(written(name, values) for name, values in given["calls"])
    content, calls, finish = ask_typed(
        bench,
        messages=[{"role": "user", "content": "Go on."}],
        tools=offer("read_file", "write", "ping"),
        tool_choice="auto",
        **bench.say(text),
    )
    got = [(name, arguments_of(arguments)) for _, name, arguments in calls]
    bench.expect(got == given["calls"], f"the calls {given['calls']!r}", calls)
    bench.expect(len({own for own, _, _ in calls} - {""}) == len(calls), "ids that all differ", calls)
    bench.expect(content.strip() == given["before"].strip(), f"content {given['before']!r}", content)
    bench.expect(finish == "tool_calls", "finish reason tool_calls", finish)
