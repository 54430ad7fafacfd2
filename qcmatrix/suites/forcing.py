"""Making any model say an exact text: the deterministic half of the suites.

vLLM's structured outputs take a list of choices; a list of one leaves the model nothing else to say, random weights or
not. The text goes through the real engine, detokenizer, parser and stream.

The tags of calls are single tokens of the family, by which parsers know them; an untrained model would as soon spell
them out. So a text that holds them biases those tokens: wherever the text lets one stand, it is written.
"""

from __future__ import annotations

from typing import Any

from qcmatrix.versions import parse_version

__all__ = ["forced", "tag_bias"]

_STRUCTURED_OUTPUTS_SINCE = parse_version("0.11.0")
"""``structured_outputs`` replaced ``guided_choice`` there (https://github.com/vllm-project/vllm/pull/22772)."""

_CHOICE_ESCAPED_SINCE = parse_version("0.32.0")
"""Before, a choice with a line feed in it was no valid grammar; the request then went to another backend than the one
that the engine had begun with, and ended in a 500 (https://github.com/vllm-project/vllm/pull/48115; 0.29.0 is without
it, 0.32.0 has it)."""

_TAGS = {"<tool_call>": 151657, "</tool_call>": 151658}
"""Added tokens of Qwen3 (https://huggingface.co/Qwen/Qwen3-Coder-30B-A3B-Instruct/blob/main/tokenizer_config.json)."""


def forced(text: str, release: str | None) -> dict[str, Any]:
    """Fields of a chat or completion request that make the model say ``text`` and nothing else.

    ``release`` is vLLM's version; ``None``: not known, and taken for a current one.
    """
    # A penalty changes nothing where there is no choice, and costs: on a CPU two thirds of all time (0.32.0).
    more: dict[str, Any] = {"repetition_penalty": 1.0}
    if any(tag in text for tag in _TAGS):
        more["logit_bias"] = tag_bias(100)
    version = parse_version(release) if release is not None else _CHOICE_ESCAPED_SINCE
    if version < _STRUCTURED_OUTPUTS_SINCE:
        return {"guided_grammar": _literal(text), **more}
    if version < _CHOICE_ESCAPED_SINCE:
        return {"structured_outputs": {"grammar": _literal(text)}, **more}
    return {"structured_outputs": {"choice": [text]}, **more}


def tag_bias(bias: int) -> dict[str, int]:
    """The ``logit_bias`` that favours the tags of calls as single tokens."""
    return {str(token): bias for token in _TAGS.values()}


def _literal(text: str) -> str:
    """``text`` as an EBNF grammar that has nothing else in it."""
    return 'root ::= "' + "".join(_ESCAPES.get(letter, _escaped(letter)) for letter in text) + '"'


_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _escaped(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x20 or ord(letter) == 0x7F else letter
