"""Earlier calls that are sent back: shown to the model as they were, and never a reason to refuse (TC-39 to TC-41)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qcmatrix.probe.replay.history import HistoryCase, load_history
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import ONCE, Check, Need, NotApplicable, Tier, check
from qcmatrix.suites.tools.offered import CHAT_API, CORE, TEMPLATE, function, offer, said

__all__ = ["CONVERSATIONS", "earlier_values", "order_of_parameters"]

_VERIFIER = "https://github.com/MiniMax-AI/MiniMax-Provider-Verifier"
_SHOWN = ("TC-39.indentation", "TC-39.nested", "TC-39.numbers", "TC-39.unicode", "TC-39.two-results")


@check(
    "TC-39",
    suite="tools",
    profiles=CORE,
    modes=ONCE,
    sources=(TEMPLATE, _VERIFIER),
    variants={
        name.partition(".")[2]: {"title": load_history()[name].title, "case": load_history()[name]} for name in _SHOWN
    },
)
def earlier_values(bench: Bench, given: dict[str, Any]) -> None:
    """The prompt shows earlier calls as they were.

    What the server makes of a conversation with earlier calls is read back from it (its own render route, or its
    tokenizer there and back); the values must stand there as the family's template writes them, in order. A value that
    is changed there is one that the model believes it wrote.
    """
    case: HistoryCase = given["case"]
    prompt = rendered(bench, case.messages, tools=offer(*case.tools))
    start = 0
    for text in case.shows:
        found = prompt.find(text, start)
        bench.expect(found >= 0, f"{text!r} in its place in the prompt", prompt[-1200:])
        start = found + len(text)


@check("TC-39.order", suite="tools", profiles=CORE, modes=ONCE, sources=(TEMPLATE, _VERIFIER))
def order_of_parameters(bench: Bench) -> None:
    """The parameters of a tool keep their order in the prompt, and nothing of the schema is lost.

    The model reads them in the order in which the client wrote them; an enum, a default and a description stay.
    """
    properties = {
        "zebra": {"type": "string", "enum": ["zebra-one", "zebra-two"]},
        "apple": {"type": "integer", "default": 4711},
        "mango": {"type": "array", "items": {"type": "string"}, "description": "mango-words"},
    }
    prompt = rendered(bench, [{"role": "user", "content": "Go on."}], tools=[function("fruit", properties)])
    start = 0
    for word in ("zebra", "zebra-one", "zebra-two", "apple", "4711", "mango", "mango-words"):
        found = prompt.find(word, start)
        bench.expect(found >= 0, f"{word} in its place in the prompt", prompt[:1200])
        start = found + 1


def rendered(bench: Bench, messages: Sequence[dict[str, Any]], **fields: Any) -> str:
    """The prompt that the server makes of ``messages``.

    Raises:
        NotApplicable: it has no route that tells.
    """
    ids = bench.tokenize(messages, **fields)
    reply = bench.wire.post("/detokenize", {"model": bench.subject.model, "tokens": ids})
    if reply.status in (404, 405):
        raise NotApplicable("the server has no /detokenize")
    body = reply.json
    prompt = body.get("prompt") if isinstance(body, dict) else None
    bench.expect(
        isinstance(prompt, str), "/detokenize answers with a prompt", f"HTTP {reply.status}: {reply.text[:200]}"
    )
    return str(prompt)


_PAGE = """{title}.

The conversation is sent and the model is made to answer `Done.`: the request must be taken (HTTP 200) and answered.
{why}
"""
_WHY = {
    "TC-40": "Once a call came out broken the client sends it back with every later turn: a server that refuses it "
    "ends the conversation for good.",
    "TC-41": "Clients write the content of an assistant's turn with calls in all of these ways.",
}


def _run(bench: Bench, case: HistoryCase) -> None:
    tools = offer(*case.tools) if case.tools else None
    body = {"tools": tools, "tool_choice": "auto" if tools else None, **bench.say("Done.")}
    answer = bench.chat(case.messages, **body)
    bench.expect_ok(answer)
    bench.expect(answer.content == "Done." and not answer.calls, "the answer Done.", said(answer))


def _check(case: HistoryCase) -> Check:
    return Check(
        id=case.id,
        suite="tools",
        profiles=(*CHAT_API, *CORE),
        core=True,
        tier=Tier.CONTRACT,
        modes=ONCE,
        needs=(Need.TOOLS, Need.FORCING),
        tokens=2048,
        releases=(None, None),
        sources=case.sources,
        title=case.title,
        page=_PAGE.format(title=case.title[:1].upper() + case.title[1:], why=_WHY[case.id.partition(".")[0]]).strip(),
        run=lambda bench: _run(bench, case),
    )


CONVERSATIONS: tuple[Check, ...] = tuple(
    _check(case) for name, case in load_history().items() if name.startswith(("TC-40", "TC-41"))
)
