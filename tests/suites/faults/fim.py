"""Faults of a server, and of a model, that the checks of the suite ``fim`` must see."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qcmatrix.suites.fim.gap import load_gaps
from qcmatrix.suites.fim.infilling import VARIABLE
from tests.suites.proof import Proof
from tests.suites.proxy import Body, Fault, on_chunks, says

os.environ.setdefault(VARIABLE, str(Path(__file__).parents[1] / "data" / "infilling.jsonl"))
"""Tasks of our own for FIM-19."""

FORMS = ("continue", "continue-template", "zed", "llama-vscode", "raw")
RECORDED = ("FIM-02.*", "FIM-03", "FIM-19")
IM_END = 151645


def change_text(change: Callable[[str], str]) -> dict[str, Any]:
    """Hooks that change each piece of text."""

    def choice(each: Body) -> None:
        for holder, name in ((each, "text"), (each.get("message"), "content"), (each.get("delta"), "content")):
            if isinstance(holder, dict) and isinstance(holder.get(name), str):
                holder[name] = change(holder[name])

    def body(reply: Body) -> Body:
        for each in reply.get("choices") or ():
            choice(each)
        return reply

    return {"whole": lambda _, __, reply: body(reply), "events": on_chunks(body)}


def change_usage(change: Callable[[Body], None]) -> dict[str, Any]:
    def body(reply: Body) -> Body:
        if isinstance(reply.get("usage"), dict):
            change(reply["usage"])
        return reply

    return {"whole": lambda _, __, reply: body(reply), "events": on_chunks(body)}


def without(*fields: str, **more: Any) -> Callable[[str, Body], Body]:
    """A request without some of its fields, and with others."""
    return lambda _, body: {**{name: value for name, value in body.items() if name not in fields}, **more}


def fewer_stops(_: str, body: Body) -> Body:
    return {**body, "stop": body.get("stop", [])[:-1]}


def four_stops(_: str, body: Body) -> Body:
    return {**body, "stop": body.get("stop", [])[:4]}


def refuse(when: Callable[[Body], bool], status: int = 400) -> Callable[[str, Body], tuple[int, str] | None]:
    text = json.dumps({"error": {"message": "no", "type": "Bad Request", "code": status}})
    return lambda _, body: (status, text) if when(body) else None


def no_angle(_: str, body: Body) -> Body:
    """The model is made to say its text without the marker's brackets."""
    names = [name for name in body if name == "structured_outputs" or name.startswith("guided_")]
    return {**body, **{name: json.loads(json.dumps(body[name]).replace("<", "")) for name in names}}


def drop_a_piece(_: str, __: Body, payloads: Iterator[str]) -> Iterator[str]:
    """The second piece of text is lost."""
    pieces = 0
    for payload in payloads:
        choices = json.loads(payload).get("choices") if payload != "[DONE]" else None
        pieces += bool(choices and choices[0]["text"])
        if not (pieces == 2 and choices and choices[0]["text"]):
            yield payload


class StaysBusy:
    """For four seconds after a completion was asked for, a request is told to be running.

    A whole reply is only waited for: this proxy would not notice that its client has left.
    """

    def __init__(self) -> None:
        self.asked = 0.0

    def __call__(self, path: str, body: Body) -> tuple[int, str] | None:
        if path.startswith("/metrics"):
            busy = time.monotonic() - self.asked < 4.0
            return (200, "vllm:num_requests_running 1.0\n") if busy else None
        self.asked = time.monotonic()
        if body.get("stream"):
            return None
        time.sleep(1.0)
        return 200, "{}"


def asked(body: Body) -> str:
    """The prompt's text; empty where it is tokens."""
    prompt = body["messages"][-1]["content"] if "messages" in body else body.get("prompt")
    return prompt if isinstance(prompt, str) else ""


def reference(body: Body) -> str | None:
    """The middle that fills the gap of the prompt."""
    prompt = asked(body)
    return next(
        (gap.middle for gap in load_gaps() if f"{gap.prefix}<|fim_suffix|>{gap.suffix}<|fim_middle|>" in prompt), None
    )


def the_suffix(body: Body) -> str | None:
    """What stands behind the hole."""
    suffix = asked(body).partition("<|fim_suffix|>")[2].partition("<|fim_middle|>")[0]
    return suffix.strip()[:60] or None


def forms(number: int) -> tuple[str, ...]:
    return tuple(f"FIM-{number:02}.{form}" for form in FORMS)


def fails(*checks: str, name: str, **hooks: Any) -> Proof:
    return Proof(checks=checks, fault=Fault(name=name, **hooks))


def passes(*checks: str, name: str, request: Callable[[str, Body], Body]) -> Proof:
    return Proof(checks=checks, fault=Fault(name=name, request=request), helps=True)


CONTRACT: tuple[Proof, ...] = (
    fails("FIM-04", name="suffix-ignored", request=without("suffix")),
    fails(
        "FIM-04.null",
        name="null-suffix-refused",
        answer=refuse(lambda body: "suffix" in body and body["suffix"] is None),
    ),
    fails("FIM-05.default", name="five-stops-refused", answer=refuse(lambda body: len(body.get("stop") or ()) > 4)),
    fails("FIM-05.max-stop-words", "FIM-05.template", "FIM-06", name="last-stop-forgotten", request=fewer_stops),
    fails(
        "FIM-05.max-stop-words",
        "FIM-05.template",
        "FIM-06",
        name="stop-left-in-text",
        request=without(include_stop_str_in_output=True),
    ),
    fails("FIM-05.refused", name="stops-left-out-in-silence", request=four_stops),
    fails("FIM-07.im-end", "FIM-07.endoftext", name="end-token-in-text", **change_text(lambda _: "<|im_end|>")),
    fails("FIM-07.infill", name="infill-breaks", answer=refuse(lambda _: True, 500), paths=("/infill",)),
    fails(
        "FIM-08.marker-*",
        "FIM-08.after-text",
        "FIM-08.continue-ids",
        name="markers-neither-end-nor-hidden",
        request=without("stop", "stop_token_ids", skip_special_tokens=False, ignore_eos=True),
    ),
    fails("FIM-13.[!m]*", name="whitespace-stripped", **change_text(str.strip)),
    fails("FIM-14.*", name="marker-torn", request=no_angle),
    fails("FIM-16", name="a-piece-is-lost", events=drop_a_piece),
    fails("FIM-17", name="work-goes-on", answer=StaysBusy(), paths=("/v1/completions", "/metrics")),
    fails(
        "FIM-18",
        name="name-without-family",
        whole=lambda _, __, reply: {**reply, "data": [{**each, "id": "flash"} for each in reply["data"]]},
        paths=("/v1/models",),
    ),
    fails(
        "FIM-20",
        name="nothing-cached",
        **change_usage(lambda usage: usage.update(prompt_tokens_details={"cached_tokens": 0})),
    ),
    fails(
        "FIM-21",
        name="prompt-miscounted",
        **change_usage(lambda usage: usage.update(prompt_tokens=usage["prompt_tokens"] + 1)),
    ),
    fails("FIM-22", name="twenty-tokens", request=without(max_tokens=20)),
)

BEHAVIOUR: tuple[Proof, ...] = (
    fails("FIM-01", "FIM-15", name="says-something-else", request=says("```python\nx\n```")),
    passes("FIM-01", "FIM-15", name="says-the-reference", request=says(reference)),
    fails(*RECORDED, name="completions-break", answer=refuse(lambda _: True, 500)),
    fails(*forms(8), name="says-a-marker", request=says("x<|file_sep|>")),
    fails(*forms(9), name="says-a-sentence", request=says("Here it is:\nx")),
    fails("FIM-09.raw", name="says-a-fence", request=says("```\nx")),
    fails("FIM-10", name="says-the-suffix", request=says(the_suffix)),
    fails("FIM-11", name="says-it-again", request=says("again()\n" * 4)),
    fails("FIM-12", name="goes-on", request=says("and_so_on(and_so_on())\n")),
    fails("FIM-13.model", name="says-spaces", request=says("  x\n  y")),
    fails(
        "FIM-16.greedy",
        name="streams-another-text",
        request=says("x = 1"),
        events=change_text(lambda text: text.upper())["events"],
    ),
    passes(
        *RECORDED,
        *forms(8),
        *forms(9),
        "FIM-10",
        "FIM-11",
        "FIM-13.model",
        "FIM-16.greedy",
        name="says-code",
        request=says("x = 1"),
    ),
    passes("FIM-12", name="ends-at-once", request=without(allowed_token_ids=[IM_END])),
)

PROOFS: tuple[Proof, ...] = (*CONTRACT, *BEHAVIOUR)
