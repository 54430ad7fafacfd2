"""Fixes as edits of the document: only the words that change, everything else byte for byte.

An edit is made where the words stand in the file itself and can be written there without guessing; where they come from
a variable, a template or text in quotes that would have to be quoted anew, there is none, and the fix stays advice.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from qcmatrix.documents.found import FoundCommand, FoundWord, Quoting
from qcmatrix.launch.command import Form
from qcmatrix.launch.launch import Launch, Span
from qcmatrix.launch.render import render_groups
from qcmatrix.lint.subject import Subject
from qcmatrix.rules.declare import Fix

__all__ = ["Edit", "applied", "edits_for"]

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
"""What means the same bare in a shell, within any quotes, and in YAML behind a dash."""
_SHELL = (Quoting.SHELL, Quoting.SHELL_IN_QUOTES)


class Edit(msgspec.Struct, frozen=True, order=True):
    """The characters [start, stop) of a document become ``text``."""

    start: int
    stop: int
    text: str


class _CannotWriteError(Exception):
    """The words do not stand where they could be written."""


def applied(text: str, edits: Iterable[Edit]) -> str:
    """``text`` after ``edits``, none of which overlaps another.

    Raises:
        ValueError: two edits overlap.
    """
    made, position = [], 0
    for edit in sorted(edits):
        if edit.start < position:
            raise ValueError("two edits of one place")
        made += [text[position : edit.start], edit.text]
        position = edit.stop
    return "".join((*made, text[position:]))


def edits_for(text: str, subject: Subject, fix: Fix) -> tuple[Edit, ...] | None:
    """What ``fix`` changes in ``text``; ``None``: it cannot be written there."""
    try:
        return tuple(sorted(_Writer(text, subject).edits(fix)))
    except _CannotWriteError:
        return None


class _Writer:
    def __init__(self, text: str, subject: Subject) -> None:
        self.text = text
        self.subject = subject
        self.command: FoundCommand = subject.command
        self.words = subject.command.words

    def edits(self, fix: Fix) -> Iterator[Edit]:
        removed: set[int] = set()
        for dest in fix.drop:
            span = self.subject.parsed.spans.get(dest)
            if span is not None:
                removed.update(range(span.start, span.stop))
        known = {index for span in self._spans() for index in range(span.start, span.stop)}
        for text in fix.drop_words:
            removed.update(
                index for index, word in enumerate(self.subject.words) if word == text and index not in known
            )
        added: list[tuple[str, ...]] = []
        given = self.subject.parsed.launch.options
        for dest, value in fix.set.items():
            if dest in given and given[dest] == value:
                continue  # it stays as it is written: 1M, not 1048576
            groups = self._rendered(dest, value)
            span = self.subject.parsed.spans.get(dest)
            if span is None:
                added += groups
            elif (edits := self._replaced(span.start, span.stop, groups)) is not None:
                yield from edits
            else:
                removed.update(range(span.start, span.stop))
                added += groups
        yield from self._removed(removed, added)
        yield from self._environment(fix)

    def _spans(self) -> Iterator[Span]:
        """Of what the release knows: a word that goes is none of these, though it may read the same."""
        parsed = self.subject.parsed
        yield from parsed.spans.values()
        yield from parsed.env_spans.values()
        if parsed.model_span is not None:
            yield parsed.model_span

    def _rendered(self, dest: str, value: object) -> list[tuple[str, ...]]:
        _, groups = render_groups(Launch("", {dest: value}), self.subject.release)
        return [tuple(group) for group in groups]

    def _own(self, index: int) -> FoundWord:
        word = self.words[index]
        if not word.own or word.quoting is Quoting.NONE or word.stop <= word.start:
            raise _CannotWriteError
        return word

    def _replaced(self, start: int, stop: int, groups: Sequence[Sequence[str]]) -> list[Edit] | None:
        """New values where the old ones stand, if they are as many; ``None``: the option is written anew."""
        if len(groups) != 1:
            return None
        new = list(groups[0])
        old = [self._own(index) for index in range(start, stop)]
        if len(old) == 1 and len(new) == 2 and "=" in old[0].text:
            return [self._written(old[0], f"{old[0].text.partition('=')[0]}={new[1]}")]
        if len(old) != len(new) or (len(new) == 1 and "=" not in new[0] and old[0].text == new[0]):
            return None
        keep_name = len(old) > 1 and old[0].text.startswith("-")
        pairs = list(zip(old, new, strict=True))[1 if keep_name else 0 :]
        return [self._written(word, text) for word, text in pairs if word.text != text]

    def _written(self, word: FoundWord, text: str) -> Edit:
        return Edit(word.start, word.stop, self._quoted(text, word))

    def _quoted(self, text: str, beside: FoundWord) -> str:
        """``text`` as one word in the manner of ``beside``."""
        if beside.quoting is Quoting.FLOW_ITEM:
            mark = self.text[beside.start]
            if mark == "'" and "'" not in text:
                return f"'{text}'"
            return text if mark not in "\"'" and _PLAIN.fullmatch(text) else json.dumps(text)
        if _PLAIN.fullmatch(text):
            return text
        if beside.quoting is Quoting.YAML_ITEM:
            return json.dumps(text)
        if beside.quoting is Quoting.SHELL:
            return shlex.quote(text)
        raise _CannotWriteError

    def _removed(self, removed: set[int], added: Sequence[Sequence[str]]) -> Iterator[Edit]:
        """Options taken out, and new ones behind the last word that stays."""
        for index in removed:
            self._own(index)
        kept = [index for index in range(len(self.words)) if index not in removed]
        last = next((index for index in reversed(kept) if self._stands(index)), None)
        if last is None:
            raise _CannotWriteError
        for first, after in _runs(removed):
            yield self._cut(first, after)
        if not added:
            return
        beside = self._own(last)
        if self.command.open_ended or self.subject.parsed.form is Form.OPTIONS:
            # what comes from outside may be a positional word: options still parse behind it, so this is safe too
            pass
        yield Edit(beside.stop, beside.stop, self._behind(beside, last, added))

    def _stands(self, index: int) -> bool:
        word = self.words[index]
        return word.own and word.quoting is not Quoting.NONE and word.stop > word.start

    def _cut(self, first: int, after: int) -> Edit:
        """The words [first, after) with what separates them from the word before."""
        start, stop = self.words[first].start, self.words[after - 1].stop
        quoting = self.words[first].quoting
        if quoting is Quoting.YAML_ITEM:
            line = self.text.rfind("\n", 0, start) + 1
            end = self.text.find("\n", stop)
            if self.text[line:start].strip(" \t-"):
                raise _CannotWriteError
            return Edit(line, len(self.text) if end < 0 else end + 1, "")
        before = self._before(first)
        following = self._after(after)
        if quoting is Quoting.FLOW_ITEM:
            if following is not None:
                return Edit(start, following.start, "")
            if before is None:
                raise _CannotWriteError
            return Edit(before.stop, stop, "")
        if before is None:
            raise _CannotWriteError
        gap = self.text[before.stop : start]
        if gap.strip(" \t\r\n\\"):
            raise _CannotWriteError  # something stands between them that is no word of the command
        return Edit(before.stop, stop, "")

    def _before(self, index: int) -> FoundWord | None:
        word = self.words[index - 1] if index else None
        return word if word is not None and self._stands(index - 1) and word.stop <= self.words[index].start else None

    def _after(self, index: int) -> FoundWord | None:
        if index >= len(self.words) or not self._stands(index):
            return None
        return self.words[index]

    def _behind(self, beside: FoundWord, last: int, groups: Sequence[Sequence[str]]) -> str:
        if beside.quoting is Quoting.FLOW_ITEM:
            return "".join(f", {self._quoted(word, beside)}" for group in groups for word in group)
        if beside.quoting is Quoting.YAML_ITEM:
            line = self.text[self.text.rfind("\n", 0, beside.start) + 1 : beside.start]
            if line.strip(" \t-"):
                raise _CannotWriteError
            if "=" in beside.text and beside.text.startswith("--"):
                groups = [("=".join(group),) if len(group) == 2 else group for group in groups]
            return "".join(f"\n{line}{self._quoted(word, beside)}" for group in groups for word in group)
        separator = self._separator(last)
        return "".join(separator + " ".join(self._quoted(word, beside) for word in group) for group in groups)

    def _separator(self, last: int) -> str:
        """What stands between the last two options that are on lines of their own; a blank where all is one line."""
        for index in range(last, 0, -1):
            if not (self._stands(index) and self._stands(index - 1)):
                continue
            gap = self.text[self.words[index - 1].stop : self.words[index].start]
            if "\n" in gap and not gap.strip(" \t\r\n\\"):
                return gap
        return " "

    def _environment(self, fix: Fix) -> Iterator[Edit]:
        for name in fix.drop_env:
            if (word := self.command.env.get(name)) is not None:
                yield self._without(name, word)
            elif name in self.subject.parsed.env_spans:
                span = self.subject.parsed.env_spans[name]
                first = self._own(span.start)
                following = self._after(span.stop)
                if following is None or self.subject.parsed.form is Form.CONTAINER:
                    raise _CannotWriteError
                yield Edit(first.start, following.start, "")
        for name, value in fix.set_env.items():
            if (word := self.command.env.get(name)) is not None:
                if word.quoting is not Quoting.SHELL or not self.text.startswith(f"{name}=", word.start):
                    raise _CannotWriteError
                yield Edit(word.start, word.stop, f"{name}={shlex.quote(value)}")
            else:
                first = self._own(0)
                if "$" in value:  # in quotes it would be text, and bare it may be several words
                    raise _CannotWriteError
                if first.quoting not in _SHELL or self.subject.parsed.form is Form.CONTAINER:
                    raise _CannotWriteError
                yield Edit(first.start, first.start, f"{name}={self._quoted(value, first)} ")

    def _without(self, name: str, word: FoundWord) -> Edit:
        """``NAME=value`` taken out; a line of its own goes as a whole."""
        if word.quoting is not Quoting.SHELL or not self.text.startswith(f"{name}=", word.start):
            raise _CannotWriteError
        line = self.text.rfind("\n", 0, word.start) + 1
        end = self.text.find("\n", word.stop)
        end = len(self.text) if end < 0 else end + 1
        if self.text[line : word.start].strip() in ("", "export") and not self.text[word.stop : end].strip():
            return Edit(line, end, "")
        blank = re.compile(r"(?:[ \t]|\\\r?\n)+").match(self.text, word.stop)
        if blank is None:
            raise _CannotWriteError
        return Edit(word.start, blank.end(), "")


def _runs(indices: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring numbers as [first, after)."""
    first = previous = None
    for index in sorted(indices):
        if first is None or previous is None:
            first = index
        elif index != previous + 1:
            yield first, previous + 1
            first = index
        previous = index
    if first is not None and previous is not None:
        yield first, previous + 1
