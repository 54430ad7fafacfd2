"""Behaviour: what the model puts into our gaps, in each of the forms in which clients ask; rates over the gaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qcmatrix.exchange.chat import Completion
from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import Mode, Need, Rate, Tier, check
from qcmatrix.suites.fim.asking import fill, rate_of, stop_token_ids
from qcmatrix.suites.fim.gap import Gap, load_gaps
from qcmatrix.suites.fim.judges import chatter, echo, fence, leak, lone_line_feed, loop, repeat, unfilled, wrong_indent
from qcmatrix.suites.fim.payloads import (
    COMPLETIONS,
    CONTINUE_STOPS,
    CONTINUE_TEMPLATING,
    LLAMA_VSCODE,
    README,
    REPO_LEVEL,
    SEED_TEMPLATES,
    SYSTEM,
    ZED_FIM,
    Request,
    chat,
    continue_autocomplete,
    llama_vscode,
    psm,
    raw,
    repo_level,
    wrapped,
    zed,
)

_ISSUE = "https://github.com/QwenLM/Qwen3-Coder/issues/543"
_FILTERS = "https://github.com/continuedev/continue/tree/main/core/autocomplete/filtering"
_GUIDE = "https://docs.continue.dev/customize/deep-dives/autocomplete"
_RATE = 0.9
"""The least share of good middles, where the catalogue gives none."""
_FEW_TOKENS = 8
"""For a gap in which nothing is missing."""

Form = Callable[[Gap], Request]
_FORMS: dict[str, Form] = {
    "continue": lambda gap: continue_autocomplete(gap, max_stop_words=4),
    "continue-template": lambda gap: continue_autocomplete(gap, template=SEED_TEMPLATES["clean"]),
    "zed": zed,
    "llama-vscode": llama_vscode,
}


def _plain() -> list[Gap]:
    return [gap for gap in load_gaps() if not gap.empty and not gap.files and not gap.marked]


def _some() -> list[Gap]:
    """A third of them, of all languages: enough for what should never be seen."""
    return _plain()[::3]


def _raw_form(bench: Bench) -> Form:
    stops = stop_token_ids(bench)
    return lambda gap: raw(psm(gap.prefix, gap.suffix), stops)


def _told(judge: Callable[[str], str]) -> Callable[[Gap, Completion], str]:
    return lambda gap, reply: f"{gap.id}: {said}" if (said := judge(reply.text)) else ""


def _about(judge: Callable[[Gap, str], str]) -> Callable[[Gap, Completion], str]:
    return lambda gap, reply: f"{gap.id}: {said}" if (said := judge(gap, reply.text)) else ""


def _recorded(bench: Bench, gaps: list[Gap], replies: list[Completion]) -> Rate:
    """The rate of right answers, gating nothing, with those of what is wrong as figures."""
    texts = [reply.text for reply in replies]
    for name, judge in (("fence_rate", fence), ("chatter_rate", chatter), ("leak_rate", leak)):
        bench.figures[name] = round(sum(bool(judge(text)) for text in texts) / len(texts), 4)
    return rate_of(gaps, replies, lambda gap, reply: unfilled(gap, reply.text), 0.0)


@check(
    "FIM-01",
    suite="fim",
    profiles=("fim-raw",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(README, _ISSUE),
)
def raw_form(bench: Bench) -> Rate:
    """The raw form fills our gaps: the file parses, and the middle holds what it must.

    Asked: prefix, suffix and middle markers on the completions endpoint, without a chat template, temperature 0. Must
    hold in nine of ten: prefix, middle and suffix together parse, and the middle holds the words that no right answer
    can do without.
    """
    gaps = _plain()
    return rate_of(gaps, fill(bench, gaps, _raw_form(bench)), lambda gap, reply: unfilled(gap, reply.text), _RATE)


@check(
    "FIM-02",
    suite="fim",
    profiles=("fim-continue",),
    core=False,
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(README, _GUIDE),
    variants=SEED_TEMPLATES,
)
def wrapped_form(bench: Bench, template: str) -> Rate:
    """The form with chat turns written around it on the completions endpoint; recorded, to be compared with FIM-01.

    Asked: guides' templates for Continue: chat turns written out by hand; the same with the back-ticks around it that
    some leave there, and with the file's indentation. Nothing gates but that the server answers: how often the file
    parses is the rate; fences, talk and markers are figures.
    """
    stops, gaps = stop_token_ids(bench), _some()
    return _recorded(bench, gaps, fill(bench, gaps, lambda gap: raw(wrapped(template, gap), stops)))


@check(
    "FIM-02.readme",
    suite="fim",
    profiles=("fim-raw",),
    core=False,
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(README,),
)
def readme_form(bench: Bench) -> Rate:
    """The README's form: the model's own chat template around it, on the completions endpoint; recorded.

    Asked: the tokens that the server makes of the README's two messages. As for FIM-02, nothing gates but the answer.
    """
    stops, gaps = stop_token_ids(bench), _some()

    def request(gap: Gap) -> Request:
        turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": psm(gap.prefix, gap.suffix)}]
        body: dict[str, Any] = {**raw("", stops).body, "prompt": bench.tokenize(turns, add_generation_prompt=True)}
        return Request(path=COMPLETIONS, body=body)

    return _recorded(bench, gaps, fill(bench, gaps, request))


@check(
    "FIM-03",
    suite="fim",
    profiles=("fim-raw",),
    core=False,
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(_ISSUE, README),
)
def chat_form(bench: Bench) -> Rate:
    """The chat message form; recorded, with how often the answer is fenced.

    Asked: the markers in a user's message of ``/v1/chat/completions``. Public reports say that the answer comes in a
    Markdown fence. Nothing gates but that the server answers.
    """
    gaps = _some()
    return _recorded(bench, gaps, fill(bench, gaps, chat))


def _in_form(bench: Bench, form: Form, judge: Callable[[str], str]) -> Rate:
    gaps = _some()
    return rate_of(gaps, fill(bench, gaps, form), _told(judge), _RATE)


@check(
    "FIM-08",
    suite="fim",
    profiles=("fim-continue",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.ONCE,),
    needs=(Need.TRAINED,),
    sources=(ZED_FIM, CONTINUE_STOPS, LLAMA_VSCODE),
    variants=_FORMS,
)
def no_marker(bench: Bench, form: Form) -> Rate:
    """A client's completions hold no marker of the model.

    Asked: some of our gaps as the client sends them. Must hold in nine of ten: none of the markers for filling in, for
    files, for turns or for the end is in the text. Which stop strings protect against them differs by client.
    """
    return _in_form(bench, form, leak)


@check(
    "FIM-08.raw",
    suite="fim",
    profiles=("fim-raw",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(README, ZED_FIM),
)
def no_marker_raw(bench: Bench) -> Rate:
    """The recommended request's completions hold no marker of the model.

    Asked: some of our gaps in the raw form with the README's end tokens. Must hold in nine of ten: no marker.
    """
    return _in_form(bench, _raw_form(bench), leak)


def _no_talk(text: str) -> str:
    return fence(text) or chatter(text)


@check(
    "FIM-09",
    suite="fim",
    profiles=("fim-continue",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.ONCE,),
    needs=(Need.TRAINED,),
    sources=(CONTINUE_STOPS, CONTINUE_TEMPLATING, _ISSUE),
    variants=_FORMS,
)
def no_fence(bench: Bench, form: Form) -> Rate:
    """A client's completions are code: no Markdown fence, no sentence before it.

    Asked: some of our gaps as the client sends them. Must hold in nine of ten: no line begins with a fence, and the
    first line is no sentence to a reader.
    """
    return _in_form(bench, form, _no_talk)


@check(
    "FIM-09.raw",
    suite="fim",
    profiles=("fim-raw",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(_ISSUE,),
)
def no_fence_raw(bench: Bench) -> Rate:
    """The recommended request's completions are code: no Markdown fence, no sentence before it.

    Asked: some of our gaps in the raw form. Must hold in nine of ten, as for FIM-09.
    """
    return _in_form(bench, _raw_form(bench), _no_talk)


@check(
    "FIM-10",
    suite="fim",
    profiles=("fim-raw",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(_FILTERS,),
)
def no_repeat(bench: Bench) -> Rate:
    """A completion does not say again what stands behind the cursor.

    Asked: our gaps with two lines or more behind them. Must hold in nine of ten: the middle does not end with twelve
    characters or more of the suffix's beginning, and its last line is none of the suffix's first three.
    """
    gaps = [gap for gap in _plain() if len([line for line in gap.suffix.splitlines() if line.strip()]) >= 2]
    return rate_of(gaps, fill(bench, gaps, _raw_form(bench)), _about(repeat), _RATE)


@check(
    "FIM-11",
    suite="fim",
    profiles=("fim-raw",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(_FILTERS,),
)
def no_echo(bench: Bench) -> Rate:
    """A completion does not say the line before the cursor again, nor any line over and over.

    Asked: our gaps, some of which begin inside a word. Must hold in nine of ten: the first line is not the last one of
    the prefix, and no line comes more than three times.
    """
    gaps = _plain()
    replies = fill(bench, gaps, _raw_form(bench))
    return rate_of(gaps, replies, _about(lambda gap, text: echo(gap, text) or loop(text)), _RATE)


@check(
    "FIM-12",
    suite="fim",
    profiles=("fim-raw",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(README,),
)
def nothing_missing(bench: Bench) -> Rate:
    """Where nothing is missing, next to nothing comes.

    Asked: files that are complete at the cursor. Must hold in nine of ten: the model ends by itself within eight
    tokens.
    """
    gaps = [gap for gap in load_gaps() if gap.empty]

    def judge(gap: Gap, reply: Completion) -> str:
        count = (reply.usage or {}).get("completion_tokens")
        ended = reply.finish == "stop" and isinstance(count, int) and count <= _FEW_TOKENS
        return "" if ended else f"{gap.id}: {count} tokens, finish_reason {reply.finish}: {reply.text[:100]!r}"

    return rate_of(gaps, fill(bench, gaps, _raw_form(bench)), judge, _RATE)


@check(
    "FIM-13.model",
    suite="fim",
    profiles=("fim-raw",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(CONTINUE_TEMPLATING,),
)
def indentation(bench: Bench) -> Rate:
    """A completion goes on with the indentation that is there.

    Asked: gaps behind an indentation, and in files with tabs. Must hold in nine of ten: no whitespace before the code
    where the cursor stands behind the indentation, no spaces where the file has tabs. The figure ``lone_line_feeds``
    counts the answers in files with Windows' line ends that end a line without its carriage return.
    """
    gaps = [gap for gap in _plain() if gap.after_indent or gap.tabbed or gap.crlf]
    replies = fill(bench, gaps, _raw_form(bench))
    bench.figures["lone_line_feeds"] = sum(
        bool(lone_line_feed(gap, reply.text)) for gap, reply in zip(gaps, replies, strict=True)
    )
    return rate_of(gaps, replies, _about(wrong_indent), _RATE)


@check(
    "FIM-15",
    suite="fim",
    profiles=("fim-raw",),
    tier=Tier.BEHAVIOUR,
    modes=(Mode.WHOLE,),
    needs=(Need.TRAINED,),
    sources=(REPO_LEVEL, CONTINUE_TEMPLATING),
)
def repository(bench: Bench) -> Rate:
    """The repository form brings in what only another file defines.

    Asked: another file of the repository before the one with the gap, in the form of Qwen's repository example. Must
    hold in nine of ten: the middle uses the name that stands nowhere but in that other file, and the file parses.
    """
    stops = stop_token_ids(bench)
    gaps = [gap for gap in load_gaps() if gap.files]
    replies = fill(bench, gaps, lambda gap: raw(repo_level("shop", gap.files, gap), stops))
    return rate_of(gaps, replies, lambda gap, reply: unfilled(gap, reply.text), _RATE)


@check(
    "FIM-16.greedy",
    suite="fim",
    profiles=("fim-raw",),
    core=False,
    tier=Tier.BEHAVIOUR,
    modes=(Mode.ONCE,),
    needs=(Need.TRAINED,),
    sources=("https://platform.openai.com/docs/api-reference/completions/create",),
)
def same_twice(bench: Bench) -> Rate:
    """At temperature 0 a streamed completion is the whole one, of a model left to itself.

    Asked: some of our gaps, whole and then streamed, with the same seed. Must hold in nine of ten: the same text. The
    arithmetic of a batch may tip a close choice: that is why it is a rate; what the wire does alone is FIM-16.
    """
    gaps = _some()
    form = _raw_form(bench)
    whole = fill(bench, gaps, form, seed=bench.seed)
    streamed = fill(bench, gaps, form, seed=bench.seed, stream=True)
    other = {gap.id: reply.text for gap, reply in zip(gaps, whole, strict=True)}

    def judge(gap: Gap, reply: Completion) -> str:
        return "" if reply.text == other[gap.id] else f"{gap.id}: {other[gap.id][:80]!r}, streamed {reply.text[:80]!r}"

    return rate_of(gaps, streamed, judge, _RATE)
