"""Long values and many tools: progress while a file is written, whole files, long schemas (TC-29, TC-46, TC-47)."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import ONCE, Mode, Need, check
from qcmatrix.suites.tools.offered import CORE, arguments_of, expect_calls, function, offer, said, upstream, written

__all__ = ["file_arrives_whole", "many_tools", "progress", "twenty_turns"]

_LEAST_DELTAS = 10
_SOAK = ("https://github.com/noonghunna/club-3090",)


def _file(lines: int) -> str:
    return "".join(f"x={number}\n" for number in range(lines))


@check(
    "TC-29",
    suite="tools",
    profiles=CORE,
    modes=(Mode.STREAM,),
    needs=(Need.TOOLS, Need.FORCING),
    sources=upstream(30439, 32536),
)
def progress(bench: Bench) -> None:
    """A file is sent on while it is written.

    A value of 60 lines must come in at least ten deltas, byte for byte. The longest silence from the call's name to its
    end is recorded (`arg_gap_ms`) and not judged here: a client shows nothing for so long, and some give up.
    """
    content = _file(60)
    text = written("write", {"path": "a.py", "content": content})
    answer = bench.chat("Go on.", tools=offer("write"), tool_choice="auto", **bench.say(text))
    expect_calls(bench, answer, [("write", {"path": "a.py", "content": content})])
    times = sorted([*answer.name_times, *answer.argument_times])
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    bench.figures["arg_gap_ms"] = round(max(gaps, default=0.0) * 1000, 1)
    bench.figures["argument_deltas"] = len(answer.argument_times)
    seen = f"{len(answer.argument_times)} deltas of arguments, the longest silence {bench.figures['arg_gap_ms']} ms"
    bench.expect(len(answer.argument_times) >= _LEAST_DELTAS, f"{_LEAST_DELTAS} deltas of arguments or more", seen)


@check("TC-47.file", suite="tools", profiles=CORE, needs=(Need.TOOLS, Need.FORCING), tokens=4096, sources=_SOAK)
def file_arrives_whole(bench: Bench) -> None:
    """A long file arrives whole.

    Its SHA-256 must be that of the text that the model was made to write: 1,000 lines on a GPU, 80 on a CPU.
    """
    content = _file(1000 if _fast(bench) else 80)
    text = written("write", {"path": "a.py", "content": content})
    answer = bench.chat("Go on.", tools=offer("write"), tool_choice="auto", timeout=600.0, **bench.say(text))
    bench.expect_ok(answer)
    arguments = arguments_of(answer.calls[0].arguments) if len(answer.calls) == 1 else None
    got = arguments.get("content") if isinstance(arguments, dict) else None
    bench.expect(isinstance(got, str), "one call with the content of a file", said(answer)[:400])
    wanted = hashlib.sha256(content.encode()).hexdigest()
    seen = hashlib.sha256(str(got).encode("utf-8", "surrogatepass")).hexdigest()
    bench.expect(seen == wanted, f"{len(content)} characters of SHA-256 {wanted}", f"{len(str(got))} of {seen}")


@check("TC-47.turns", suite="tools", profiles=CORE, modes=ONCE, needs=(Need.TOOLS, Need.FORCING), sources=_SOAK)
def twenty_turns(bench: Bench) -> None:
    """A conversation of many turns with a call in each.

    Each turn sends back all calls and results before it, and must give its own call whole, streamed and whole by turns:
    20 turns on a GPU, 4 on a CPU.
    """
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Edit the files."}]
    for turn in range(20 if _fast(bench) else 4):
        values = {"path": f"f{turn}.py", "content": f"    x = {turn}\n"}
        body = {"tools": offer("write"), "tool_choice": "auto", **bench.say(written("write", values))}
        answer = bench.chat(messages, stream=turn % 2 == 1, **body)
        expect_calls(bench, answer, [("write", values)])
        (call,) = answer.calls
        own = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [own]},
            {"role": "tool", "tool_call_id": call.id, "content": "written"},
        ]


_MANY = 30
_SCHEMA_BYTES = 10_000


@check(
    "TC-46.forced",
    suite="tools",
    profiles=CORE,
    needs=(Need.TOOLS, Need.FORCING),
    tokens=4096,
    sources=("https://github.com/QwenLM/Qwen3-Coder/issues/475",),
)
def many_tools(bench: Bench) -> None:
    """Thirty tools with long schemas, and a call of the last one.

    Each schema has 10 kB, or as much as lets all of them take half of the context where that is less (`schema_bytes`).
    The call must come as it does among few tools.
    """
    # A byte-level tokenizer never needs more tokens than there are bytes.
    room = bench.subject.max_model_len or 4096
    each = min(_SCHEMA_BYTES, room // 2 // _MANY)
    bench.figures["schema_bytes"] = each
    words = "Takes a value of this kind. "
    tools = [
        function(
            f"tool_{number}",
            {"value": {"type": "string", "description": (words * (each // len(words) + 1))[: max(0, each - 60)]}},
        )
        for number in range(_MANY)
    ]
    text = written(f"tool_{_MANY - 1}", {"value": "the last"})
    answer = bench.chat("Go on.", tools=tools, tool_choice="auto", timeout=300.0, **bench.say(text))
    expect_calls(bench, answer, [(f"tool_{_MANY - 1}", {"value": "the last"})])


def _fast(bench: Bench) -> bool:
    return Need.GPU in bench.subject.has
