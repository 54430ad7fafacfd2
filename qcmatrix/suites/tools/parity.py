"""The same text streamed and whole: what comes of it must be the same (TC-26)."""

from __future__ import annotations

from qcmatrix.probe.replay.cases import Case
from qcmatrix.probe.replay.judge import PASS, judge
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import ONCE, Need, check
from qcmatrix.suites.tools.offered import CORE, offer, upstream, written

__all__ = ["STREAM_EQUALS_WHOLE"]

_TEXTS = {
    "prose": "Plain **text** with `code`, a < b, two\n\nparagraphs and 北京.",
    "two-calls": "Both, then.\n"
    + written("read_file", {"path": "a.py", "line": "7"})
    + "\n"
    + written("edit", {"path": "b.py", "old": "  x\n", "new": "\ty"}),
    "every-type": written(
        "typed", {"s": "1", "i": "-2", "n": "0.5", "b": "false", "a": '["x"]', "o": '{"k": null}', "z": "null"}
    ),
    "quotes": written("write", {"path": "C:\\n\\a", "content": '"""a\\"b""" \\u0041 \'c\'\t{"d": "\\n"}'}),
    "missing-optional": written("read_file", {"path": ""}),
    "not-in-schema": written("read_file", {"path": "a", "mode": "[1, 2"}),
}


@check(
    "TC-26",
    suite="tools",
    profiles=CORE,
    modes=ONCE,
    needs=(Need.TOOLS, Need.FORCING),
    sources=(
        *upstream(46274, 45413),
        "https://github.com/vllm-project/vllm/blob/v0.33.0/tests/tool_parsers/test_replay.py",
    ),
    variants=_TEXTS,
)
def STREAM_EQUALS_WHOLE(bench: Bench, text: str) -> None:  # noqa: N802 - a tuple of checks
    """Streamed as whole.

    The same text is forced in both modes. Names, arguments (as JSON), content (white space at its ends aside) and the
    finish reason must be equal: a client must not get another call because it streams.
    """
    body = {"tools": offer("read_file", "edit", "write", "typed"), "tool_choice": "auto", **bench.say(text)}
    whole, streamed = bench.at_once(lambda stream: bench.chat("Go on.", stream=stream, **body), (False, True))
    bench.expect_ok(whole)
    bench.expect_ok(streamed)
    law = Case(id="TC-26", title="streamed as whole", tools=(), text=text, hold=("json", "same"))
    for mode, answer in (("w", whole), ("t", streamed)):
        verdict = judge(law, mode, answer.reply, whole.reply)
        bench.expect(verdict.letter == PASS, "the same, streamed as whole", verdict.seen)
