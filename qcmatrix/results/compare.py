"""Two runs of one entry, case by case: added, deleted, changed, unchanged."""

from __future__ import annotations

import msgspec

from qcmatrix.errors import UserError
from qcmatrix.results.schema import CaseResult, Result, State
from qcmatrix.versions import Version, parse_version

__all__ = ["Change", "Comparison", "compare", "name_of", "release_of"]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A case that ended otherwise."""

    id: str
    mode: str
    before: State
    after: State


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is otherwise in the later of two runs. Cases are told apart by id and mode."""

    before: str
    """``ENTRY, vLLM RELEASE, START``."""
    after: str
    same_entry: bool
    same_questions: bool
    """``False``: the checks themselves have changed between the two (``catalogue_sha256``), so that a case of the same
    name may ask something else."""
    added: tuple[CaseResult, ...]
    deleted: tuple[CaseResult, ...]
    changed: tuple[Change, ...]
    unchanged: int

    @property
    def is_same(self) -> bool:
        """Did every case end as it did before?"""
        return not (self.added or self.deleted or self.changed)


def compare(before: Result, after: Result) -> Comparison:
    """What is otherwise in ``after``: another run of the entry, or the same entry with another release."""
    old = {(case.id, case.mode): case for case in before.cases}
    new = {(case.id, case.mode): case for case in after.cases}
    both = [key for key in new if key in old]
    changed = tuple(
        Change(id=key[0], mode=key[1], before=old[key].state, after=new[key].state)
        for key in both
        if old[key].state is not new[key].state
    )
    return Comparison(
        before=name_of(before),
        after=name_of(after),
        same_entry=before.entry.id == after.entry.id,
        same_questions=before.suite.catalogue_sha256 == after.suite.catalogue_sha256,
        added=tuple(case for key, case in new.items() if key not in old),
        deleted=tuple(case for key, case in old.items() if key not in new),
        changed=changed,
        unchanged=len(both) - len(changed),
    )


def name_of(result: Result) -> str:
    """How a run is named to a reader."""
    return f"{result.entry.id}, vLLM {result.entry.vllm}, {result.started}"


def release_of(result: Result) -> Version:
    """The release that was served. What calls itself no version (a build of somebody's own) is the oldest."""
    try:
        return parse_version(result.entry.vllm)
    except UserError:
        return parse_version("0")
