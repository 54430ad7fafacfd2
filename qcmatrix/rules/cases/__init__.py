"""The rules' cases: launches that break a rule, that it allows, and that it cannot tell of.

``<rule-id>.toml`` beside this file, one per rule. The tests judge them; the probe asks real releases the same, each
case on every release and not only on its own.
"""

from __future__ import annotations

import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from qcmatrix.boundary import read_toml
from qcmatrix.catalogue.fleets import Fleet, parse_fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint, find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.launch.parse import parse
from qcmatrix.versions import Range, Version

__all__ = ["Case", "CaseFile", "Kind", "Later", "Proof", "case_file", "case_names"]

Kind = Literal["breaks", "allows", "unknown"]

Proof = Literal["refusal", "values", "unchanged"]
"""How a release shows that a rule is right.

``refusal``: it refuses what breaks the rule, in the words that the rule foretells, and nothing else for that reason.
``values``: what it resolves is what the case ``shows``, exactly where the rule speaks.
``unchanged``: it resolves the same without what the rule is about.
"""


class Later(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Releases that accept the configuration and stop at a point that a machine without a GPU does not reach."""

    low: str | None = None
    high: str | None = None
    """The first that does say it at once."""
    why: str

    def covers(self, version: Version) -> bool:
        """Is that release one of them?"""
        return version in Range(self.low, self.high)


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One launch."""

    vllm: str
    """The release on which it is this case; on others the rule may say something else."""
    gpus: str
    command: str
    says: str = ""
    """Part of what the verdict says."""
    model: str | None = None
    """The checkpoint, where the command names a folder."""
    shows: dict[str, Any] = {}
    """What a release resolves if it is a breach and the proof is by ``values``: dotted names, plain values."""
    not_askable: str = ""
    """Why this one cannot be asked of a release on a machine without a GPU."""
    later: tuple[Later, ...] = ()

    @property
    def words(self) -> list[str]:
        """The command's words, with the variables in front."""
        return list(_words(self.command))

    @property
    def fleet(self) -> Fleet:
        """The cards."""
        (fleet,) = parse_fleet(self.gpus)
        return fleet

    @property
    def checkpoint(self) -> ResolvedCheckpoint:
        """What is served."""
        return find_checkpoint(self.model or _model(self.command, self.vllm))


@lru_cache(maxsize=1024)
def _words(command: str) -> tuple[str, ...]:
    return tuple(shlex.split(command))


@lru_cache(maxsize=1024)
def _model(command: str, vllm: str) -> str:
    return parse(list(_words(command)), load_release(vllm)).launch.model


class CaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The cases of one rule."""

    proof: Proof = "refusal"
    not_askable: str = ""
    """Why no release on a machine without a GPU can show whether the rule is right."""
    weights: bool = False
    """The weights must be laid out for it to show."""
    later: tuple[Later, ...] = ()
    """Of all cases."""
    breaks: tuple[Case, ...] = ()
    allows: tuple[Case, ...]
    unknown: tuple[Case, ...] = ()

    def of(self, kind: Kind) -> tuple[Case, ...]:
        """The cases of one kind."""
        cases: tuple[Case, ...] = getattr(self, kind)
        return cases


def case_names() -> tuple[str, ...]:
    """Ids of the rules that have a file."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.toml")))


@lru_cache(maxsize=256)
def case_file(rule_id: str) -> CaseFile:
    """The cases of the rule ``rule_id``.

    Raises:
        FileProblem: there is no such file, or it is malformed.
    """
    return read_toml(Path(__file__).parent / f"{rule_id}.toml", CaseFile)
