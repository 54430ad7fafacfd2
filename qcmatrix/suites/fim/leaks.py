"""Contract: tokens that must end a completion, and must not be text in it."""

from __future__ import annotations

from qcmatrix.exchange.chat import Completion
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Mode, NotApplicable, check
from qcmatrix.suites.fim.asking import marker_ids, plain_gap, send, stop_token_ids
from qcmatrix.suites.fim.gap import MARKERS, load_gaps
from qcmatrix.suites.fim.payloads import (
    CONTINUE_BODY,
    CONTINUE_STOPS,
    LLAMA_VSCODE,
    README,
    STOP_MARKERS,
    ZED_FIM,
    continue_autocomplete,
    llama_vscode,
    psm,
    raw,
)

_ADDED = "https://github.com/QwenLM/Qwen3-Coder/issues/13"
_STOP_IDS = "https://github.com/vllm-project/vllm/pull/1097"


def _name(marker: str) -> str:
    return marker.strip("<|>").replace("_", "-")


@check(
    "FIM-07",
    suite="fim",
    profiles=("fim-raw",),
    modes=(Mode.WHOLE,),
    sources=(LLAMA_VSCODE,),
    variants={_name(marker): marker for marker in ("<|im_end|>", "<|endoftext|>")},
)
def ends_without_stops(bench: Bench, marker: str) -> None:
    """An end token ends a completion without any stop from the client, and is not text in it.

    Asked: llama.vscode's request in its OpenAI mode (no stop strings), of a model that can say nothing but this token.
    Must hold: an empty text, ``finish_reason`` stop. Both are end tokens by the model's ``generation_config.json``.
    """
    ids = marker_ids(bench, (marker,))
    reply = send(bench, llama_vscode(plain_gap(load_gaps()), max_tokens=4), allowed_token_ids=list(ids.values()))
    bench.expect_ok(reply)
    bench.expect(reply.text == "", "an empty text", reply.text)
    bench.expect(reply.finish == "stop", "finish_reason stop", reply.finish)


@check("FIM-07.infill", suite="fim", profiles=("fim-raw",), core=False, modes=(Mode.ONCE,), sources=(LLAMA_VSCODE,))
def infill(bench: Bench) -> None:
    """llama.cpp's own ``/infill`` is answered, where there is one.

    Asked: what llama.vim, and llama.vscode out of its OpenAI mode, send. vLLM does not serve it: the check is then
    unsupported and not failed. Must hold where it is served: HTTP 200 with a ``content``.
    """
    gap = plain_gap(load_gaps())
    body = {"input_prefix": gap.prefix, "input_suffix": gap.suffix, "prompt": "", "n_predict": 4}
    reply = bench.wire.post("/infill", body)
    if reply.status in (404, 405):
        raise NotApplicable(
            "vLLM does not serve /infill; llama.vscode: set use_openai_endpoint; llama.vim has no other"
        )
    content = reply.json.get("content") if isinstance(reply.json, dict) else None
    bench.expect(
        reply.status == 200 and isinstance(content, str),
        "HTTP 200 with a content",
        f"HTTP {reply.status}: {reply.text}",
    )


@check(
    "FIM-08",
    suite="fim",
    profiles=("fim-raw",),
    sources=(_ADDED, README, ZED_FIM, _STOP_IDS),
    variants={f"marker-{_name(marker)}": marker for marker in MARKERS},
)
def marker_does_not_leak(bench: Bench, marker: str) -> None:
    """The recommended request ends at a marker, and the marker is not text.

    Asked: the raw form with the README's end tokens as ``stop_token_ids`` and ``<|fim_middle|>`` as stop string, of a
    model that can say nothing but this marker. Must hold: an empty text; ``finish_reason`` stop, but for
    ``<|im_start|>``, which is in neither list and only must not be seen.

    Why: Qwen's markers for filling in are added tokens that are not special, so they are text unless something stops
    there. Zed strips fourteen of them by itself.
    """
    (token,) = marker_ids(bench, (marker,)).values()
    gap = plain_gap(load_gaps())
    request = raw(psm(gap.prefix, gap.suffix), stop_token_ids(bench), max_tokens=4)
    reply = send(bench, request, allowed_token_ids=[token], stream=bench.streams)
    bench.expect_ok(reply)
    bench.expect(reply.text == "", "an empty text", reply.text)
    if marker in (*STOP_MARKERS, "<|fim_middle|>"):
        bench.expect(reply.finish == "stop", "finish_reason stop", reply.finish)


@check("FIM-08.after-text", suite="fim", profiles=("fim-raw",), sources=(_ADDED, README, _STOP_IDS))
def marker_ends_a_text(bench: Bench) -> None:
    """The recommended request ends where a marker follows a text, and the text is whole.

    Asked: the raw form with the README's end tokens as ``stop_token_ids``, of a model that says three letters and then
    the marker, for each of them. Must hold: the three letters, ``finish_reason`` stop.
    """
    ids = marker_ids(bench, ("a", *STOP_MARKERS))
    stops = sorted(ids[marker] for marker in STOP_MARKERS)
    gap = plain_gap(load_gaps())
    request = raw(psm(gap.prefix, gap.suffix), stops, max_tokens=8)

    def ask(marker: str) -> Completion:
        # an end token may not come before `min_tokens`; then the bias makes it come
        said = {"allowed_token_ids": [ids["a"], ids[marker]], "logit_bias": {str(ids[marker]): 100}, "min_tokens": 3}
        return send(bench, request, stream=bench.streams, **said)

    for marker, reply in zip(STOP_MARKERS, bench.at_once(ask, STOP_MARKERS), strict=True):
        bench.expect_ok(reply)
        bench.expect(reply.text == "aaa", f"'aaa' before {marker}", reply.text)
        bench.expect(reply.finish == "stop", f"finish_reason stop at {marker}", reply.finish)


@check(
    "FIM-08.continue-ids",
    suite="fim",
    profiles=("fim-continue",),
    modes=(Mode.STREAM,),
    sources=(CONTINUE_BODY, CONTINUE_STOPS, _STOP_IDS),
)
def continue_with_ids(bench: Bench) -> None:
    """Continue with four stop strings and ``stop_token_ids`` ends at every marker.

    Asked: Continue's request with ``maxStopWords: 4`` and ``requestOptions.extraBodyProperties.stop_token_ids``, of a
    model that can say nothing but a marker which is not among the four. Must hold: an empty text, ``finish_reason``
    stop. The configuration that we write for Continue rests on it.
    """
    ids = stop_token_ids(bench)
    request = continue_autocomplete(plain_gap(load_gaps()), max_stop_words=4, max_tokens=4)
    left = [marker for marker in STOP_MARKERS if marker not in request.body["stop"]]
    tokens = marker_ids(bench, left)

    def ask(marker: str) -> Completion:
        return send(bench, request, stop_token_ids=ids, allowed_token_ids=[tokens[marker]])

    for marker, reply in zip(left, bench.at_once(ask, left), strict=True):
        bench.expect_ok(reply)
        bench.expect(reply.text == "", f"an empty text at {marker}", reply.text)
        bench.expect(reply.finish == "stop", f"finish_reason stop at {marker}", reply.finish)
