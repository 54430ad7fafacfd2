"""Findings about the commands of a document, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from qcmatrix.assess import Assessment, Assessor, LaunchVerdict
from qcmatrix.catalogue.fleets import Fleet, parse_fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint, find_checkpoint
from qcmatrix.documents.found import Document
from qcmatrix.errors import UserError
from qcmatrix.fixes import Offer, offered
from qcmatrix.lint.subject import Subject, Wishes, subjects_of
from qcmatrix.rules.declare import Breach, Severity
from qcmatrix.rules.judge import Finding, worst_first

__all__ = ["FileFinding", "Judged", "judge_document", "judge_subject"]

_ANY_FLEET = ("1024xH200", "1024xA100-80", "1024xL40S", "1024xB200")
"""What holds on all of these holds whatever the card: a Hopper, an Ampere, an Ada and a Blackwell card."""
_ANY_MODEL = ("480b-fp8", "next", "30b", "q2.5-coder-7b-awq")
_ENDS_EARLY = "a continuation line is cut off"
_UNEXPECTED = "an entry does not do what it is expected to do"
_CARD = frozenset({"gpu", "fleet", "footprint"})
_MODEL = frozenset({"architecture", "checkpoint", "quantization", "footprint"})


class FileFinding(msgspec.Struct, frozen=True):
    """One finding in a document. ``start`` and ``stop`` count its characters."""

    rule: str
    """A rule's id, or one of the linter's own."""
    severity: Severity
    title: str
    because: str
    start: int
    stop: int
    error: str = ""
    """What vLLM will print."""
    known: str = ""
    """For which releases it holds, and how that is known."""
    offer: Offer | None = None
    """A change after which it is mended, judged."""
    certain: bool = True
    """``False``: options from outside of the file may mend it."""


class Judged(msgspec.Struct, frozen=True):
    """One command of a document on one fleet."""

    subject: Subject
    verdict: LaunchVerdict | None
    """``None``: model or GPUs are not known, so only the options were judged."""
    assessment: Assessment | None
    findings: tuple[FileFinding, ...]

    @property
    def fails(self) -> bool:
        """Is there an error that nothing outside of the file can mend, and that the file does not expect?"""
        if self.subject.command.expected is not None:
            return any(finding.rule == "unexpected-verdict" for finding in self.findings)
        return any(finding.severity is Severity.ERROR and finding.certain for finding in self.findings)


def judge_document(document: Document, wishes: Wishes, required: str | None = None) -> Iterator[Judged]:
    """Every command of ``document`` on every fleet, in order."""
    for command in document.commands:
        try:
            subjects = subjects_of(command, wishes, required)
        except UserError as error:
            place = (command.words[0].start, command.words[0].stop)
            finding = FileFinding("unknown-name", Severity.WARNING, error.what, "; ".join(error.notes), *place)
            yield Judged(_bare(command), None, None, (finding,))
            continue
        for subject in subjects:
            yield judge_subject(subject)


def judge_subject(subject: Subject) -> Judged:
    """What will become of it: the whole verdict where model and GPUs are known, else what holds for all of them."""
    notes = [
        FileFinding(
            "command-ends-early", Severity.ERROR, "a continuation line is cut off", note.text, note.start, note.stop
        )
        for note in subject.command.notes
    ]
    if subject.fleet is not None and subject.checkpoint is not None:
        assessor = Assessor(subject.release, subject.fleet, subject.checkpoint)
        assessment = assessor.assess(subject.parsed.launch, subject.parsed.problems)
        findings = [_found(subject, each, offered(assessor, assessment, each)) for each in assessment.findings]
        findings += _unexpected(subject, assessment.verdict)
        return Judged(subject, assessment.verdict, assessment, (*notes, *findings))
    common = _common(subject)
    return Judged(subject, None, None, (*notes, *(_found(subject, each, None) for each in common)))


def _bare(command: object) -> Subject:
    from qcmatrix.catalogue.releases import load_release, newest_release
    from qcmatrix.launch.launch import Launch
    from qcmatrix.launch.parsed import Parsed

    empty = Parsed(Launch(""), {}, None, ())
    return Subject(command, (), empty, load_release(newest_release()), None, None, "newest")  # type: ignore[arg-type]


def _common(subject: Subject) -> tuple[Finding, ...]:
    """The findings of the rules that look at nothing that is not known, which hold on whatever stands in for it."""
    hidden = (_CARD if subject.fleet is None else frozenset()) | (_MODEL if subject.checkpoint is None else frozenset())
    fleets: Iterable[Fleet] = (subject.fleet,) if subject.fleet is not None else _fleets()
    checkpoints: Iterable[ResolvedCheckpoint] = (
        (subject.checkpoint,) if subject.checkpoint is not None else tuple(map(find_checkpoint, _ANY_MODEL))
    )
    kept: dict[str, Finding] | None = None
    for fleet in fleets:
        for checkpoint in checkpoints:
            assessor = Assessor(subject.release, fleet, checkpoint)
            found = assessor.cheap(assessor.resolve(subject.parsed.launch, subject.parsed.problems))
            here = {each.rule.id: each for each in found if not hidden & set(each.rule.reads)}
            kept = here if kept is None else {
                rule: each for rule, each in kept.items() if rule in here and _same(each, here[rule])
            }  # fmt: skip
            if not kept:
                return ()
    return worst_first((kept or {}).values())


def _same(one: Finding, other: Finding) -> bool:
    return type(one.verdict) is type(other.verdict) and one.verdict.because == other.verdict.because


@lru_cache(maxsize=1)
def _fleets() -> tuple[Fleet, ...]:
    return tuple(fleet for text in _ANY_FLEET for fleet in parse_fleet(text))


def _found(subject: Subject, finding: Finding, offer: Offer | None) -> FileFinding:
    verdict, rule = finding.verdict, finding.rule
    start, stop = _place(subject, finding)
    about_words = isinstance(verdict, Breach) and "problems" in rule.reads
    return FileFinding(
        rule=rule.id,
        severity=finding.severity,
        title=rule.title if isinstance(verdict, Breach) else f"cannot be told: {rule.title}",
        because=verdict.because,
        start=start,
        stop=stop,
        error=verdict.error if isinstance(verdict, Breach) else "",
        known=f"holds for vLLM {rule.holds} (judged: {subject.release.name}); {rule.known}",
        offer=offer,
        certain=about_words or not subject.command.open_ended,
    )


def _place(subject: Subject, finding: Finding) -> tuple[int, int]:
    """The words that it is about; failing that, those that start the server."""
    about = finding.verdict.about if isinstance(finding.verdict, Breach) else ()
    for name in about:
        span = subject.parsed.spans.get(name) or subject.parsed.env_spans.get(name)
        if span is not None and (place := subject.place(span.start, span.stop)) is not None:
            return place
        if (word := subject.command.env.get(name)) is not None and word.stop > word.start:
            return word.start, word.stop
        for index, text in enumerate(subject.words):
            if text.partition("=")[0].replace("_", "-") == name.replace("_", "-"):
                place = subject.place(index, index + 1)
                if place is not None:
                    return place
    if "problems" in finding.rule.reads and subject.parsed.problems:
        span = subject.parsed.problems[0].span
        if (place := subject.place(span.start, span.stop)) is not None:
            return place
    return _head(subject)


def _head(subject: Subject) -> tuple[int, int]:
    """``vllm serve MODEL``, or whatever starts it."""
    span = subject.parsed.model_span
    last = span.stop if span is not None else 1
    words = [word for word in subject.command.words[:last] if word.own] or list(subject.command.words[:1])
    return words[0].start, words[-1].stop if words[-1].stop > words[0].start else words[0].stop


def _unexpected(subject: Subject, verdict: LaunchVerdict) -> list[FileFinding]:
    expected = subject.command.expected
    if expected is None or expected == verdict.value or (expected == "starts" and verdict is LaunchVerdict.TIGHT):
        return []
    start, stop = _head(subject)
    because = f"the entry expects {expected}, the verdict is {verdict.value}"
    return [
        FileFinding(
            "unexpected-verdict", Severity.ERROR, "an entry does not do what it is expected to do", because, start, stop
        )
    ]
