"""systemd units."""

from __future__ import annotations

import re

import msgspec

from qcmatrix.documents.filling import Filling
from qcmatrix.documents.found import FoundCommand, FoundWord, Quoting
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.shell import mentions_vllm, read_shell

__all__ = ["read_systemd"]

_LINE = re.compile(
    r"^[ \t]*(?P<key>[A-Za-z]+)[ \t]*=(?P<value>(?:[^\\\n]|\\[^\n]|\\\r?\n(?:[ \t]*[#;][^\n]*\n)*)*)", re.MULTILINE
)
_COMMENT_LINE = re.compile(r"^[ \t]*[#;][^\n]*\n?", re.MULTILINE)
"""Between continued lines: systemd takes it out first."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}|\$([A-Za-z_]\w*)$")
_PAIR = re.compile(r"\"([A-Za-z_]\w*)=([^\"]*)\"|'([A-Za-z_]\w*)=([^']*)'|([A-Za-z_]\w*)=(\S*)")
_PREFIX = re.compile(r"[ \t]*[-@:+!|]*[ \t]*")
_SPECIFIER = re.compile(r"%[a-zA-Z]")


def read_systemd(text: str) -> list[FoundCommand]:
    """The servers of ``ExecStart=``, with what ``Environment=`` sets. Specifiers (``%i``) stay unknown."""
    env: dict[str, FoundWord] = {}
    found: list[FoundCommand] = []
    for line in _LINE.finditer(text):
        key, value, start = line["key"], line["value"], line.start("value")
        if key == "Environment":
            for pair in _PAIR.finditer(value):
                name, given = next((n, v) for n, v in zip(pair.groups()[::2], pair.groups()[1::2], strict=True) if n)
                word = FoundWord(
                    given, start + pair.start(), start + pair.end(), Quoting.NONE,
                    resolved=_SPECIFIER.search(given) is None,
                )  # fmt: skip
                env[name] = word
        elif key.startswith("Exec") and mentions_vllm(value):
            prefix = _PREFIX.match(value)
            skipped = prefix.end() if prefix is not None else 0
            plain = _COMMENT_LINE.sub(lambda comment: " " * len(comment[0]), value)
            found.extend(read_shell(Mapped.whole(plain[skipped:], start + skipped)))
    return [_in_unit(command, env) for command in found]


def _in_unit(command: FoundCommand, env: dict[str, FoundWord]) -> FoundCommand:
    words = tuple(
        msgspec.structs.replace(word, resolved=False) if _SPECIFIER.search(word.text) else _filled(word, env)
        for word in command.words
    )
    return msgspec.structs.replace(command, words=words, env={**env, **command.env})


def _filled(word: FoundWord, env: dict[str, FoundWord]) -> FoundWord:
    """With what ``Environment=`` says; a value of several words stays unknown, since it would be several here."""
    if word.resolved or "$" not in word.text:
        return word

    def value(found: re.Match[str]) -> str | None:
        known = env.get(found[1] or found[2])
        return known.text if known is not None and known.resolved and not known.text.split()[1:] else None

    filling = Filling(value)
    text = _VARIABLE.sub(filling, word.text)
    return msgspec.structs.replace(word, text=text, resolved=filling.known and "$" not in text, own=False)
