"""A rule's cases put to a release, and whether its answers prove the rule, or prove it wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import msgspec

from qcmatrix.assess import with_fix
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import Release, load_release, release_names
from qcmatrix.evidence.records import Record
from qcmatrix.launch.parse import parse
from qcmatrix.launch.render import render
from qcmatrix.probe.agree import Ours, ours, question_for
from qcmatrix.probe.configs import config_json
from qcmatrix.probe.exceptions import EXPLAINED, UNANSWERABLE
from qcmatrix.rules import all_rules
from qcmatrix.rules.cases import Case, CaseFile, Kind, case_file
from qcmatrix.rules.declare import Breach, Fix, Outcome, Rule, Unknown, Verdict

__all__ = ["ABSENT", "CUT", "PART", "Asked", "Grade", "Proof", "asked_of", "proof_of"]

PART: Final = "rules"
ABSENT: Final = "(absent)"
"""Stands in a recorded answer for a value that the release does not have."""
CUT: Final = " [...]"
"""Ends an error that was too long to keep."""
_SURE: Final = 30
"""Characters of a rule's words that must be there in an error that was cut off."""


class Grade(StrEnum):
    """What an answer says of a rule."""

    AGREE = "agree"
    DISAGREE = "disagree"
    MASKED = "masked"
    """The launch is refused for another reason: that says nothing of this rule."""
    NOT_ASKABLE = "not askable"
    EXPLAINED = "explained"
    """They differ for a reason that is written down in :mod:`qcmatrix.probe.exceptions`."""


class Proof(msgspec.Struct, frozen=True):
    """One answer judged."""

    grade: Grade
    why: str = ""
    breach: bool = False
    """The rule finds a breach there: only such an agreement shows that the release enforces it."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One case of one rule as a question to one release."""

    rule: Rule
    kind: Kind
    number: int
    case: Case
    file: CaseFile
    mine: Ours
    verdict: Verdict
    """What the rule says of it on that release; ``None`` as well where it does not hold."""
    launch: dict[str, Any]
    without: dict[str, Any] | None = None
    """The same launch without what the rule is about, where the proof is that nothing else changes."""

    @property
    def subject(self) -> str:
        """``fp8-block-cut-by-tensor-parallel/breaks/0``."""
        return f"{self.rule.id}/{self.kind}/{self.number}"

    @property
    def digest(self) -> str:
        """Of all that is asked: an answer to another question is no evidence for this one."""
        data = msgspec.json.encode((self.launch, self.without), order="deterministic")
        return hashlib.sha256(data + _config_digest(self.launch["config"])).hexdigest()[:8]

    def answered_by(self, record: Record) -> bool:
        """Is ``record`` an answer to this very question, with all that the case wants to see of it?"""
        if record.question != self.digest:
            return False
        answer = record.answer
        return not answer or "error" in answer or self.case.shows.keys() <= (answer.get("resolved") or {}).keys()

    @property
    def refuses(self) -> bool:
        """Does the rule foretell a refusal?"""
        return isinstance(self.verdict, Breach) and (self.verdict.outcome or self.rule.outcome) is _REFUSES

    @property
    def holds(self) -> bool:
        """Is the release within the rule's bounds?"""
        return self.mine.deployment.release.version in self.rule.holds

    @property
    def weights(self) -> bool:
        """Are the weights laid out as well?"""
        return self.file.weights


_REFUSES = Outcome.REFUSES_TO_START
_SAME_EFFECT = frozenset({Outcome.STARTS_AND_IS_WRONG, Outcome.REDUNDANT})
"""A rule with another outcome does not explain a value that came out otherwise than asked."""


@lru_cache(maxsize=128)
def _config_digest(repository: str) -> bytes:
    config = config_json(find_checkpoint(repository))
    return hashlib.sha256(msgspec.json.encode(config, order="deterministic")).digest()


def asked_of(release: Release, rules: Mapping[str, Rule] | None = None) -> Iterator[Asked]:
    """Each case that can tell something about its rule on ``release``, by rule and case.

    Left out: rules and cases that carry a reason why not; cases that the rule cannot tell of there; cases that the
    rule allows there while another refuses them; what a rule allows on a release that it does not hold for; and a
    launch that is a case of several releases, from the second time on. On the first release beyond a bound, what
    breaks the rule within it is asked even where another rule takes its place.
    """
    for rule in (rules or {rule.id: rule for rule in all_rules()}).values():
        file = case_file(rule.id)
        if file.not_askable:
            continue
        seen: set[tuple[str, str | None, str]] = set()
        for kind in ("breaks", "allows"):
            for number, case in enumerate(file.of(kind)):
                same = (case.command, case.model, case.gpus)
                if same in seen:
                    continue
                asked = _asked(release, rule, kind, number, case, file)
                if asked is not None:
                    seen.add(same)
                    yield asked


def _asked(release: Release, rule: Rule, kind: Kind, number: int, case: Case, file: CaseFile) -> Asked | None:
    holds = release.version in rule.holds
    if case.not_askable or case.fleet.gpu.vendor != "nvidia" or (kind != "breaks" and not holds):
        return None
    if file.proof != "refusal" and not (file.proof == "unchanged" and kind == "breaks") and not case.shows:
        return None
    mine = ours(case.words, case.checkpoint, case.fleet, release)
    verdict = next((found.verdict for found in mine.findings if found.rule.id == rule.id), None)
    others = [found for found in mine.refusals if found.rule.id != rule.id]
    breach = isinstance(verdict, Breach)
    if isinstance(verdict, Unknown) or (others and not breach and not _next_to(rule, release)):
        return None
    without = None
    if file.proof == "unchanged":
        if isinstance(verdict, Breach):
            without = _without(case, release, verdict, weights=file.weights)
        elif not others:
            return None
    return Asked(
        rule=rule,
        kind=kind,
        number=number,
        case=case,
        file=file,
        mine=mine,
        verdict=verdict,
        launch=question_for(case.words, case.checkpoint, case.fleet, release, weights=file.weights),
        without=without,
    )


def _without(case: Case, release: Release, breach: Breach, *, weights: bool) -> dict[str, Any]:
    drop = Fix("without it", drop=breach.about, drop_env=breach.about)
    launch = with_fix(parse(case.words, release).launch, drop)
    words = [*(f"{name}={value}" for name, value in launch.env.items()), *render(launch, release)]
    return question_for(words, case.checkpoint, case.fleet, release, weights=weights)


def _next_to(rule: Rule, release: Release) -> bool:
    """Is ``release`` the first beyond one of the rule's bounds? What takes the rule's place is asked there as well."""
    names = release_names()
    if release.name not in names or release.version in rule.holds:
        return False
    at = names.index(release.name)
    return any(load_release(name).version in rule.holds for name in names[max(0, at - 1) : at + 2])


def proof_of(asked: Asked, answer: Mapping[str, Any]) -> Proof:
    """What the kept ``answer`` says of the rule: ``stage``, and ``error``, ``resolved``, ``changes``, ``excuse``."""
    breach = isinstance(asked.verdict, Breach)
    grade, why = _refused(asked, answer) if "error" in answer else _accepted(asked, answer)
    if grade is Grade.DISAGREE:
        for item in EXPLAINED:
            if asked.rule.id in item.rules and re.search(item.error, str(answer.get("error", ""))):
                return Proof(Grade.EXPLAINED, item.why, breach)
    return Proof(grade, why, breach)


def _refused(asked: Asked, answer: Mapping[str, Any]) -> tuple[Grade, str]:
    said = str(answer["error"])
    excuse = answer.get("excuse") or next((item.why for item in UNANSWERABLE if re.search(item.error, said)), None)
    foretold = _foretold(asked)
    own = bool(foretold) and any(speaks(words, said) for words in foretold)
    if asked.refuses and own:
        return Grade.AGREE, ""
    if excuse:
        return Grade.NOT_ASKABLE, str(excuse)
    others = [found for found in asked.mine.refusals if found.rule.id != asked.rule.id]
    for found in others:
        if isinstance(found.verdict, Breach) and (not found.verdict.error or speaks(found.verdict.error, said)):
            beyond = not asked.holds and found.verdict.error
            return (Grade.AGREE if beyond else Grade.MASKED), f"refused for {found.rule.id}"
    if asked.refuses:
        if not foretold:
            return Grade.AGREE, "the rule does not say in which words"
        return Grade.DISAGREE, f"refused in other words: {said}"
    if own:
        return Grade.DISAGREE, f"refused in the words of the rule, which says nothing here: {said}"
    if isinstance(asked.verdict, Breach):
        return Grade.DISAGREE, f"refused, and the rule says that it starts: {said}"
    return Grade.MASKED, f"refused otherwise: {said}"


def _accepted(asked: Asked, answer: Mapping[str, Any]) -> tuple[Grade, str]:
    if asked.refuses:
        assert isinstance(asked.verdict, Breach)  # noqa: S101 - what `refuses` means
        version = asked.mine.deployment.release.version
        for later in (*asked.case.later, *asked.file.later):
            if later.covers(version):
                return Grade.NOT_ASKABLE, later.why
        return Grade.DISAGREE, f"accepted, and the rule says refused: {asked.verdict.because}"
    if asked.file.proof == "refusal" and isinstance(asked.verdict, Breach) and not asked.case.shows:
        return Grade.NOT_ASKABLE, "it starts, as the rule says; what becomes of it shows later"
    if "changes" in answer:
        return _unchanged(asked, answer["changes"])
    if not asked.case.shows:
        return Grade.AGREE, ""
    resolved = answer["resolved"]
    missing = [name for name in asked.case.shows if resolved[name] == ABSENT]
    shown = all(resolved[name] == value for name, value in asked.case.shows.items() if name not in missing)
    if missing and shown:
        return Grade.NOT_ASKABLE, f"the release does not say {', '.join(missing)}"
    expected = isinstance(asked.verdict, Breach) is (asked.kind == "breaks")
    if shown is expected:
        return Grade.AGREE, ""
    instead = [found.rule.id for found in asked.mine.findings if found.outcome in _SAME_EFFECT]
    if shown and not isinstance(asked.verdict, Breach) and instead:
        return Grade.MASKED, f"the same comes of {', '.join(sorted(instead))}"
    seen = ", ".join(f"{name} is {resolved[name]}" for name in asked.case.shows)
    says = "a breach" if isinstance(asked.verdict, Breach) else "no breach"
    return Grade.DISAGREE, f"{seen}, and the rule says {says}"


def _unchanged(asked: Asked, changes: Mapping[str, Any]) -> tuple[Grade, str]:
    """What the rule is about may differ itself, and nothing else."""
    assert isinstance(asked.verdict, Breach)  # noqa: S101 - others are not asked
    others = {name: change for name, change in changes.items() if name.split(".")[0] not in asked.verdict.about}
    if not others:
        return Grade.AGREE, ""
    seen = ", ".join(f"{name} is {before}, and without {after}" for name, (before, after) in sorted(others.items()))
    return Grade.DISAGREE, f"it does change something: {seen}"


def _foretold(asked: Asked) -> tuple[str, ...]:
    """The words of the rule: for this launch, else for the case on its own release."""
    if isinstance(asked.verdict, Breach):
        return (asked.verdict.error,) if asked.verdict.error else ()
    if asked.kind != "breaks":
        return ()
    return _own_words(asked.rule.id, asked.number)


@lru_cache(maxsize=1024)
def _own_words(rule_id: str, number: int) -> tuple[str, ...]:
    case = case_file(rule_id).breaks[number]
    mine = ours(case.words, case.checkpoint, case.fleet, load_release(case.vllm))
    said = [found.verdict for found in mine.findings if found.rule.id == rule_id]
    return tuple(verdict.error for verdict in said if isinstance(verdict, Breach) and verdict.error)


def speaks(words: str, said: str) -> bool:
    """Are ``words`` in what was ``said``?

    An ellipsis in ``words`` stands for what changes; blanks and line breaks do not matter. Where ``said`` was cut off,
    it is enough that it ends within ``words``.
    """
    said = " ".join(said.split())
    if words.startswith("assert ") and said == "AssertionError:":
        return True  # the words are the line that a traceback shows; the error itself has none
    parts = [" ".join(part.split()) for part in words.split("...")]
    if re.search(".*?".join(map(re.escape, parts)), said) is not None:
        return True
    if not said.endswith(CUT):
        return False
    kept = said.removesuffix(CUT)
    start = kept.find(parts[0][:_SURE])
    return start >= 0 and len(parts[0]) > _SURE and parts[0].startswith(kept[start:])
