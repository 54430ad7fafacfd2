"""An entry -> the words and the environment of its server: on our port, with our key, on the claimed cards."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.launch.command import Form, locate
from qcmatrix.launch.launch import Span
from qcmatrix.launch.parse import parse
from qcmatrix.launch.parsed import Parsed
from qcmatrix.launch.secrets import MASK, is_secret_name, redact_argv
from qcmatrix.launch.shell import split_shell
from qcmatrix.matrix.entries import TINY, Entry

__all__ = ["HOST", "ServerCommand", "Words", "environment", "masked", "new_key", "recorded", "served_name", "words_of"]

HOST = "127.0.0.1"
_OURS = ("host", "port", "uds", "fd", "api_key")
"""Options that the entry does not decide: where the server listens, and its key."""
_RECORDED = (
    "CUDA_", "FLASHINFER_", "HF_", "LD_PRELOAD", "NCCL_", "NVIDIA_", "OMP_", "PYTORCH_", "RAY_", "TORCH", "TRITON_",
    "VLLM_",
)  # fmt: skip
"""Variables that decide what a server does; a result keeps them, wherever they come from."""
_NOT_HANDED_ON = (
    "PYTHONHOME", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "VIRTUAL_ENV", "VLLM_API_KEY",
    "VLLM_PORT",
)  # fmt: skip
"""Of our own Python, or in the way: in Kubernetes VLLM_PORT is set by a service called ``vllm``."""


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry's command asks for, without what is ours to decide."""

    form: Form
    arguments: tuple[str, ...]
    """Behind ``vllm serve`` (or ``-m vllm.entrypoints.openai.api_server``)."""
    env: Mapping[str, str]
    model: str
    """As the entry writes it."""
    name: str
    """What the model is called by clients."""


class ServerCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A server that can be started."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment of the process."""
    port: int
    api_key: str
    release: str
    """Of vLLM, the one that is really run."""
    at_end: tuple[str, ...] = ()
    """A command that ends what is out of the guard's reach: a container."""
    contained: bool = False
    """It runs in a container: its processes are not seen from here."""

    @property
    def root(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://{HOST}:{self.port}"


def served_name(entry: Entry) -> str:
    """What the entry's model is called by clients: the first ``--served-model-name``, else the model as written.

    Raises:
        UserError: the entry's command or release cannot be read.
    """
    return words_of(entry).name


def words_of(entry: Entry, model: str | None = None) -> Words:
    """The words of ``entry``, as its own release reads them; everything that is not ours stays word for word.

    ``model`` is put where the entry says ``tiny``.

    Raises:
        UserError: the entry's command or release cannot be read.
    """
    shell = split_shell(entry.command)
    argv, parsed = _without_ours(shell.argv, load_release(entry.vllm))
    launch = parsed.launch
    names = launch.options.get("served_model_name") or ()
    names = [names] if isinstance(names, str) else list(names)
    arguments = [(index, word) for index, word in locate(argv).arguments]
    if launch.model == TINY and model is not None:
        arguments = _with_model(arguments, parsed.model_span, model)
    words = [word for _, word in arguments]
    if parsed.form is not Form.MODULE and parsed.form is not Form.SERVE:
        words = _positional(words)
    if launch.model == TINY and not names:
        words += ["--served-model-name", TINY]
    return Words(
        form=parsed.form,
        arguments=tuple(words),
        env={**shell.env, **launch.env},
        model=launch.model,
        name=str(names[0]) if names else launch.model,
    )


def _without_ours(argv: Sequence[str], release: Release) -> tuple[tuple[str, ...], Parsed]:
    """``argv`` without the options that are ours, however often and in whatever form they are given."""
    words = tuple(argv)
    ours = {name for dest in _OURS if (flag := release.flag_by_dest.get(dest)) for name in flag.names}
    while True:
        parsed = parse(words, release)
        spans = [parsed.spans[dest] for dest in _OURS if dest in parsed.spans]
        spans += [
            problem.span
            for problem in parsed.problems
            if problem.words and problem.words[0].partition("=")[0].replace("_", "-") in ours
        ]
        if not spans:
            return words, parsed
        words = tuple(word for index, word in enumerate(words) if not any(_inside(index, span) for span in spans))


def _inside(index: int, span: Span) -> bool:
    return span.start <= index < span.stop


def _with_model(arguments: list[tuple[int, str]], span: Span | None, model: str) -> list[tuple[int, str]]:
    if span is None:
        return arguments
    replaced = []
    for index, word in arguments:
        if _inside(index, span) and word == TINY:
            word = model
        elif _inside(index, span) and word.endswith(f"={TINY}"):
            word = f"{word.removesuffix(TINY)}{model}"
        replaced.append((index, word))
    return replaced


def _positional(words: list[str]) -> list[str]:
    """``--model M`` to the front: an image's entry point takes it, ``vllm serve`` wants it there."""
    for position, word in enumerate(words):
        if word == "--model" and position + 1 < len(words):
            return [words[position + 1], *words[:position], *words[position + 2 :]]
        if word.startswith("--model="):
            return [word.partition("=")[2], *words[:position], *words[position + 1 :]]
    return words


def new_key() -> str:
    """A key for one server. It goes into its environment, never on a command line."""
    return secrets.token_urlsafe(24)


def environment(
    words: Words, *, key: str, python: Path | None, cards: str | None, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of the server: the caller's, the entry's, and ours.

    ``cards`` are numbers for ``CUDA_VISIBLE_DEVICES``; ``None``: it is left as it is.
    """
    inherited = os.environ if base is None else base
    env = {name: value for name, value in inherited.items() if name not in _NOT_HANDED_ON}
    env |= words.env
    if words.model == TINY:
        env.setdefault("HF_HUB_OFFLINE", "1")  # nothing of it is on the hub
        # Otherwise each server pins its threads to the same first cores, and two of them starve each other.
        env.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        env.setdefault("OMP_NUM_THREADS", "1")  # two layers: more threads wait for each other
    # The log then shows the layers as they were made: whether YaRN is really in effect is seen nowhere else (0.14 on).
    env.setdefault("VLLM_LOG_MODEL_INSPECTION", "1")
    if python is not None:
        # What is built at run time calls ninja and the like, which are installed beside the interpreter.
        env["PATH"] = os.pathsep.join(part for part in (str(python.parent), env.get("PATH", "")) if part)
    if cards is not None:
        # Numbers and not UUIDs: releases turn the words of this variable into numbers.
        env |= {"CUDA_VISIBLE_DEVICES": cards, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return env | {"VLLM_API_KEY": key, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}


def recorded(env: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    """Of the environment of a server what decides how it serves: ``words`` and all of a known kind."""
    ours = ("DO_NOT_TRACK",)
    return {
        name: value
        for name, value in sorted(env.items())
        if name in words or name in ours or name.startswith(_RECORDED)
    }


def masked(argv: Sequence[str], env: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Both with ``***`` for keys and tokens: what results and messages may hold."""
    return redact_argv(argv), {name: MASK if is_secret_name(name) else value for name, value in env.items()}
