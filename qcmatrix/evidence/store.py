"""Reads and appends evidence: one file of JSON lines per release, never rewritten.

A line is either a heading or an answer. A heading says what the answers under it share (release, part, day, torch,
Transformers), so that an answer is no longer than what it says. Answers stand in the order of their subjects. Within
one file the last answer to a subject counts; what came before it is its history.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from qcmatrix.boundary import convert
from qcmatrix.errors import FileProblem
from qcmatrix.evidence.records import Record
from qcmatrix.versions import parse_version

__all__ = ["PACKAGED", "Appended", "TornLine", "append", "latest", "read"]

PACKAGED = Path(__file__).parent / "data"
"""The evidence that comes with qcmatrix."""

_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]*")


class TornLine(UserWarning):
    """The last line of a file is half a line: whoever wrote it was killed. It is dropped."""


class Heading(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all answers share from here to the next heading."""

    release: str
    part: str
    date: str
    torch: str
    transformers: str


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One answer: the rest of a :class:`Record`."""

    subject: str
    question: Any = None
    answer: Any = None
    error: str | None = None
    not_askable: str | None = None


class Appended(msgspec.Struct, frozen=True):
    """What an append came to."""

    new: tuple[Record, ...] = ()
    """Nothing was known of these subjects."""
    changed: tuple[Record, ...] = ()
    """Asked before; now the question, the answer or the environment is another."""
    same: int = 0
    """How many are there already, word for word; they were not written again."""


def read(directory: Path = PACKAGED, release: str | None = None, part: str | None = None) -> tuple[Record, ...]:
    """All records of ``directory`` (of one release, of one part), releases in order, oldest record first.

    Warns of a torn last line (:class:`TornLine`). A release without a file has no records.

    Raises:
        FileProblem: a file cannot be read, or has lines that are none (all of them listed).
    """
    if release is not None:
        paths = [_path(directory, release)]
        paths = [path for path in paths if path.exists()]
    else:
        paths = sorted(directory.glob("*.jsonl"), key=lambda path: parse_version(path.stem))
    found = (record for path in paths for record in _records(path))
    return tuple(record for record in found if part is None or record.part == part)


def latest(records: Iterable[Record]) -> tuple[Record, ...]:
    """The newest record of each release, part and subject; ``records`` are in the order of :func:`read`."""
    newest: dict[tuple[str, str, str], Record] = {}
    for record in records:
        newest[record.release, record.part, record.subject] = record
    return tuple(newest.values())


def append(records: Iterable[Record], directory: Path) -> Appended:
    """Adds to the files of ``directory`` what they do not say yet, and mends a torn last line.

    An answer is not written again while the newest of the same release, part and subject has the same question, answer
    and environment. Each file is locked meanwhile and is on disk afterwards; where writing fails it is as before.

    Raises:
        FileProblem: a file cannot be read or written (no space, no permission), or holds lines that are none.
        ValueError: a record says nothing or contradicts itself (a bug of whoever made it).
    """
    by_release: dict[str, list[Record]] = {}
    for record in records:
        _check(record)
        by_release.setdefault(record.release, []).append(record)
    new: list[Record] = []
    changed: list[Record] = []
    same = 0
    for release, asked in sorted(by_release.items(), key=lambda item: parse_version(item[0])):
        path = _path(directory, release)
        with _locked(path) as descriptor:
            _mend(path, descriptor)
            heading, before_all = _decoded(path, _bytes(path).split(b"\n")[:-1])
            known = {(record.part, record.subject): record for record in before_all}
            fresh: list[Record] = []
            for record in latest(asked):
                before = known.get((record.part, record.subject))
                if before is not None and _says(before) == _says(record):
                    same += 1
                    continue
                (new if before is None else changed).append(record)
                fresh.append(record)
            _write(path, descriptor, _lines(fresh, heading))
    return Appended(tuple(new), tuple(changed), same)


def _check(record: Record) -> None:
    said = [name for name in ("answer", "error", "not_askable") if getattr(record, name) is not None]
    if len(said) != 1:
        raise ValueError(
            f"{record.release} {record.part} {record.subject}: one of answer, error, not_askable, not {said}"
        )


def _says(record: Record) -> bytes:
    """All but the day: what makes two records the same."""
    return msgspec.json.encode(msgspec.structs.replace(record, date=""), order="deterministic")


def _path(directory: Path, release: str) -> Path:
    if not _RELEASE.fullmatch(release):
        raise ValueError(f"not a release: {release!r}")
    return directory / f"{release}.jsonl"


def _lines(records: list[Record], heading: Heading | None) -> bytes:
    """Headings and answers, in the order of part and subject; ``heading`` is the last one there."""
    lines: list[bytes] = []
    for record in sorted(records, key=lambda record: (record.part, _natural(record.subject))):
        own = Heading(
            release=record.release,
            part=record.part,
            date=record.date,
            torch=record.torch,
            transformers=record.transformers,
        )
        if own != heading:
            lines.append(msgspec.json.encode(own))
            heading = own
        fields = {name: getattr(record, name) for name in Line.__struct_fields__}
        # Plain values first: only mappings are put in order, the fields keep theirs (the subject first).
        lines.append(msgspec.json.encode(Line(**fields), order="deterministic"))
    return b"".join(line + b"\n" for line in lines)


def _natural(subject: str) -> list[tuple[int, str]]:
    return [(int(piece) if piece.isdecimal() else -1, piece) for piece in re.split(r"(\d+)", subject)]


def _records(path: Path) -> list[Record]:
    data = _bytes(path)
    lines = data.split(b"\n")
    torn = lines.pop()
    if torn and _is_line(torn):  # whole, and only its end is missing: an editor's doing
        lines.append(torn)
        torn = b""
    if torn:
        warnings.warn(f"{path}: the last line is torn and is left out", TornLine, stacklevel=4)
    return _decoded(path, lines)[1]


def _decoded(path: Path, lines: list[bytes]) -> tuple[Heading | None, list[Record]]:
    """The last heading, and the records."""
    problems: list[str] = []
    found: list[Record] = []
    heading: Heading | None = None
    as_line, as_heading = msgspec.json.Decoder(Line), msgspec.json.Decoder(Heading)
    for number, text in enumerate(lines, 1):
        try:
            if text.startswith(b'{"release":'):
                heading = as_heading.decode(text)
                if heading.release != path.stem:
                    problems.append(f"line {number}: speaks of {heading.release}, and the file of {path.stem}")
                continue
            line = as_line.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            problems.extend(_problems(path, number, text))
            continue
        if heading is None:
            problems.append(f"line {number}: an answer before any heading")
            continue
        found.append(
            Record(
                release=heading.release,
                part=heading.part,
                subject=line.subject,
                question=line.question,
                answer=line.answer,
                error=line.error,
                not_askable=line.not_askable,
                date=heading.date,
                torch=heading.torch,
                transformers=heading.transformers,
            )
        )
    if problems:
        raise FileProblem(f"{path}: not what it should be", *problems)
    return heading, found


def _problems(path: Path, number: int, text: bytes) -> Iterator[str]:
    """All that is wrong with one line."""
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        yield f"line {number}: not JSON: {error}"
        return
    kind: Any = Heading if isinstance(data, dict) and "release" in data else Line
    try:
        convert(data, kind, where=str(path))
    except FileProblem as problem:
        for note in problem.notes:
            yield f"line {number}: {note}"


def _is_line(text: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileProblem(f"{path}: cannot be read: {error.strerror}") from None


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The open file, and nobody else's for so long."""
    import fcntl  # not on Windows, where reading must work all the same

    descriptor = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                break
            os.close(descriptor)  # whoever had it before us found nothing to keep, and removed it
            descriptor = -1
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        raise FileProblem(f"{path}: cannot be written: {error.strerror}") from None
    try:
        yield descriptor
    finally:
        if os.fstat(descriptor).st_size == 0:
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _mend(path: Path, descriptor: int) -> None:
    """Cuts a torn last line off, and ends a whole one that lacks its end."""
    data = _bytes(path)
    kept, _, last = data.rpartition(b"\n")
    if not last:
        return
    if _is_line(last):
        _write(path, descriptor, b"\n")
        return
    warnings.warn(f"{path}: the last line was torn and is cut off", TornLine, stacklevel=4)
    os.ftruncate(descriptor, len(kept) + 1 if kept else 0)


def _write(path: Path, descriptor: int, data: bytes) -> None:
    """Adds ``data`` at the end and waits for the disk; all of it or nothing."""
    if not data:
        return
    size = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError as error:
        os.ftruncate(descriptor, size)
        raise FileProblem(
            f"{path}: cannot be written: {error.strerror}", "nothing was added; make room and ask again"
        ) from None
    if size == 0:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
