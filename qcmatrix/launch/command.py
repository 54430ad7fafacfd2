"""Where the vLLM options begin in a command, and what stands before them.

Known forms: ``vllm serve ...``, ``python -m vllm.entrypoints.openai.api_server ...``, ``docker run ... IMAGE ...``,
only the options, each behind ``VAR=value`` and wrappers such as ``env``, ``nohup``, ``exec``, ``uv run`` or ``sudo``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from qcmatrix.errors import RequestError
from qcmatrix.launch.image import image_like, release_of_image
from qcmatrix.launch.launch import Span

__all__ = ["CONTAINER_TOOLS", "Command", "Form", "locate"]

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=((?!=).*)", re.DOTALL)  # vllm==0.33.0 is none
_MODULES = ("vllm.entrypoints.openai.api_server", "vllm.entrypoints.api_server", "vllm.entrypoints.cli.main")
CONTAINER_TOOLS = frozenset({"docker", "podman", "nerdctl"})
"""Programs whose ``run`` starts a container."""
_WRAPPERS = frozenset(
    (
        "bash",
        "chrt",
        "conda",
        "doas",
        "env",
        "exec",
        "ionice",
        "mamba",
        "nice",
        "nohup",
        "nsys",
        "numactl",
        "opentelemetry-instrument",
        "pipx",
        "pixi",
        "poetry",
        "python",
        "python3",
        "ray",
        "setsid",
        "sh",
        "srun",
        "stdbuf",
        "sudo",
        "systemd-run",
        "taskset",
        "time",
        "timeout",
        "torchrun",
        "uv",
        "uvx",
    )
)
_VERSION = re.compile(r"vllm(?:\[[^\]]*\])?(?:==|@)v?(\d[\w.+!]*)")
_NAMED = frozenset({"-u", "--user", "-g", "--group", "--from", "--with", "-n", "--name", "-p", "--prefix"})
"""Options of wrappers behind which a user, a package or an environment may be called vllm."""
_PROGRAMS = frozenset(
    (
        "ash",
        "bash",
        "cat",
        "curl",
        "dash",
        "echo",
        "env",
        "ls",
        "nvidia-smi",
        "pip",
        "python",
        "python3",
        "sh",
        "sleep",
        "tail",
        "true",
        "zsh",
    )
)
"""What an image is told to run in place of its server."""
_HELP = re.compile(r"-h|--help(?:=.*)?")
_OMNI = "--omni"
"""With it ``vllm serve`` is vLLM-Omni's, with options of its own: https://github.com/vllm-project/vllm-omni."""
# Options of `docker run` that take no value; every other one does.
_NO_VALUE = frozenset(
    (
        "--detach",
        "--interactive",
        "--tty",
        "--rm",
        "--privileged",
        "--init",
        "--read-only",
        "--no-healthcheck",
        "--oom-kill-disable",
        "--publish-all",
        "--quiet",
        "--sig-proxy",
        "--disable-content-trust",
        "--replace",
    )
)
_NO_VALUE_CLUSTER = re.compile(r"-[ditPq]+")
_SHORT_WITH_VALUE = re.compile(r"-[aceghlmpuvw].+")


class Form(StrEnum):
    """How the server is started."""

    SERVE = "vllm serve"
    MODULE = "python -m"
    CONTAINER = "container"
    OPTIONS = "options"
    """Only a model and options."""


class Command(msgspec.Struct, frozen=True):
    """A command taken apart. Numbers are argv indices."""

    form: Form
    arguments: tuple[tuple[int, str], ...]
    """Everything behind ``vllm serve`` (or what stands for it), with where each word stands."""
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    env_spans: Mapping[str, Span] = msgspec.field(default_factory=dict)
    release_hint: str | None = None
    """The release that an image tag or ``vllm==X`` names."""
    prefix: tuple[str, ...] = ()
    """Words before the launcher that are not environment: ``sudo``, ``docker run --gpus all`` ..."""
    image: str | None = None
    """Of a container."""


def locate(argv: Sequence[str]) -> Command:
    """Take ``argv`` apart.

    Raises:
        RequestError: there is no server in it: it is empty, runs another ``vllm`` command or program, asks for help,
            or names no image.
    """
    command = _located(argv)
    if any(_HELP.fullmatch(word) for _, word in command.arguments):
        raise RequestError("--help starts no server", "`vllm serve --help=all` tells the options")
    if any(word == _OMNI for _, word in command.arguments):
        raise RequestError("--omni starts vLLM-Omni", "that is another server, whose options are not known here")
    return command


def _located(argv: Sequence[str]) -> Command:
    words = list(enumerate(argv))
    if not any(word for _, word in words):
        raise RequestError("there is no command", "give one like `vllm serve MODEL --tensor-parallel-size 8`")
    env: dict[str, str] = {}
    spans: dict[str, Span] = {}
    prefix: list[str] = []
    position = 0
    while position < len(words):
        index, word = words[position]
        name = word.rpartition("/")[2]
        assigned = _ASSIGNMENT.fullmatch(word)
        if assigned is not None:
            env[assigned[1]] = assigned[2]
            spans[assigned[1]] = Span(index, index + 1)
        elif name in CONTAINER_TOOLS and "run" in argv[index + 1 : index + 4]:
            return _container(words[position:], env, spans, tuple(prefix))
        elif name == "vllm" and prefix and prefix[-1] in _NAMED:
            prefix.append(word)
        elif (start := _server(words, position)) is not None:
            form, arguments = start
            return Command(form, tuple(arguments), env, spans, _hint(prefix), tuple(prefix))
        elif not prefix and (word.startswith("-") or name not in _WRAPPERS):
            return Command(Form.OPTIONS, tuple(words[position:]), env, spans)
        else:
            prefix.append(word)
        position += 1
    raise RequestError(
        "no `vllm serve` in the command",
        "give `vllm serve MODEL ...`, `python -m vllm.entrypoints.openai.api_server ...` or `docker run ... IMAGE ...`",
    )


def _server(words: list[tuple[int, str]], position: int) -> tuple[Form, list[tuple[int, str]]] | None:
    """The arguments of a server that starts at ``position``, or ``None``."""
    word = words[position][1]
    following = words[position + 1][1] if position + 1 < len(words) else ""
    name = word.rpartition("/")[2]
    if name == "vllm":
        if following == "serve":
            return Form.SERVE, words[position + 2 :]
        raise RequestError(
            f"`{' '.join(('vllm', following)).strip()}` starts no server", "only `vllm serve` can be judged"
        )
    if word == "serve" and position == 0:
        return Form.SERVE, words[1:]
    if word == "-m" and following in _MODULES:
        rest = words[position + 2 :]
        if not following.endswith("cli.main"):
            return Form.MODULE, rest
        if rest and rest[0][1] == "serve":
            return Form.SERVE, rest[1:]
        raise RequestError(f"`{following}` without `serve` starts no server", "only `vllm serve` can be judged")
    if name == "api_server.py":
        return Form.MODULE, words[position + 1 :]
    return None


def _container(
    words: list[tuple[int, str]], env: dict[str, str], spans: dict[str, Span], prefix: tuple[str, ...]
) -> Command:
    """``docker run [OPTIONS] IMAGE [ARGUMENTS]``. Outer environment does not enter the container."""
    start = next(position for position, (_, word) in enumerate(words) if word == "run")
    env, spans = {}, {}
    entrypoint: list[tuple[int, str]] = []
    position = start + 1
    while position < len(words):
        index, word = words[position]
        if not word.startswith("-"):
            if _are_options(word, words[position + 1 : position + 2]):
                position += 1
                continue
            break
        name, equals, value = word.partition("=")
        stop = index + 1
        if not name.startswith("--") and not _NO_VALUE_CLUSTER.fullmatch(word) and _SHORT_WITH_VALUE.fullmatch(word):
            name, value, equals = word[:2], word[2:], "="
        if not equals and name not in _NO_VALUE and not _NO_VALUE_CLUSTER.fullmatch(name):
            position += 1
            value = words[position][1] if position < len(words) else ""
            stop += 1
        if name in ("-e", "--env") and (assigned := _ASSIGNMENT.fullmatch(value)) is not None:
            env[assigned[1]] = assigned[2]
            spans[assigned[1]] = Span(index, stop)
        elif name == "--gpus" and (devices := _docker_devices(value)) is not None:
            env.setdefault("NVIDIA_VISIBLE_DEVICES", devices)
            spans.setdefault("NVIDIA_VISIBLE_DEVICES", Span(index, stop))
        elif name == "--entrypoint" and value:
            entrypoint = [(index if equals else index + 1, value)]
        position += 1
    if position >= len(words):
        raise RequestError(
            "`docker run` without an image", "give `docker run ... vllm/vllm-openai:v0.33.0 --model M ...`"
        )
    image = words[position][1]
    before = prefix + tuple(word for _, word in words[: position + 1])
    arguments = entrypoint + words[position + 1 :]
    release = release_of_image(image)
    for offset in range(min(3, len(arguments))):
        inner = _server(arguments, offset)
        if inner is not None:
            return Command(inner[0], tuple(inner[1]), env, spans, release, before, image)
    program = arguments[0][1].rpartition("/")[2] if arguments else ""
    if program in _PROGRAMS or entrypoint:
        raise RequestError(f"the container runs {program}, no server", "only `vllm serve` can be judged")
    return Command(Form.CONTAINER, tuple(arguments), env, spans, release, before, image)


def _are_options(word: str, following: Sequence[tuple[int, str]]) -> bool:
    """Does an unknown variable stand where options of ``docker run`` do, with the image behind it?"""
    unknown = re.fullmatch(r"\$\{?(\w+).*|\$\(.*|`.*", word, re.DOTALL)
    if unknown is None or (unknown[1] and re.search(r"IMAGE|IMG|CONTAINER", unknown[1], re.IGNORECASE)):
        return False
    return any("vllm" in text and image_like(text) for _, text in following)


def _docker_devices(value: str) -> str | None:
    """What ``--gpus`` lets the container see, as ``NVIDIA_VISIBLE_DEVICES`` names it; ``None``: all.

    Read are ``"device=0,1"`` (the inner quotes keep the list together) and a number of GPUs.
    """
    text = value.strip().strip('"')
    if (found := re.search(r"(?:^|,)device=([^=]*?)(?:,\w+=.*)?$", text)) is not None:
        return found[1]
    count = re.fullmatch(r"(?:count=)?(\d{1,3})", text)
    return None if count is None else ",".join(map(str, range(int(count[1]))))


def _hint(words: Sequence[str]) -> str | None:
    """The release that ``vllm==0.11.0`` or ``vllm/vllm-openai:v0.11.0`` names."""
    for word in words:
        found = _VERSION.search(word)
        release = found[1].strip(".") if found is not None else release_of_image(word)
        if release is not None:
            return release
    return None
