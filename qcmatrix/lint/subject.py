"""A command of a file, ready to be judged: its words as vLLM would see them, its release, its GPUs, its model."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from qcmatrix.catalogue.fleets import Fleet, parse_fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint, known_checkpoint
from qcmatrix.catalogue.releases import Release, environment_history, load_release, newest_release
from qcmatrix.documents.found import FoundCommand, FoundWord
from qcmatrix.launch.parse import parse
from qcmatrix.launch.parsed import Parsed, Problem, ProblemKind

__all__ = ["Subject", "Wishes", "subjects_of"]

_UNKNOWN = "$UNKNOWN"
"""How a word that cannot be resolved is given to the parser, which takes it for an unset variable."""
_OPTION = re.compile(r"(--?[A-Za-z][\w.-]*=|[A-Za-z_]\w*=)(.*)", re.DOTALL)
_MOST_TOLD = 6
_SECRET = frozenset({"VLLM_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_HOME"})
"""Whose values nobody needs to know."""
_DECIDES_NOTHING = frozenset(
    {"host", "port", "api_key", "served_model_name", "chat_template", "download_dir", "root_path", "ssl_keyfile",
     "ssl_certfile", "uds", "allowed_origins", "revision", "tokenizer", "lora_modules", "seed", "uvicorn_log_level",
     "tool_parser_plugin", "otlp_traces_endpoint", "hf_token"}
)  # fmt: skip


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
    unseen: frozenset[str] = frozenset()
    """The dests of options, and the names of environment variables, whose values the file does not say."""

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
    command = _without_maybe_options(command, wishes.release)
    words = tuple(_as_given(word) for word in command.words)
    env = {
        name: _as_given(word)
        for name, word in command.env.items()
        if name not in command.scripts_own or environment_history(name)
    }
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
    parsed, unseen = _without_values(command, parsed, release)
    checkpoint, why = _checkpoint(parsed, wishes)
    if why:
        told.append(why)
    if texts := _unseen(command, parsed):
        told.append(f"not known from the file: {texts}")
    if command.open_ended:
        told.append("there may be more options than stand here: the command takes some from outside")
    fleets: Sequence[Fleet | None] = wishes.fleets
    if command.fleet is not None:
        fleets = parse_fleet(command.fleet)
    if not fleets:
        fleets = (None,)
        told.append("no GPUs are named (--gpus 8xH200): memory and what depends on the card are not judged")
    return tuple(
        Subject(command, words, parsed, release, fleet, checkpoint, source, tuple(told), unseen) for fleet in fleets
    )


def _without_maybe_options(command: FoundCommand, release: Release | None) -> FoundCommand:
    """``command`` without the variables that stand where options do: such a one may hold any number of them, or none.

    Where it stands behind an option that takes a value, it is that value.
    """
    if all(word.resolved for word in command.words):
        return command
    words = tuple(_as_given(word) for word in command.words)
    parsed = parse(words, release or load_release(newest_release()))
    loose = {
        index
        for problem in parsed.problems
        if problem.kind is ProblemKind.STRAY_WORD
        for index in range(problem.span.start, problem.span.stop)
        if not command.words[index].resolved
    }
    if not loose:
        return command
    kept = tuple(word for index, word in enumerate(command.words) if index not in loose)
    return msgspec.structs.replace(command, words=kept, open_ended=True)


def _without_values(command: FoundCommand, parsed: Parsed, release: Release) -> tuple[Parsed, frozenset[str]]:
    """``parsed`` without the values that nobody knows, and what they are values of.

    Those that decide nothing of what is judged stay as they stand.
    """
    unseen = {name for name, word in command.env.items() if not word.resolved}
    places = {index for index, word in enumerate(command.words) if not word.resolved}
    unseen |= {name for name, span in parsed.env_spans.items() if places & set(range(span.start, span.stop))}
    options = dict(parsed.launch.options)
    problems = list(parsed.problems)
    for problem in parsed.problems:
        if problem.kind is ProblemKind.UNEXPANDED and problem.words:
            flag = release.flag_by_name.get(problem.words[0].partition("=")[0].replace("_", "-"))
            unseen |= {flag.dest} if flag is not None else set()
    for dest, span in parsed.spans.items():
        if not places & set(range(span.start, span.stop)):
            continue
        unseen.add(dest)
        if dest in options and dest not in _DECIDES_NOTHING:
            del options[dest]
            name = command.words[span.start].text.partition("=")[0]
            text = f"{name}: its value is not known here"
            problems.append(Problem(ProblemKind.UNEXPANDED, text, span, (name,), refused=False))
    if not unseen:
        return parsed, frozenset()
    launch = msgspec.structs.replace(parsed.launch, options=options)
    return msgspec.structs.replace(parsed, launch=launch, problems=tuple(problems)), frozenset(unseen)


def _unseen(command: FoundCommand, parsed: Parsed) -> str:
    """The words whose value cannot be told from the file, the model's aside, as they stand there."""
    model = parsed.model_span
    found = [f"{name}={word.text}" for name, word in command.env.items() if not word.resolved and name not in _SECRET]
    for index, word in enumerate(command.words):
        if word.resolved or (model is not None and model.start <= index < model.stop):
            continue
        text = " ".join(word.text.split())
        before = command.words[index - 1].text if index else ""
        found.append(f"{before} {text}" if before.startswith("--") and "=" not in before else text)
    more = f" and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    return ", ".join(found[:_MOST_TOLD]) + more


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
    # a document must not make us read files: only names of the catalogue, and paths that end in one
    known = known_checkpoint(model)
    return known, "" if known is not None else f"{model} is not in the catalogue: only the options are judged"
