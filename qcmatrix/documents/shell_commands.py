"""The words of one command of a script: what carries it elsewhere, what a reader is to fill in, whose image it runs."""

from __future__ import annotations

import re

import msgspec

from qcmatrix.documents.carriers import CARRIERS
from qcmatrix.documents.found import FoundCommand
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.shell_word import Word, found_on_path
from qcmatrix.launch.command import CONTAINER_TOOLS
from qcmatrix.launch.image import image_like, release_of_image

__all__ = ["carried", "filled_in", "image_in", "in_image", "is_ellipsis", "is_placeholder"]

_ELLIPSIS = re.compile(r"\.\.\.|\u2026|\[\.\.\.\]|\[[a-z ]+\]|<[a-z ]*(?:args|arguments|options|flags)>")
"""What stands in documentation for further options."""
_PLACEHOLDER = re.compile(
    r"[\w./:=-]*(?:<(?:[A-Za-z]|\d+_)[\w .:/|-]*>|\{\{[^{}]*\}\}|\{(?:[A-Za-z_]+|\.\.\.)\}|%[A-Za-z_]\w*%"
    r"|\b(?:YOUR|your)[_-]\w+)[\w./:-]*"
)
"""What a reader of documentation is to write anew, wherever it came from: ``Code`` sees only what a command itself
holds, and only what the grammar would trip over."""
_MORE = "arguments|args|options|flags|parameters"
_JSON_ELLIPSIS = re.compile(r"[,{\[]\s*\.\.\.\s*[}\],]")


def is_ellipsis(text: str) -> bool:
    """Does ``text`` stand for further options, as in documentation?"""
    return _ELLIPSIS.fullmatch(text) is not None


def is_placeholder(text: str) -> bool:
    """Is ``text`` what a reader of documentation is to write anew, or does it leave something out?"""
    return _PLACEHOLDER.fullmatch(text) is not None or _JSON_ELLIPSIS.search(text) is not None


def filled_in(words: list[Word]) -> list[Word]:
    """``{your model directory}`` is one word that is not known; ``[other options]``, and "other vLLM arguments" without
    brackets, any number of them."""
    made: list[Word] = []
    place = 0
    while place < len(words):
        stop = _closing(words, place)
        if stop is None:
            made.append(words[place])
            place += 1
            continue
        first, last = words[place], words[stop]
        span = (first.span[0], max(first.span[1], last.span[1]))
        if first.value.text.startswith("{"):
            text = Mapped.joined([word.value for word in words[place : stop + 1]])
            made.append(Word(text, span, resolved=False, own=first.own))
        else:
            made.append(Word(Mapped("", ()), (0, 0), open_ended=True))
        place = stop + 1
    return made


def _closing(words: list[Word], place: int) -> int | None:
    """The word that closes what a bracket at the start of this one opens, plain words standing between."""
    opening = re.fullmatch(r"([{\[])[A-Za-z][\w-]*|other", words[place].value.text)
    if opening is None:
        return None
    closing = {"{": r"[\w./-]*\}", "[": r"[\w./-]*\]", None: _MORE}[opening[1]]
    for stop in range(place + 1, min(place + 7, len(words))):
        text = words[stop].value.text
        if re.fullmatch(closing, text):
            return stop
        if not re.fullmatch(r"[\w./-]+", text):
            return None
    return None


def image_in(texts: list[str]) -> str | None:
    """Of ``docker run ... IMAGE bash -c "..."``."""
    first = texts[0].rpartition("/")[2]
    if first not in CONTAINER_TOOLS and not (first == "sudo" and CONTAINER_TOOLS & set(texts[1:2])):
        return None
    return next((text for text in texts if "vllm" in text and " " not in text and image_like(text)), None)


def in_image(command: FoundCommand, image: str) -> FoundCommand:
    """``command`` as it runs in a container of ``image``."""
    release = command.release_hint or release_of_image(image)
    return msgspec.structs.replace(command, release_hint=release, contained=True)


def carried(words: list[Word]) -> list[Word]:
    """Without what only carries the command to where it runs: ``ssh HOST vllm serve ...``."""
    words = [found_on_path(word) for word in words]
    texts = [word.value.text for word in words]
    commands = CARRIERS.get(texts[0].rpartition("/")[2])
    if commands is None or (commands and not commands & set(texts[1:4])):
        return words
    for index in range(1, len(texts) - 1):
        name, following = texts[index].rpartition("/")[2], texts[index + 1]
        if (name == "vllm" and following == "serve") or (
            name.startswith("python") and following == "-m" and "vllm" in "".join(texts[index + 2 : index + 3])
        ):
            return words[index:]
    return words
