"""One release from its environment to evidence: part after part, each written down as soon as it is answered."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from qcmatrix.catalogue.releases import Release
from qcmatrix.errors import RequestError
from qcmatrix.evidence.records import Record
from qcmatrix.evidence.store import Appended, append, latest, read
from qcmatrix.probe.environments.directories import cache_directory
from qcmatrix.probe.session import Session
from qcmatrix.rules.declare import Rule

__all__ = ["PARTS", "Answered", "available_parts", "probe"]

PARTS: Final = ("surface", "rules", "weights", "kv", "prompts", "replay", "draws")
"""In this order: what is cheap and tells most comes first."""

_ANSWERS_ONLY: Final = frozenset({"answers", "cli", "latency", "matrix", "planner", "report"})
"""What no question depends on."""

Progress = Callable[[str], None]


class Answered(msgspec.Struct, frozen=True):
    """What came of one part."""

    part: str
    records: tuple[Record, ...]
    """The newest of each subject, those of earlier runs included."""
    appended: Appended
    """What this run added."""
    seconds: float
    skipped: bool = False
    """Nothing was asked: this very qcmatrix asked this very environment before."""


def available_parts() -> tuple[str, ...]:
    """The parts that can be asked."""
    return tuple(part for part in PARTS if importlib.util.find_spec(f"qcmatrix.probe.parts.{part}") is not None)


def probe(
    session: Session,
    release: Release,
    *,
    directory: Path,
    parts: Sequence[str] | None = None,
    rules: Mapping[str, Rule] | None = None,
    options: Mapping[str, Any] | None = None,
    environment: str | None = None,
    again: bool = False,
    progress: Progress = lambda _: None,
) -> Iterator[Answered]:
    """Ask ``release`` the ``parts`` (all where left out) and add the evidence to ``directory``, part by part.

    ``rules`` narrows the part of that name; ``options`` are keyword arguments for the part ``draws``. ``environment``
    names what is asked, where it cannot change unseen: then a part that was answered before is not asked ``again``.
    What was answered is on disk before the next part begins, so a run that was killed goes on where it was.

    Raises:
        SessionError: the worker cannot be started.
        FileProblem: the evidence cannot be read or written.
        RequestError: there is no part of that name.
    """
    known = available_parts()
    for part in parts or known:
        if part not in known:
            raise RequestError(f"there is no part {part!r}", f"the parts are {', '.join(known)}")
    for part in (each for each in known if parts is None or each in parts):
        whole = not (part == "rules" and rules is not None) and not (part == "draws" and options)
        mark = _mark(directory, environment, release, part) if environment is not None and whole else None
        if mark is not None and not again and mark.exists():
            there = _there(directory, release, part)
            if there:
                yield Answered(part, there, Appended(same=len(there)), 0.0, skipped=True)
                continue
        started = time.monotonic()
        if session.pid is None:
            progress("importing vLLM")
        module = importlib.import_module(f"qcmatrix.probe.parts.{part}")
        more: dict[str, Any] = {}
        if part == "rules" and rules is not None:
            more = {"rules": rules}
        elif part == "draws" and options:
            more = dict(options)
        records: list[Record] = module.probe(
            session, release, lambda text, part=part: progress(f"{part}: {text}"), **more
        )
        appended = append(records, directory)
        if mark is not None and not any(record.error for record in records):
            _set(mark)  # what failed is asked again next time
        yield Answered(part, _there(directory, release, part), appended, round(time.monotonic() - started, 1))


def _there(directory: Path, release: Release, part: str) -> tuple[Record, ...]:
    return latest(read(directory, release.name, part))


def _mark(directory: Path, environment: str, release: Release, part: str) -> Path:
    """A file that says: answered, by this qcmatrix, in this environment, with the records in this directory."""
    told = "\n".join((str(directory.absolute()), environment, release.name, part, _own_digest()))
    return cache_directory() / "answered" / f"{release.name}-{part}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _set(mark: Path) -> None:
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        for older in mark.parent.glob(f"{mark.name.rpartition('-')[0]}-*"):
            older.unlink(missing_ok=True)
        mark.touch()
    except OSError:
        return  # it costs asking again, nothing else


@lru_cache(maxsize=1)
def _own_digest() -> str:
    """Changes with our questions, whatever they come from: code, rules, cases, catalogue. Not with the evidence."""
    package = Path(__file__).resolve().parent.parent
    evidence = package / "evidence" / "data"
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix not in (".py", ".toml", ".json", ".jinja") or evidence in path.parents:
            continue
        if path.relative_to(package).parts[0] not in _ANSWERS_ONLY:
            digest.update(str(path.relative_to(package)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
