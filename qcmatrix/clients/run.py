"""Client configurations among the files that are checked, each against the server found beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from qcmatrix.clients.judge import judge_client, server_of
from qcmatrix.clients.read import read_clients
from qcmatrix.documents.files import kind_of, read_text, walk
from qcmatrix.documents.found import Document
from qcmatrix.errors import FileProblem
from qcmatrix.lint.judge import FileFinding, Judged
from qcmatrix.lint.run import FileReport
from qcmatrix.lint.settings import Settings

__all__ = ["with_clients"]

_ALSO = (".json", ".jsonc", ".env")


def with_clients(paths: Iterable[str], reports: Sequence[FileReport], settings: Settings) -> tuple[FileReport, ...]:
    """``reports`` with the findings about the clients in ``paths``, whose servers are among the reports' commands."""
    by_path = {report.path: report for report in reports}
    servers: dict[Path, list[Judged]] = {}
    for report in reports:
        if report.judged:
            servers.setdefault(Path(report.path).parent, []).extend(report.judged)
    for path, text in _texts(paths, by_path, settings):
        found = [
            finding
            for client in read_clients(path, text, kind_of(path, text))
            for finding in judge_client(client, server_of(client, _nearest(path, servers, by_path)))
            if not any(ignored.covers(path, finding.rule) for ignored in settings.ignore)
        ]
        if not found:
            continue
        report = by_path.get(path) or FileReport(path, Document(path, text, kind_of(path, text) or "client"))
        by_path[path] = msgspec.structs.replace(report, own=(*report.own, *_once(found)))
    return tuple(by_path.values())


def _texts(paths: Iterable[str], known: dict[str, FileReport], settings: Settings) -> Iterator[tuple[str, str]]:
    for path, named in walk(paths, also=_ALSO):
        if not named and settings.excludes(path):
            continue
        report = known.get(path)
        if report is not None and report.document is not None:
            yield path, report.document.text
            continue
        if report is None:
            try:
                yield path, read_text(path)
            except FileProblem:
                continue


def _nearest(path: str, servers: dict[Path, list[Judged]], reports: dict[str, FileReport]) -> Sequence[Judged]:
    """The servers of the same file, else of the same folder, else all."""
    own = reports.get(path)
    if own is not None and own.judged:
        return own.judged
    return servers.get(Path(path).parent) or [judged for beside in servers.values() for judged in beside]


def _once(findings: Sequence[FileFinding]) -> Iterator[FileFinding]:
    seen: set[tuple[str, int]] = set()
    for finding in findings:
        if (finding.rule, finding.start) not in seen:
            seen.add((finding.rule, finding.start))
            yield finding
