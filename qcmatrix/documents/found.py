"""What a reader finds in a file."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Document", "FoundCommand", "FoundWord", "NotReadError", "Note", "Quoting"]


class NotReadError(Exception):
    """A text, or a part of it, cannot be taken apart in a bounded time: what, and at which character of it."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(what)
        self.what = what
        self.offset = offset


class Quoting(StrEnum):
    """How a word is written where it stands, and so how another one must be written beside it."""

    SHELL = "shell"
    """A word of a shell command line."""
    SHELL_IN_QUOTES = "shell in quotes"
    """A word of a command line that is itself quoted (``bash -c "..."``): nothing is written there."""
    YAML_ITEM = "yaml item"
    """An item of a YAML block sequence, on a line of its own."""
    FLOW_ITEM = "flow item"
    """An item of ``[..., ...]``: JSON, a YAML flow sequence, TOML, the exec form of a Dockerfile."""
    NONE = "none"
    """Text that stands for nothing that could be rewritten."""


class FoundWord(msgspec.Struct, frozen=True):
    """One word of a command. ``start`` and ``stop`` count characters of the document."""

    text: str
    """Without its quotes, variables that the document sets filled in; an unknown variable stays as it stands."""
    start: int
    stop: int
    """Behind the word as it stands there, quotes included."""
    quoting: Quoting = Quoting.SHELL
    resolved: bool = True
    """``False``: it holds a variable, a template or a command whose value cannot be known from the document."""
    own: bool = True
    """Does the command write it itself? ``False``: it comes from a variable, so its place is where that is set."""


class Note(msgspec.Struct, frozen=True):
    """Something about a document that the user should know."""

    text: str
    start: int
    stop: int


class FoundCommand(msgspec.Struct, frozen=True):
    """A command that starts a vLLM server."""

    words: tuple[FoundWord, ...]
    """The launcher included: ``vllm serve MODEL ...``, ``docker run ... IMAGE ...``."""
    env: dict[str, FoundWord] = msgspec.field(default_factory=dict)
    """Environment variables that stand outside of the words, by name: the value and its place."""
    release_hint: str | None = None
    """The release that an image tag or a requirement outside of the words names."""
    open_ended: bool = False
    """``True``: there may be more words than are known here (``"$@"``, an array that is filled conditionally)."""
    gpus: int | None = None
    """GPUs that the document gives to it (``nvidia.com/gpu: 8``); ``None``: it does not say."""
    notes: tuple[Note, ...] = ()
    fleet: str | None = None
    """Where the document says that it runs (``matrix.toml``)."""
    expected: str | None = None
    """The verdict that the document expects (``matrix.toml``): a launch that is meant to fail is no finding."""
    scripts_own: frozenset[str] = frozenset()
    """Variables in ``env`` that the script itself reads: they may be its own, and none of vLLM's."""
    contained: bool = False
    """Does it run in a container with a network of its own, where every interface is not everybody's?"""

    @property
    def start(self) -> int:
        """Where its first own word begins."""
        return next((word.start for word in self.words if word.own), self.words[0].start)


class Document(msgspec.Struct, frozen=True):
    """A file that was read."""

    path: str
    text: str
    kind: str
    """``shell``, ``markdown``, ``compose`` ..."""
    commands: tuple[FoundCommand, ...] = ()
    notes: tuple[Note, ...] = ()

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character, both from 1; columns count characters."""
        line = self.text.count("\n", 0, offset) + 1
        return line, offset - (self.text.rfind("\n", 0, offset) + 1) + 1
