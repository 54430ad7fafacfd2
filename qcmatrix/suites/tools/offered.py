"""The tools that the checks offer, what they make the model say of them, and what must come of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from qcmatrix.exchange.chat import Answer
from qcmatrix.probe.replay.cases import load_tools, written
from qcmatrix.suites.bench import Bench

__all__ = [
    "CHAT_API",
    "CORE",
    "STRICT",
    "TEMPLATE",
    "TOOL_CALLING",
    "arguments_of",
    "expect_calls",
    "function",
    "named",
    "offer",
    "said",
    "upstream",
    "written",
]

CORE = ("tools-core",)
STRICT = ("tools-strict",)
CHAT_API = ("chat-api",)

TEMPLATE = "https://github.com/vllm-project/vllm/blob/v0.33.0/examples/tool_chat_template_qwen3coder.jinja"
TOOL_CALLING = "https://docs.vllm.ai/en/v0.33.0/features/tool_calling/"


def upstream(*numbers: int) -> tuple[str, ...]:
    """Addresses of issues and pull requests of vLLM."""
    return tuple(f"https://github.com/vllm-project/vllm/issues/{number}" for number in numbers)


def offer(*names: str) -> list[dict[str, Any]]:
    """Tools of the replay's cases, as a request gives them."""
    return [load_tools()[name] for name in names]


def function(
    name: str,
    properties: Mapping[str, Any] | None = None,
    *,
    required: tuple[str, ...] | None = None,
    strict: bool | None = None,
    description: str = "",
) -> dict[str, Any]:
    """A tool; all of its ``properties`` are required unless ``required`` says which."""
    own = dict(properties or {})
    schema: dict[str, Any] = {"type": "object", "properties": own, "additionalProperties": False}
    wanted = list(own) if required is None else list(required)
    if wanted:
        schema["required"] = wanted
    made: dict[str, Any] = {"name": name, "description": description or f"Calls {name}.", "parameters": schema}
    if strict is not None:
        made["strict"] = strict
    return {"type": "function", "function": made}


def named(name: str) -> dict[str, Any]:
    """The ``tool_choice`` that asks for the tool ``name``."""
    return {"type": "function", "function": {"name": name}}


def arguments_of(text: object) -> Any:
    """Arguments decoded; ``None`` where they are no strict JSON."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text, parse_constant=_no_json)
    except ValueError:
        return None


def _no_json(text: str) -> Any:
    raise ValueError(text)


def said(answer: Answer) -> str:
    """What came, in one line: for a failure's text."""
    calls = "; ".join(f"{call.name}({call.arguments})" for call in answer.calls) or "no call"
    return f"{calls}; content {answer.content[:80]!r}; finish reason {answer.finish}"


def expect_calls(bench: Bench, answer: Answer, wanted: list[tuple[str, Mapping[str, Any]]]) -> None:
    """The reply is well-formed, and holds exactly these calls in this order, with finish reason ``tool_calls``."""
    bench.expect_ok(answer)
    got = [(call.name, arguments_of(call.arguments)) for call in answer.calls]
    expected = "; ".join(f"{name}({json.dumps(dict(values), ensure_ascii=False)[:160]})" for name, values in wanted)
    bench.expect(got == [(name, dict(values)) for name, values in wanted], f"the calls {expected}", said(answer))
    bench.expect(answer.finish == "tool_calls", "finish reason tool_calls", said(answer))
