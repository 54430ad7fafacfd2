"""One command under two releases: what changes for it, its memory before and after, and the new command."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from qcmatrix.assess import Assessment, LaunchVerdict
from qcmatrix.catalogue.releases import Release
from qcmatrix.documents.found import Document
from qcmatrix.lint.judge import FileFinding, Judged
from qcmatrix.lint.mend import Mended, mend
from qcmatrix.lint.run import lint_text
from qcmatrix.lint.settings import Settings
from qcmatrix.lint.subject import Wishes
from qcmatrix.rules.declare import Severity
from qcmatrix.upgrade.changes import (
    Change,
    ChangeKind,
    default_changes,
    option_changes,
    variable_changes,
)

__all__ = ["CommandUpgrade", "FileUpgrade", "upgrade_text"]

_ORDER = {kind: index for index, kind in enumerate(ChangeKind)}


class CommandUpgrade(msgspec.Struct, frozen=True):
    """One command on one fleet."""

    before: Judged
    after: Judged
    """The same words under the newer release."""
    mended: Judged | None
    """The new words under it; ``None``: the command could not be found again in the new text."""
    changes: tuple[Change, ...]

    @property
    def verdicts(self) -> tuple[LaunchVerdict | None, LaunchVerdict | None, LaunchVerdict | None]:
        """Before, after as it stands, after with the new words."""
        return self.before.verdict, self.after.verdict, None if self.mended is None else self.mended.verdict

    @property
    def footprints(self) -> tuple[Assessment | None, Assessment | None]:
        """What holds the ledgers: of the old command under the old release, of the new one under the new one."""
        new = self.mended if self.mended is not None and self.mended.assessment is not None else self.after
        return self.before.assessment, new.assessment


class FileUpgrade(msgspec.Struct, frozen=True):
    """All commands of one text."""

    document: Document
    commands: tuple[CommandUpgrade, ...]
    mended: Mended

    @property
    def serves(self) -> bool:
        """Does every command that started (or was not judged) still do so, with its new words?"""
        return all(
            each.mended is not None and not (each.mended.fails and not each.before.fails) for each in self.commands
        )


def upgrade_text(path: str, text: str, wishes: Wishes, before: Release, after: Release) -> FileUpgrade:
    """What becomes of the commands in ``text`` between the two releases, whatever release the text itself names.

    Only what the change of release breaks is mended: a command that was wrong before is told, not rewritten.
    """
    settings = Settings()
    old = lint_text(path, text, _with(wishes, before), settings)
    new = lint_text(path, text, _with(wishes, after), settings)
    known = {_key(judged, finding) for judged in old.judged for finding in judged.findings}
    mended = mend(
        path,
        text,
        _with(wishes, after),
        settings,
        unsafe=True,
        wanted=lambda judged, finding: finding.severity is Severity.ERROR and _key(judged, finding) not in known,
    )
    now = mended.report.judged
    commands = tuple(
        CommandUpgrade(
            one,
            other,
            now[index] if len(now) == len(new.judged) else None,
            tuple(sorted(_changes(one, other, before, after), key=lambda change: (_ORDER[change.kind], change.about))),
        )
        for index, (one, other) in enumerate(zip(old.judged, new.judged, strict=True))
    )
    document = old.document
    assert document is not None  # noqa: S101 lint_text always reads one
    return FileUpgrade(document, commands, mended)


def _with(wishes: Wishes, release: Release) -> Wishes:
    return msgspec.structs.replace(wishes, release=release)


def _key(judged: Judged, finding: FileFinding) -> tuple[str, int]:
    return finding.rule, judged.subject.command.start


def _changes(before: Judged, after: Judged, old: Release, new: Release) -> Iterator[Change]:
    launch = before.subject.parsed.launch
    yield from option_changes(launch, old, new)
    yield from variable_changes(launch, old, new)
    if before.assessment is not None and after.assessment is not None:
        yield from default_changes(before.assessment.deployment, after.assessment.deployment)
    yield from _rule_changes(before, after)


def _rule_changes(before: Judged, after: Judged) -> Iterator[Change]:
    """Rules that begin or cease to speak: the option is the same, what it does is not."""
    old = {finding.rule: finding for finding in before.findings}
    new = {finding.rule: finding for finding in after.findings}
    words_only = {"removed-flag", "yarn-by-removed-rope-scaling-flag", "flag-not-yet-in-release", "deprecated-flag",
                  "unknown-flag", "environment-variable-without-effect", "words-that-cannot-be-read"}  # fmt: skip
    for rule, finding in new.items():
        if rule not in old and rule not in words_only:
            yield Change(ChangeKind.MEANING, rule, f"{finding.title}: {finding.because}", rule)
    for rule in old.keys() & new.keys():
        if new[rule].severity is Severity.ERROR:
            yield Change(ChangeKind.WRONG_BEFORE, rule, f"{new[rule].title}: {new[rule].because}", rule)
    for rule, finding in old.items():
        if rule not in new and rule not in words_only and finding.severity is not Severity.INFO:
            yield Change(ChangeKind.MEANING, rule, f"no longer so: {finding.title}", rule)
