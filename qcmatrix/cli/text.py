"""How answers look in a terminal: 80 columns, readable without colour."""

from __future__ import annotations

import itertools
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import click

from qcmatrix.answers.schema import AskedAnswer, Estimate, EvidenceAnswer, LatencyAnswer, MemoryAnswer
from qcmatrix.launch.shell import join_shell
from qcmatrix.planner.request import spell_context, spell_count

__all__ = [
    "asked_lines",
    "bold",
    "counted",
    "evidence_text",
    "latency_lines",
    "ledger_lines",
    "paint_severity",
    "paint_verdict",
    "shell_text",
    "width",
    "wrapped",
]

_VERDICT_COLOURS = {
    "starts": "green",
    "tight": "yellow",
    "does-not-fit": "red",
    "refused": "red",
    "wrong": "red",
    "unknown": "yellow",
}
_SEVERITY_COLOURS = {"error": "red", "warning": "yellow", "info": "blue"}
_OPTION = re.compile(r"--?[A-Za-z]")
_BAR = {"weights": "W", "overhead": "o", "kv": "K", "free": "."}


def width() -> int:
    """Columns to use: the terminal's, between 60 and 100; 80 when piped."""
    return max(60, min(100, shutil.get_terminal_size((80, 24)).columns))


def bold(text: str) -> str:
    """``text`` set off."""
    return click.style(text, bold=True)


def paint_verdict(verdict: str) -> str:
    """The verdict's word in its colour."""
    return click.style(verdict, fg=_VERDICT_COLOURS[verdict], bold=True)


def paint_severity(severity: str, text: str) -> str:
    """``text`` in the severity's colour."""
    return click.style(text, fg=_SEVERITY_COLOURS[severity], bold=True)


def wrapped(text: str, *, first: str, rest: str) -> Iterator[str]:
    """``text`` broken at the terminal's width; words (flags, numbers) are never broken."""
    yield from textwrap.wrap(
        text,
        width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def shell_text(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """The command ready to paste, one option a line."""
    lead = [*itertools.takewhile(lambda word: not word.startswith("-"), argv)]
    groups: list[list[str]] = []
    for word in argv[len(lead) :]:
        if _OPTION.match(word) or not groups:
            groups.append([word])
        else:
            groups[-1].append(word)
    return join_shell(lead, groups, env, width())


def evidence_text(evidence: EvidenceAnswer, release: str) -> str:
    """How the verdict on ``release`` is known."""
    known = f"{evidence.level} for vLLM {evidence.release}, facts of {evidence.date}"
    return known if evidence.release == release else f"{known}: {release} is not in the catalogue"


_RESOLVED = ("max_model_len", "max_num_batched_tokens", "max_num_seqs", "quantization", "kv_cache_dtype")


def asked_lines(asked: AskedAnswer | None, *, brief: bool = False) -> Iterator[str]:
    """What the user's own vLLM said of the launch; nothing where it was not asked. ``brief``: as of the one before."""
    if asked is None:
        return
    yours = f"your vLLM {asked.release}"
    if asked.says == "not-askable":
        yield from wrapped(f"not probed: {yours} cannot be asked: {asked.text}", first="  ", rest="    ")
        return
    if asked.says == "refuses":
        told = f"{yours} refuses it ({asked.stage}): {' '.join(asked.text.split())}"
    else:
        made = {name: asked.resolved[name] for name in _RESOLVED if asked.resolved.get(name) is not None}
        resolved = ", ".join(f"{name} {value}" for name, value in made.items())
        told = f"{yours} accepts it{f' (resolved {resolved})' if resolved and not brief else ''}"
    lines = list(wrapped(f"probed: {told}", first="  ", rest="    "))
    yield lines[0].replace("probed", click.style("probed", fg="red" if asked.says == "refuses" else "green"), 1)
    yield from lines[1:]
    if asked.contradicts:
        why = "" if asked.says == "refuses" or not asked.text else f": {asked.text}"
        yield from wrapped(f"CONTRADICTED: our verdict and your vLLM disagree{why}", first="  ", rest="    ")
    if asked.not_asked and not brief:
        yield from wrapped(f"not asked: {'; '.join(asked.not_asked)}", first="  ", rest="    ")


def counted(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def ledger_lines(memory: MemoryAnswer) -> Iterator[str]:
    """The memory ledger of one GPU."""
    where = f" ({memory.stage})" if memory.stage else ""
    yield f"  Memory per GPU, GiB{where}"
    yield f"    {'usable, as the driver reports it':<38}{memory.usable_gib:>9.2f}"
    yield f"    {'budget of --gpu-memory-utilization':<38}{memory.budget_gib:>9.2f}"
    for term in memory.terms:
        if not term.in_budget or term.gib.high < 0.005:
            continue
        yield f"  - {term.name:<38}{term.gib.mid:>9.2f}  {_spread(term.gib)}"
    yield f"  = {'KV cache':<38}{memory.kv_gib.mid:>9.2f}  {_spread(memory.kv_gib)}"
    for term in memory.terms:
        if not term.in_budget:
            yield f"    {term.name + ', outside the budget':<38}{term.gib.mid:>9.2f}  {_spread(term.gib)}"
    yield f"    {_bar(memory)}"
    tokens = memory.kv_tokens
    yield from wrapped(
        f"KV cache {tokens.mid:,.0f} tokens ({tokens.low:,.0f} to {tokens.high:,.0f}) per engine, "
        f"{memory.kv_bytes_per_token:,.0f} B each",
        first="    ",
        rest="      ",
    )
    several = memory.max_concurrency
    yield (
        f"    requests of the whole context at once, per engine: {spell_count(several.mid)} "
        f"({spell_count(several.low)} to {spell_count(several.high)})"
    )


def _spread(estimate: Estimate) -> str:
    if estimate.high - estimate.low < 0.005:
        return "exact"
    return f"{estimate.low:.2f} to {estimate.high:.2f}"


def _bar(memory: MemoryAnswer) -> str:
    """Weights, overhead, KV cache and what stays free, to scale."""
    columns = width() - 36
    usable = memory.usable_gib
    parts = [
        ("weights", memory.weights_gib),
        ("overhead", memory.overhead_gib.mid),
        ("kv", max(0.0, memory.kv_gib.mid)),
    ]
    bar = ""
    filled = 0.0
    for name, gib in parts:
        filled += gib
        bar += _BAR[name] * max(0, min(columns, round(filled / usable * columns)) - len(bar))
    bar += _BAR["free"] * (columns - len(bar))
    return f"[{bar}] W weights o overhead K KV"


def latency_lines(latency: LatencyAnswer) -> Iterator[str]:
    """The bounds, as bounds."""
    prefill, decode = latency.prefill_seconds_at_least, latency.decode_milliseconds_at_least
    if prefill is None or decode is None:
        yield "  Time: no bound, this card's peak is not in the catalogue"
        return
    empty = latency.decode_empty_context_milliseconds_at_least or decode
    yield from wrapped(
        f"Time, at least (hardware peak, {latency.attention.upper()} attention): first token of a "
        f"{spell_context(latency.prompt_tokens)} prompt {_duration(prefill)}; then {decode:.1f} ms per token at that "
        f"context, {empty:.1f} ms in a short chat",
        first="  ",
        rest="    ",
    )


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"
