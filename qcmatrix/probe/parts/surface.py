"""The surface that was extracted from a release's sources, against the one that its own objects have."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from qcmatrix.catalogue.releases import Flag, Release
from qcmatrix.evidence.records import Record
from qcmatrix.probe.graded import Graded, Mark
from qcmatrix.probe.session import Session

__all__ = ["EXPECTED", "PART", "Expected", "differences", "graded", "probe"]

PART: Final = "surface"
_TIMEOUT: Final = 300.0

Progress = Callable[[str], None]


class Expected(msgspec.Struct, frozen=True):
    """A difference that is known, and right."""

    what: str
    """Regular expression that a whole line of :func:`differences` matches."""
    why: str
    release: str | None = None
    """The only release that it is expected of."""


EXPECTED: Final[tuple[Expected, ...]] = (
    Expected(
        r"flag --(enable-lora|eplb-log-balancedness): type is 'optional_bool', in the catalogue 'bool'",
        "declared without a default: argparse makes it None, which the engine reads as off",
    ),
    Expected(
        r"flag --log-error-stack: default is False, in the catalogue None",
        "computed: what VLLM_SERVER_DEV_MODE says",
    ),
    Expected(
        r"flag --mm-hasher-algorithm: default is 'blake3', in the catalogue None",
        "computed: what VLLM_MM_HASHER_ALGORITHM says",
    ),
    Expected(
        r"flag --limit-mm-per-prompt: default is \{\}, in the catalogue None",
        "taken from another class through a call, which is not followed; no limits either way",
    ),
    Expected(
        r"flag --guided-decoding-backend: default is 'auto', in the catalogue None",
        "computed: what VLLM_USE_V1 says",
        release="0.10.0",
    ),
    Expected(
        r"variable VLLM_USE_PRECOMPILED: set to its default '0' it reads '1', not set '0'",
        "the release reads any text as true, `0` too",
        release="0.10.0",
    ),
    Expected(
        "variable VLLM_MAIN_CUDA_VERSION: not in the catalogue",
        "the package for CPUs has one more line in envs.py than the sources of that release",
        release="0.10.2",
    ),
    Expected(
        r"variable VLLM_KEEP_ALIVE_ON_ENGINE_DEATH: set to its default '0' it reads '1', not set '0'",
        "the release reads any text as true, `0` too",
    ),
)
"""Differences that are no mistake of the extraction. A line that matches none of these is one."""


def probe(session: Session, release: Release, progress: Progress | None = None) -> list[Record]:
    """Asks for the live surface; the record's answer is ``{"differs": [...]}``, one line for each difference.

    Raises:
        SessionError: no worker can be started.
    """
    if progress is not None:
        progress(f"{len(release.file.flags)} flags, {len(release.file.environment)} variables")
    reply = session.ask("surface", timeout=_TIMEOUT, environment=dict(release.file.environment))
    kept: dict[str, Any]
    if reply.answer is not None:
        kept = {"answer": {"differs": list(differences(release, reply.answer))}}
    elif reply.error is not None:
        kept = {"error": f"{reply.error.type}: {reply.error.text}"}
    else:
        kept = {"not_askable": reply.not_askable or "no answer"}
    return [
        Record(
            release=release.name,
            part=PART,
            subject="surface",
            date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            torch=session.hello.torch,
            transformers=session.hello.transformers,
            **kept,
        )
    ]


def graded(records: Iterable[Record], release: Release) -> Iterator[Graded]:
    """Each record: are there differences that nobody has explained?"""
    del release
    for record in records:
        if record.answer is None:
            mark = Mark.FAILED if record.error is not None else Mark.NOT_ASKABLE
            yield Graded(subject=record.subject, mark=mark, said=record.error or "", why=record.not_askable or "")
            continue
        differs = record.answer["differs"]
        yield Graded(
            subject=record.subject,
            mark=Mark.DISAGREE if differs else Mark.AGREE,
            ours="the surface in the catalogue",
            said="the same" if not differs else f"{len(differs)} differences",
            why="; ".join(differs),
        )


def differences(release: Release, live: Mapping[str, Any], *, explained: bool = False) -> tuple[str, ...]:
    """One line for each difference between the catalogue's surface and ``live``, sorted.

    Args:
        release: the catalogue's.
        live: the answer to a ``surface`` question.
        explained: those that :data:`EXPECTED` explains as well.
    """
    file = release.file
    found = [
        *_flags(file.flags, msgspec.convert(live["flags"], tuple[Flag, ...])),
        *_tables("tool parser", file.tool_parsers, live["tool_parsers"]),
        *_tables("reasoning parser", file.reasoning_parsers, live["reasoning_parsers"]),
        *_names("variable", file.environment, live["environment"]),
        *(
            f"variable {name}: set to its default {file.environment[name]!r} it reads {when_set!r}, not set {unset!r}"
            for name, (when_set, unset) in live["environment_differs"].items()
        ),
    ]
    return tuple(sorted(line for line in found if explained or not _is_expected(line, release)))


def _is_expected(line: str, release: Release) -> bool:
    return any(
        re.fullmatch(expected.what, line) is not None and expected.release in {None, release.surface_of}
        for expected in EXPECTED
    )


def _flags(here: Iterable[Flag], there: Iterable[Flag]) -> Iterator[str]:
    ours, theirs = {flag.names[0]: flag for flag in here}, {flag.names[0]: flag for flag in there}
    yield from _names("flag", ours, theirs)
    for name in ours.keys() & theirs.keys():
        for field in Flag.__struct_fields__:
            mine, live = getattr(ours[name], field), getattr(theirs[name], field)
            if field in _UNORDERED:
                mine, live = sorted(mine), sorted(live)
            if mine != live:
                yield f"flag {name}: {field} is {live!r}, in the catalogue {mine!r}"


_UNORDERED: Final = frozenset({"names", "negations", "choices", "known"})
"""Fields whose order is only how they are declared."""


def _names(what: str, here: Iterable[str], there: Iterable[str]) -> Iterator[str]:
    ours, theirs = set(here), set(there)
    yield from (f"{what} {name}: not in the catalogue" for name in theirs - ours)
    yield from (f"{what} {name}: only in the catalogue" for name in ours - theirs)


def _tables(what: str, here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[str]:
    yield from _names(what, here, there)
    for name in here.keys() & there.keys():
        if here[name] != there[name]:
            yield f"{what} {name}: is {there[name]}, in the catalogue {here[name]}"
