"""Contract: the stop strings that clients send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Mode, Need, check
from qcmatrix.suites.fim.asking import plain_gap, send
from qcmatrix.suites.fim.gap import load_gaps
from qcmatrix.suites.fim.payloads import (
    CONTINUE_BODY,
    CONTINUE_STOPS,
    CONTINUE_TEMPLATES,
    CONTINUE_TEMPLATING,
    SEED_TEMPLATES,
    ZED_BODY,
    ZED_FIM,
    Request,
    continue_autocomplete,
    zed,
)

_LIMIT = "https://github.com/vllm-project/vllm/blob/v0.28.0/vllm/envs.py"
_ISSUE = "https://github.com/continuedev/continue/issues/2461"
_CONTINUE_SOURCES = (CONTINUE_TEMPLATES, CONTINUE_STOPS, CONTINUE_TEMPLATING, CONTINUE_BODY, _ISSUE)


@check(
    "FIM-05.default",
    suite="fim",
    profiles=("fim-continue",),
    core=False,
    modes=(Mode.STREAM,),
    needs=(Need.FORCING,),
    sources=(*_CONTINUE_SOURCES, _LIMIT),
)
def continue_as_installed(bench: Bench) -> None:
    """Continue's autocompletion as it is installed is answered.

    Asked: what Continue sends of itself for a name with ``qwen`` and ``coder`` in it: twelve stop strings, streamed,
    temperature 0.01. Must hold: HTTP 200, and each of the twelve ends the text before itself.

    From 0.28.0 on vLLM takes four stop strings and answers with HTTP 400, so autocompletion fails as installed. Mend it
    with ``maxStopWords: 4`` in Continue (FIM-05.max-stop-words), or ``VLLM_MAX_STOP_STRINGS=12`` at the server.
    """
    _every_stop_ends(bench, continue_autocomplete(plain_gap(load_gaps()), max_tokens=64))


@check(
    "FIM-05",
    suite="fim",
    profiles=("fim-continue",),
    modes=(Mode.STREAM,),
    needs=(Need.FORCING,),
    sources=_CONTINUE_SOURCES,
    variants={
        "max-stop-words": {"title": "with maxStopWords: 4", "max_stop_words": 4},
        "template": {"title": "with a template of the user's", "template": SEED_TEMPLATES["clean"]},
    },
)
def continue_configured(bench: Bench, variant: Mapping[str, Any]) -> None:
    """Continue's autocompletion is answered and stops where it should.

    Asked: Continue's request as its configuration makes it. With ``maxStopWords: 4`` it sends the first four of its
    stop strings; with ``promptTemplates.autocomplete`` only the three that it always appends. Must hold: HTTP 200, each
    of them ends the text before itself, the beginning of one at the end of a text does not, and all else arrives whole.

    Not covered: the markers that are then not among the stop strings; see FIM-08.
    """
    settings = {name: value for name, value in variant.items() if name != "title"}
    _every_stop_ends(bench, continue_autocomplete(plain_gap(load_gaps()), max_tokens=64, **settings))


@check(
    "FIM-05.refused",
    suite="fim",
    profiles=("fim-raw", "fim-continue"),
    needs=(Need.FORCING,),
    sources=(_LIMIT, _ISSUE),
)
def too_many_stops(bench: Bench) -> None:
    """Stop strings over the server's limit are refused in clear words, or obeyed.

    Asked: twelve stop strings. Must hold: HTTP 200 and the twelfth ends the text, or HTTP 400 whose message names
    ``stop``. Never a server error, and never some of the strings left out in silence.
    """
    stops = [f"<stop-{letter}>" for letter in "abcdefghijkl"]
    reply = bench.complete("x = ", max_tokens=64, stop=stops, **bench.say(f"1{stops[-1]}2"))
    bench.figures["stop_strings_12"] = "taken" if reply.status == 200 else "refused"
    if reply.status == 400:
        bench.expect("stop" in reply.error, "a message that names `stop`", reply.error)
        return
    bench.expect_ok(reply)
    bench.expect(reply.text == "1", "the text before the twelfth stop string, '1'", reply.text)


@check(
    "FIM-06",
    suite="fim",
    profiles=("fim-raw",),
    modes=(Mode.WHOLE,),
    needs=(Need.FORCING,),
    sources=(ZED_FIM, ZED_BODY),
)
def zed_prediction(bench: Bench) -> None:
    """Zed's edit prediction is answered and stops where it should.

    Asked: Zed's request with ``"prompt_format": "qwen"``: four stop strings, no temperature, not streamed. Must hold:
    HTTP 200, each of the four ends the text before itself, and all else arrives whole.
    """
    _every_stop_ends(bench, zed(plain_gap(load_gaps())))


def _every_stop_ends(bench: Bench, request: Request) -> None:
    stops: list[str] = list(request.body["stop"])
    whole = ["value = 1\n    other()\n", f"value = {stops[-1][:2]}"]
    said = [*((f"value = 1\n{stop}more", "value = 1\n") for stop in stops), *((text, text) for text in whole)]
    replies = bench.at_once(lambda each: send(bench, request, **bench.say(each[0])), said)
    for (text, wanted), reply in zip(said, replies, strict=True):
        bench.expect_ok(reply)
        bench.expect(reply.text == wanted, f"{wanted!r} of the text {text!r}", reply.text)
        bench.expect(reply.finish == "stop", "finish_reason stop", f"{reply.finish} for the text {text!r}")
