"""Prompts of an exact number of tokens, different in every run, and FIM prompts cut from our own source."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from qcmatrix.suites.bench import Bench
from qcmatrix.suites.declare import NotApplicable, Wrong

__all__ = ["FIM_STOPS", "Filled", "chat_counter", "filled", "fim_prompt", "fixed_length", "own_code", "text_counter"]

FIM_STOPS = (151659, 151661, 151662, 151663, 151664, 151643, 151645)
"""The end-of-answer ids of the model's own FIM examples (https://github.com/QwenLM/Qwen3-Coder#readme)."""

_FIRST = "Notes:"
_PAGE = (
    "code file line test list map key value name path type loop call stack heap queue tree node edge graph hash sort "
    "read write open close send wait lock task time date size count index range split join trim parse load save copy "
    "move find match merge build run stop start error log trace debug user group role token page view form link menu"
)
_WORDS = tuple(_PAGE.split())
_FILLERS = (" a", "0", "-")
_MODULES = (
    "launch/parse.py",
    "launch/shell.py",
    "memory/footprint.py",
    "memory/weights.py",
    "refresh/flags.py",
    "startup_log/reader.py",
    "documents/kubernetes.py",
    "catalogue/releases.py",
    "planner/search.py",
    "evidence/store.py",
)


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """Words that make so many tokens in any order."""

    words: tuple[str, ...]
    tail: str
    tokens: int
    """As the server counts the whole prompt: :func:`filled` comes within a token or two of what was asked."""

    def text(self, rng: random.Random) -> str:
        """One prompt: the words in another order."""
        words = list(self.words)
        rng.shuffle(words)
        return f"{_FIRST} {' '.join(words)}{self.tail}"


def filled(count: Callable[[str], int], tokens: int) -> Filled:
    """A prompt that ``count`` finds ``tokens`` long, or as near as fillers of one token come to it.

    Byte-pair tokenizers cut at spaces first, so the order of the words does not change their number of tokens; the
    usage of each reply is held against it.
    """

    def words(many: int) -> tuple[str, ...]:
        return tuple(_WORDS[place % len(_WORDS)] for place in range(many))

    @cache
    def length(many: int) -> int:
        return count(f"{_FIRST} {' '.join(words(many))}")

    each = max(1.0, (length(len(_WORDS) + 1) - length(1)) / len(_WORDS))
    low = max(1, int((tokens - length(1)) / each) - 2)
    while low > 1 and length(low) > tokens:
        low = max(1, low - len(_WORDS))
    step = 4
    while length(low + step) <= tokens:
        low, step = low + step, step * 2
    high = low + step  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if length(middle) <= tokens else (low, middle)
    missing = tokens - length(low)
    text = f"{_FIRST} {' '.join(words(low))}"
    for filler in _FILLERS if missing > 0 else ():
        if count(text + filler * missing) == tokens:
            return Filled(words=words(low), tail=filler * missing, tokens=tokens)
    return Filled(words=words(low), tail="", tokens=length(low))


def chat_counter(bench: Bench) -> Callable[[str], int]:
    """Counts the tokens of a chat of one user turn."""
    return _counter(bench, "/v1/chat/completions", lambda text: {"messages": [{"role": "user", "content": text}]})


def text_counter(bench: Bench) -> Callable[[str], int]:
    """Counts the tokens of a raw prompt."""
    return _counter(bench, "/v1/completions", lambda text: {"prompt": text})


def _counter(bench: Bench, path: str, ask: Callable[[str], dict[str, Any]]) -> Callable[[str], int]:
    """By the server's ``/tokenize``; where it has none, by the usage of an answer of one token."""
    by_usage = False

    def count(text: str) -> int:
        nonlocal by_usage
        kept = len(bench.exchanges)
        try:
            if not by_usage:
                try:
                    asked = ask(text)
                    return len(bench.tokenize(asked.get("messages") or asked["prompt"]))
                except NotApplicable:
                    by_usage = True
            body = {"model": bench.subject.model, "max_tokens": 1, "temperature": 0, **ask(text)}
            reply = bench.wire.post(path, body)
            told = reply.json.get("usage") if isinstance(reply.json, dict) else None
            if reply.status != 200 or not isinstance(told, dict) or not isinstance(told.get("prompt_tokens"), int):
                raise Wrong("an answer with its usage", f"HTTP {reply.status}: {reply.text[:200]}")
            return int(told["prompt_tokens"])
        finally:
            del bench.exchanges[kept:]  # how we count is not what the check asks

    return count


def fixed_length(bench: Bench, tokens: int, salt: str) -> dict[str, Any]:
    """Fields of a streamed request that is answered with exactly so many tokens, all of them visible."""
    return {
        "model": bench.subject.model,
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "skip_special_tokens": False,  # an output that nobody sees would not be timed
        "stream": True,
        "stream_options": {"include_usage": True},
        "cache_salt": salt,
    }


_GAP = 240
"""Characters that are missing: where nothing is, a trained model rightly says nothing, and there is nothing to time."""


def fim_prompt(rng: random.Random, characters: int) -> str:
    """A gap in our own source: prefix, suffix, middle; two thirds of the text stand before the cursor.

    Its first line is random, so nothing of it lies in the prefix cache.
    """
    source = _source()
    start = rng.randrange(0, len(source) - characters - _GAP)
    cursor = start + characters * 2 // 3
    before, after = source[start:cursor], source[cursor + _GAP : start + characters + _GAP]
    return f"<|fim_prefix|># {uuid.UUID(int=rng.getrandbits(128)).hex}\n{before}<|fim_suffix|>{after}<|fim_middle|>"


def own_code(characters: int) -> str:
    """So much of our own source, a line at each end: code without markup, for the argument of a tool call."""
    code = "\n".join(line.rstrip() for line in _source().replace("<", "(").splitlines() if line.strip())
    return (f"{code}\n" * (characters // len(code) + 1))[:characters].rstrip()


@lru_cache(maxsize=1)
def _source() -> str:
    package = files("qcmatrix")
    return "\n".join(package.joinpath(module).read_text(encoding="utf-8") for module in _MODULES)
