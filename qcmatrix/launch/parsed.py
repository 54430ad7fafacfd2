"""What reading a command gives: the launch, where its parts stand, and what is wrong with the words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from qcmatrix.launch.command import Form
from qcmatrix.launch.launch import Launch, Span

__all__ = ["Parsed", "Problem", "ProblemKind"]


class ProblemKind(StrEnum):
    """What can be wrong with words."""

    UNKNOWN_FLAG = "unknown-flag"
    AMBIGUOUS_FLAG = "ambiguous-flag"
    BAD_VALUE = "bad-value"
    BAD_CHOICE = "bad-choice"
    UNEXPANDED = "unexpanded"
    """A shell variable stands where a number or a choice is wanted."""
    MISSING_VALUE = "missing-value"
    STRAY_WORD = "stray-word"
    """A word that belongs to no option, beside the model."""
    NO_MODEL = "no-model"
    MODEL_OPTION = "model-option"
    """``--model`` where a positional model is wanted."""
    MODEL_IGNORED = "model-ignored"
    """A positional model where only ``--model`` is read."""
    REPEATED_FLAG = "repeated-flag"
    DOTTED_REPLACES_JSON = "dotted-replaces-json"
    CONFIG_FILE = "config-file"
    """Options in a file that is not read here."""


_HARMLESS = frozenset({"--port", "--seed", "--uvicorn-log-level", "--api-server-count"})


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with the words."""

    kind: ProblemKind
    text: str
    """What is wrong; vLLM's own wording where it has one."""
    span: Span
    words: tuple[str, ...] = ()
    closest: tuple[str, ...] = ()
    """Option names or choices that may be meant."""
    refused: bool = True
    """Does vLLM stop because of it?"""

    @property
    def harmless(self) -> bool:
        """A variable that is not set, in an option that decides nothing of what is judged here."""
        return self.kind is ProblemKind.UNEXPANDED and bool(self.words) and self.words[0].partition("=")[0] in _HARMLESS


class Parsed(msgspec.Struct, frozen=True):
    """A launch and where its parts stand. Spans are argv indices; of an option: the name with its values."""

    launch: Launch
    spans: Mapping[str, Span]
    model_span: Span | None
    problems: tuple[Problem, ...]
    form: Form = Form.SERVE
    env_spans: Mapping[str, Span] = msgspec.field(default_factory=dict)
    release_hint: str | None = None
    """The release that an image tag or ``vllm==X`` in the command names; ``None``: it names none."""
    prefix: tuple[str, ...] = ()
    """Words before the launcher that are no environment: ``sudo``, ``docker run --gpus all IMAGE``."""
