"""What goes wrong for the checks of the context suite, and what a trained model would say."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from qcmatrix.matrix.entries import Budget
from qcmatrix.results.schema import CaseResult, State
from qcmatrix.suites.bench import COMPLETIONS, Subject
from qcmatrix.suites.context.stretched import questions
from tests.suites.faults import boot
from tests.suites.proof import Proof
from tests.suites.proxy import Body, Fault, says

_YARN = (
    "vllm serve tiny --hf-overrides "
    '\'{"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}}\''
)
_SMALL_CACHE = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="160"} 1.0\nvllm:num_preemptions_total{a="b"} 0\n'
_LOOP = "a b " * 24
_PROSE = (
    "I read it all, then I put a test on top of each def: one for no item, one for few, one past the cap. A mock is "
    "not of use as it is a pure job, so I run it as it is, and see."
)


def _text(body: Body) -> str:
    messages = body.get("messages")
    return str(messages[-1]["content"]) if messages else str(body.get("prompt", ""))


def _cut(_: str, body: Body) -> Body:
    """A server that cuts a prompt silently."""
    if "messages" in body:
        text = _text(body)
        return {**body, "messages": [{"role": "user", "content": text[: len(text) // 2]}]}
    return {**body, "prompt": body["prompt"][: len(body["prompt"]) // 2]}


def _found(body: Body) -> str:
    """What a model that reads says to the questions of the suite."""
    text = _text(body)
    if place := re.search(r"What is the access number of ([\w ]+)\?", text):
        key = re.search(rf"The access number of {place[1]} is (\d+)\.", text)
        return key[1] if key else "none"
    if constant := re.search(r"value of the constant (\w+) with", text):
        value = re.search(rf"^{constant[1]} = (\d+)$", text, re.MULTILINE)
        return _call(constant[1], int(value[1]) if value else 0)
    if "Name every variable" in text:
        return ", ".join(re.findall(r"^VAR (\w+) = ", text, re.MULTILINE))
    return next((answer for question, answer in questions() if text.startswith(question)), _PROSE)


def _call(name: str, value: int) -> str:
    return (
        "<tool_call>\n<function=report_constant>\n"
        f"<parameter=name>\n{name}\n</parameter>\n<parameter=value>\n{value}\n</parameter>\n"
        "</function>\n</tool_call>"
    )


def _another(body: Body) -> str:
    """The right call with a value that stands nowhere."""
    name = re.search(r"value of the constant (\w+) with", _text(body))
    return _call(name[1] if name else "", 1)


def _stretched(subject: Subject) -> Subject:
    return boot.known_as(_YARN)(subject)


def _with_twin(subject: Subject) -> Subject:
    twin = CaseResult(
        id="LC-06.short", mode="once", suite="context", profiles=(), core=False, tier="T2", state=State.PASS,
        passes=39, trials=40,
    )  # fmt: skip
    return msgspec.structs.replace(subject, twin={"LC-06.short": twin})


def _with_budget(subject: Subject) -> Subject:
    budget = Budget(gpu="H200", workload="LC-09", metric="itl_ms", quantile="p99", most=0.001)
    entry = boot.an_entry("vllm serve tiny", budgets=(budget,))
    return msgspec.structs.replace(subject, entry=entry, gpu="H200")


class _Warm:
    """Tells the requests that come again from those that are new."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        self._change = change
        self._seen: set[str] = set()

    def __call__(self, _: str, body: Body, reply: Any) -> Any:
        key = str(body.get("cache_salt"))
        warm = key in self._seen
        self._seen.add(key)
        return self._change(reply) if warm else reply


def _garbled(reply: Any) -> Any:
    told = reply["choices"][0]["logprobs"]
    told["tokens"][3] = "garbage"
    return reply


def _nothing_cached(reply: Any) -> Any:
    details = reply["usage"].get("prompt_tokens_details")
    reply["usage"]["prompt_tokens_details"] = {**(details or {}), "cached_tokens": 0}
    return reply


def _new_salt(_: str, body: Body) -> Body:
    return {**body, "cache_salt": secrets.token_hex(8)}


def _at_a_block(_: str, body: Body) -> Body:
    """A server that loses the last token of a prompt which fills its blocks."""
    prompt = body["prompt"]
    return {**body, "prompt": prompt[:-1]} if len(prompt) % 16 == 0 else body


def _ends_early(_: str, body: Body, payloads: Iterator[str]) -> Iterator[str | bytes]:
    """Short streams break off while something long is computed."""
    for number, payload in enumerate(payloads):
        if len(body.get("prompt", ())) < 100 and number > 20 and payload != "[DONE]":
            continue
        yield payload


def _small(path: str, _: Body) -> tuple[int, str] | None:
    return (200, _SMALL_CACHE) if path == "/metrics" else None


def _small_and_lossy(path: str, body: Body) -> tuple[int, str] | None:
    if path == "/metrics":
        return 200, _SMALL_CACHE
    time.sleep(0.01)
    return (500, '{"error": {"message": "out of blocks"}}') if len(body.get("prompt", ())) > 200 else None


def _one_missing(_: str, __: Body, reply: Any) -> Any:
    if isinstance(reply, dict) and isinstance(reply.get("usage"), dict):
        reply["usage"]["completion_tokens"] -= 1
    return reply


_FILLED = (COMPLETIONS, "/metrics")

PROOFS: tuple[Proof, ...] = (
    Proof(checks=("LC-01.*", "LC-02.*"), fault=Fault(name="a long prompt is cut", request=_cut)),
    *(
        Proof(checks=("LC-03", "LC-04.*", "LC-06.needle", "LC-08.needle"), fault=fault, known=known, helps=helps)
        for fault, helps in (
            (Fault(name="the text is forgotten", request=says("I do not know.")), False),
            (Fault(name="the text is read", request=says(_found)), True),
        )
        for known in (_stretched,)
    ),
    Proof(checks=("LC-05",), fault=Fault(name="another value is reported", request=says(_another))),
    Proof(checks=("LC-05",), fault=Fault(name="the constant is reported", request=says(_found)), helps=True),
    Proof(
        checks=("LC-06.short",),
        fault=Fault(name="short texts are not understood", request=says("I do not know.")),
        known=_with_twin,
    ),
    Proof(
        checks=("LC-06.short",),
        fault=Fault(name="short texts are understood", request=says(_found)),
        known=_with_twin,
        helps=True,
    ),
    Proof(checks=("LC-07.same",), fault=Fault(name="garbage from the cache", whole=_Warm(_garbled))),
    Proof(checks=("LC-07.cached",), fault=Fault(name="no hit is told", whole=_Warm(_nothing_cached))),
    Proof(checks=("LC-07.faster",), fault=Fault(name="nothing is cached", request=_new_salt)),
    Proof(checks=("LC-08.lengths",), fault=Fault(name="a token is lost at a block's end", request=_at_a_block)),
    Proof(checks=("LC-09",), fault=Fault(name="short streams end early", events=_ends_early)),
    Proof(checks=("LC-09",), fault=boot.NO_FAULT, known=_with_budget),
    Proof(checks=("LC-10",), fault=Fault(name="a loop", request=says(_LOOP))),
    Proof(checks=("LC-10",), fault=Fault(name="prose", request=says(_PROSE)), helps=True),
    Proof(checks=("LC-11",), fault=Fault(name="500 where the cache is full", answer=_small_and_lossy, paths=_FILLED)),
    Proof(
        checks=("LC-11",),
        fault=Fault(name="a token is lost by preemption", answer=_small, whole=_one_missing, paths=_FILLED),
    ),
    Proof(checks=("LC-11",), fault=Fault(name="a small cache", answer=_small, paths=("/metrics",)), helps=True),
)
