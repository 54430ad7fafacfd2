"""The tiny checkpoint that entries for vLLM's CPU build serve: made once per release, by its own Transformers."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import qcmatrix.probe as probe_package
from qcmatrix.probe.environments import EnvironmentProblem
from qcmatrix.probe.environments.directories import cache_directory

__all__ = ["ensure_tiny"]

_MAKE = Path(__file__).parent / "make.py"
_PROBE = Path(probe_package.__file__).parent
_WORKER = _PROBE / "worker"
_TEMPLATE = _PROBE / "replay" / "prompts" / "traits.jinja"
_SECONDS = 900.0
_SHOWN = 6


class _Interpreter(Protocol):
    """What has the Transformers of a release: an environment of the probe, or an installation."""

    @property
    def python(self) -> Path: ...

    @property
    def release(self) -> str: ...


def ensure_tiny(environment: _Interpreter, progress: Callable[[str], None] = lambda _: None) -> Path:
    """The checkpoint for the release of ``environment``: the one that there is, or a new one.

    Its directory has its name only when all is in it. A change of what makes it makes another one.

    Raises:
        EnvironmentProblem: it cannot be made.
    """
    root = cache_directory() / "tiny"
    final = root / f"{environment.release}-{_digest()}"
    if final.is_dir():
        return final
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{final.name}.lock", lambda: progress("another process makes the checkpoint: waiting")):
            if not final.is_dir():
                progress("making the tiny checkpoint")
                work = root / f".unfinished-{final.name}"
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                try:
                    _make(environment, work)
                    work.rename(final)
                finally:
                    shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the tiny checkpoint cannot be made: {error.filename or root}: {error.strerror or error}",
            "QCMATRIX_CACHE_DIR names another place for it; it takes 80 MiB",
        ) from None
    return final


def _digest() -> str:
    content = hashlib.sha256()
    for path in (_MAKE, _WORKER / "tokenizer.py", _TEMPLATE):
        content.update(path.read_bytes())
    return content.hexdigest()[:12]


def _make(environment: _Interpreter, work: Path) -> None:
    what = f"the tiny checkpoint for vLLM {environment.release} cannot be made"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter of the release, with our own program
            [str(environment.python), "-B", str(_MAKE), str(work), str(_WORKER), str(_TEMPLATE)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(what, f"it took more than {_SECONDS:.0f} s") from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise EnvironmentProblem(what, *lines[-_SHOWN:])


@contextlib.contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
