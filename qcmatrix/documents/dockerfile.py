"""Dockerfiles: ``ENTRYPOINT``, ``CMD`` and ``RUN``, with ``ENV``, ``ARG`` and the image's tag."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import msgspec

from qcmatrix.documents.containers import Container
from qcmatrix.documents.filling import Filling
from qcmatrix.documents.found import FoundCommand, FoundWord, Quoting
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.shell import mentions_vllm, read_shell
from qcmatrix.documents.shell_expansion import shell_words

__all__ = ["read_dockerfile"]

_INSTRUCTION = re.compile(
    r"^[ \t]*(?P<name>[A-Za-z]+)[ \t]+(?P<rest>(?:[^\\\n]|\\[^\n]|\\[ \t]*\r?\n(?:[ \t]*#[^\n]*\n)*)*)", re.MULTILINE
)
_PAIR = re.compile(r"([A-Za-z_]\w*)=(\"(?:[^\"\\]|\\.)*\"|'[^']*'|(?:[^\s\\]|\\.)*)")
_COMMENT_LINE = re.compile(r"^[ \t]*#[^\n]*\n?", re.MULTILINE)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)(?::-([^{}]*))?\}?")
_RELEASE = re.compile(r"\bvllm(?:\[[^\]]*\])?==v?(\d[\w.+!]*)")


def read_dockerfile(text: str) -> list[FoundCommand]:
    """The servers that each stage starts, and those of the scripts that it writes."""
    stages = [_Stage(text)]
    named: dict[str, _Stage] = {}
    for found in _INSTRUCTION.finditer(text):
        name, start, stop = found["name"].upper(), found.start("rest"), found.end("rest")
        if name == "FROM":
            stages.append(_Stage(text, dict(stages[0].arguments)))
            own = stages[-1].begin(start, stop, named)
            if own:
                named[own] = stages[-1]
        else:
            stages[-1].take(name, start, stop)
    return [command for stage in stages for command in stage.commands()]


def _without_comments(body: str) -> str:
    """Blanks in place of the comment lines between continued ones, which Docker takes out first."""
    return _COMMENT_LINE.sub(lambda found: " " * len(found[0]), body)


class _Stage:
    def __init__(self, text: str, arguments: dict[str, FoundWord] | None = None) -> None:
        self.text = text
        self.image: FoundWord | None = None
        self.arguments = arguments or {}
        self.env: dict[str, FoundWord] = {}
        self.entrypoint: tuple[FoundWord, ...] | None = None
        self.command: tuple[FoundWord, ...] = ()
        self.release: str | None = None
        self.scripts: list[FoundCommand] = []
        self.open_ended = False
        self.inherited = False
        """Is what it starts told by the stage before, and so already found there?"""

    def begin(self, start: int, stop: int, named: Mapping[str, _Stage]) -> str:
        """``FROM [--platform=...] IMAGE [AS NAME]``; the name. Of a stage before it, ``IMAGE`` has all that it has."""
        words = [each for each in re.finditer(r"\S+", self.text[start:stop]) if not each[0].startswith("--")]
        if not words:
            return ""
        first = start + words[0].start()
        word = FoundWord(words[0][0], first, first + len(words[0][0]), Quoting.NONE)
        base = named.get(words[0][0].lower())
        if base is None:
            self.image = self._filled(word)
        else:
            self.image, self.release = base.image, base.release
            self.env, self.entrypoint, self.command = dict(base.env), base.entrypoint, base.command
            self.inherited = base.entrypoint is not None or bool(base.command)
        return words[2][0].lower() if len(words) > 2 and words[1][0].lower() == "as" else ""

    def take(self, name: str, start: int, stop: int) -> None:
        """One instruction."""
        body = self.text[start:stop]
        if name in ("ENV", "ARG"):
            known = self.env if name == "ENV" else self.arguments
            old_form = re.fullmatch(r"([A-Za-z_]\w*)[ \t]+(.*\S)\s*", body, re.DOTALL) if name == "ENV" else None
            if old_form and "=" not in old_form[1]:
                value = FoundWord(old_form[2], start, stop, Quoting.NONE)
                known[old_form[1]] = self._filled(value)
            for found in () if old_form and "=" not in old_form[1] else _PAIR.finditer(body):
                plain = found[2][1:-1] if found[2][:1] in ("'", '"') else found[2]
                value = FoundWord(plain, start + found.start(), start + found.end(), Quoting.NONE)
                known[found[1]] = self._filled(value)
        elif name == "ENTRYPOINT":
            self.entrypoint, self.command = self._words(start, stop), ()
            self.inherited = False
        elif name == "CMD":
            self.command = self._words(start, stop)
            self.inherited = False
        elif name == "RUN":
            if (release := _RELEASE.search(body)) is not None:
                self.release = release[1]
            if mentions_vllm(body):
                self.scripts.extend(read_shell(Mapped.whole(_without_comments(body), start)))

    def _words(self, start: int, stop: int) -> tuple[FoundWord, ...]:
        body = self.text[start:stop]
        if body.lstrip().startswith("["):
            words = []
            for found in _STRING.finditer(body):
                try:
                    value = json.loads(found[0], strict=False)
                except ValueError:
                    continue
                words.append(FoundWord(value, start + found.start(), start + found.end(), Quoting.FLOW_ITEM))
            return tuple(words)  # the exec form: no shell, so no variable is filled in
        found_words, more = shell_words(Mapped.whole(re.sub(r"\\(?=[ \t]*\r?\n)", " ", _without_comments(body)), start))
        self.open_ended = self.open_ended or more
        return tuple(self._filled(word) for word in found_words)

    def _filled(self, word: FoundWord) -> FoundWord:
        """With the variables that the stage sets."""
        if "$" not in word.text:
            return word

        def value(found: re.Match[str]) -> str | None:
            known = self.env.get(found[1]) or self.arguments.get(found[1])
            default: str | None = found[2]
            return known.text if known is not None and known.resolved else default

        filling = Filling(value)
        text = _VARIABLE.sub(filling, word.text)
        return msgspec.structs.replace(word, text=text, resolved=filling.known)

    def commands(self) -> Iterator[FoundCommand]:
        """Its servers."""
        yield from self.scripts
        if self.inherited:
            return
        given = self.entrypoint
        command = self.command
        if given is None and command and not command[0].text.startswith("-") and command[0].text != "serve":
            given, command = command, ()
        container = Container(self.image, given, command, dict(self.env), open_ended=self.open_ended)
        for found in container.commands(self.text):
            yield msgspec.structs.replace(found, release_hint=found.release_hint or self.release)
