"""A command of a file, ready to be judged: its words as vLLM would see them, its release, its GPUs, its model."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from qcmatrix.catalogue.fleets import Fleet, parse_fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint, find_checkpoint, resolve_model
from qcmatrix.catalogue.releases import Release, load_release, newest_release
from qcmatrix.documents.found import FoundCommand, FoundWord
from qcmatrix.errors import UserError
from qcmatrix.launch.parse import parse
from qcmatrix.launch.parsed import Parsed

__all__ = ["Subject", "Wishes", "subjects_of"]

_UNKNOWN = "$UNKNOWN"
"""How a word that cannot be resolved is given to the parser, which takes it for an unset variable."""
_OPTION = re.compile(r"(--?[A-Za-z][\w.-]*=)(.*)", re.DOTALL)


class Wishes(msgspec.Struct, frozen=True):
    """What the user says about all commands."""

    fleets: tuple[Fleet, ...] = ()
    release: Release | None = None
    checkpoint: ResolvedCheckpoint | None = None


class Subject(msgspec.Struct, frozen=True):
    """One command on one fleet under one release. ``fleet`` or ``checkpoint`` is ``None`` where nobody says."""

    command: FoundCommand
    words: tuple[str, ...]
    parsed: Parsed
    release: Release
    fleet: Fleet | None
    checkpoint: ResolvedCheckpoint | None
    release_from: str
    """Who says which release: ``--vllm``, ``image tag``, ``requirements``, ``newest``."""
    told: tuple[str, ...] = ()
    """What could not be known, one sentence each."""

    def place(self, start: int, stop: int) -> tuple[int, int] | None:
        """Where the words [start, stop) stand in the document; ``None``: nowhere, nobody wrote them."""
        found = [word for word in self.command.words[start:stop] if word.stop > word.start]
        own = [word for word in found if word.own]
        if own:
            return own[0].start, own[-1].stop
        return (found[0].start, found[0].stop) if found else None


def subjects_of(command: FoundCommand, wishes: Wishes, required: str | None = None) -> tuple[Subject, ...]:
    """``command`` on each fleet that is asked for (one subject without a fleet where none is).

    ``required`` is the release that a requirements file beside the document pins.

    Raises:
        UserError: a release or fleet that the document names and the catalogue does not have.
    """
    words = tuple(_as_given(word) for word in command.words)
    env = {name: _as_given(word) for name, word in command.env.items()}
    told: list[str] = []
    hint = command.release_hint or parse(words, load_release(newest_release())).release_hint
    if wishes.release is not None:
        release, source = wishes.release, "--vllm"
        if hint and hint != release.name:
            told.append(f"the file names vLLM {hint}; judged as {release.name}, as --vllm says")
    elif hint:
        release, source = load_release(hint), "image tag"
    elif required:
        release, source = load_release(required), "requirements"
    else:
        release, source = load_release(newest_release()), "newest"
    parsed = parse(words, release, env=env)
    checkpoint, why = _checkpoint(parsed, wishes)
    if why:
        told.append(why)
    if command.open_ended:
        told.append("there may be more options than stand here: the command takes some from outside")
    fleets: Sequence[Fleet | None] = wishes.fleets
    if command.fleet is not None:
        fleets = parse_fleet(command.fleet)
    if not fleets:
        fleets = (None,)
        told.append("no GPUs are named (--gpus 8xH200): memory and what depends on the card are not judged")
    return tuple(Subject(command, words, parsed, release, fleet, checkpoint, source, tuple(told)) for fleet in fleets)


def _as_given(word: FoundWord) -> str:
    if word.resolved:
        return word.text
    found = _OPTION.fullmatch(word.text)
    if found is not None and "$" not in found[1] and "{" not in found[1]:
        return found[1] + _UNKNOWN
    return word.text if word.text.startswith("$") else _UNKNOWN


def _checkpoint(parsed: Parsed, wishes: Wishes) -> tuple[ResolvedCheckpoint | None, str]:
    if wishes.checkpoint is not None:
        return wishes.checkpoint, ""
    model = parsed.launch.model
    if not model:
        return None, "the command names no model: only its options are judged"
    if "$" in model:
        return None, "the model stands in a variable: only the options are judged (--model says whose weights they are)"
    try:
        # a document must not make us read files: only names of the catalogue, and paths that end in one
        return (resolve_model(model) if "/" not in model else find_checkpoint(model)), ""
    except UserError:
        return None, f"{model} is not in the catalogue: only the options are judged"
