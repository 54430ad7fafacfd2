"""Findings about the commands of a document, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from qcmatrix.assess import Assessment, Assessor, LaunchVerdict
from qcmatrix.documents.found import Document
from qcmatrix.errors import UserError
from qcmatrix.fixes import Offer, offered
from qcmatrix.launch.command import CONTAINER_TOOLS
from qcmatrix.lint.standins import common_findings
from qcmatrix.lint.subject import Subject, Wishes, subjects_of
from qcmatrix.rules.declare import Breach, Fix, Severity, Unknown
from qcmatrix.rules.judge import Finding

__all__ = ["FileFinding", "Judged", "judge_document", "judge_subject"]

_ENDS_EARLY = "a continuation line is cut off"
_UNEXPECTED = "an entry does not do what it is expected to do"
_OPEN_BIND = "open-bind-without-key"
_UNSEEN = "options-that-were-not-seen"
_BY_NAME = frozenset({"api-key-on-command-line", "deprecated-flag", "environment-variable-without-effect",
                      "max-seq-len-to-capture-without-effect"})  # fmt: skip
"""They look at what is given, not at its value."""
_READ_AS = {
    "max_model_len": ("context",),
    "hf_overrides": ("rope", "override_keys"),
    "rope_scaling": ("rope",),
    "quantization": ("quantization_flag",),
    "served_model_name": ("served_model_names",),
    "speculative_config": ("speculation",),
    "kv_transfer_config": ("kv_transfer",),
    "swap_space": ("swap_space_gib",),
    "compilation_config": ("cudagraph_mode", "optimization_level"),
}
"""Under which other names rules read an option."""


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
        kept = [each for each in assessment.findings if _tells(subject, each)]
        findings = [_found(subject, each, offered(assessor, assessment, each)) for each in kept]
        verdict = _verdict(assessment, kept)
        findings += _unexpected(subject, verdict)
        return Judged(subject, verdict, assessment, (*notes, *findings))
    common = common_findings(subject, lambda each: _tells(subject, each))
    return Judged(subject, None, None, (*notes, *(_found(subject, each, offer) for each, offer in common)))


def _bare(command: object) -> Subject:
    from qcmatrix.catalogue.releases import load_release, newest_release
    from qcmatrix.launch.launch import Launch
    from qcmatrix.launch.parsed import Parsed

    empty = Parsed(Launch(""), {}, None, ())
    return Subject(command, (), empty, load_release(newest_release()), None, None, "newest")  # type: ignore[arg-type]


def _tells(subject: Subject, finding: Finding) -> bool:
    """Is it a finding? That a value is not known is told beside the command: nothing is wrong with it."""
    if finding.rule.id == _UNSEEN and isinstance(finding.verdict, Unknown):
        return False
    return not _rests_on_unseen(subject, finding)


def _rests_on_unseen(subject: Subject, finding: Finding) -> bool:
    """Does it speak of a value that the file does not say, and so of one that nobody gave?"""
    if not subject.unseen or finding.rule.id in _BY_NAME:
        return False
    about = finding.verdict.about if isinstance(finding.verdict, Breach) else ()
    read = {name for dest in subject.unseen for name in (dest, *_READ_AS.get(dest, ()))}
    in_env = any(name.isupper() for name in subject.unseen)
    return (
        bool(read & set(finding.rule.reads))
        or bool(subject.unseen & set(about))
        or (in_env and isinstance(finding.verdict, Unknown) and "env" in finding.rule.reads)
    )


def _verdict(assessment: Assessment, kept: Sequence[Finding]) -> LaunchVerdict:
    """The verdict that the findings which are left allow: without one that rests on an unknown value, it is unknown."""
    verdict = msgspec.structs.replace(assessment, findings=tuple(kept)).verdict
    serves = verdict in (LaunchVerdict.STARTS, LaunchVerdict.TIGHT)
    return LaunchVerdict.UNKNOWN if serves and verdict is not assessment.verdict else verdict


def _found(subject: Subject, finding: Finding, offer: Offer | None) -> FileFinding:
    verdict, rule = finding.verdict, finding.rule
    start, stop = _place(subject, finding)
    severity = finding.severity
    if rule.id == _OPEN_BIND and _is_contained(subject):
        severity, offer = Severity.INFO, None  # what a container publishes decides, and it must bind more than itself
    if offer is not None and offer.fix.safe and _loses(subject, offer.fix):
        offer = msgspec.structs.replace(offer, fix=msgspec.structs.replace(offer.fix, safe=False))
    about_words = isinstance(verdict, Breach) and "problems" in rule.reads
    return FileFinding(
        rule=rule.id,
        severity=severity,
        title=rule.title if isinstance(verdict, Breach) else f"cannot be told: {rule.title}",
        because=verdict.because,
        start=start,
        stop=stop,
        error=verdict.error if isinstance(verdict, Breach) else "",
        known=f"holds for vLLM {rule.holds} (judged: {subject.release.name}); {rule.known}",
        offer=offer,
        certain=about_words or not subject.command.open_ended,
    )


def _loses(subject: Subject, fix: Fix) -> bool:
    """Does it write over something that the command gives and that it does not say again?"""
    options = subject.parsed.launch.options
    for dest, new in fix.set.items():
        old = options.get(dest)
        if isinstance(old, Mapping):
            if not isinstance(new, Mapping) or not old.keys() <= new.keys():
                return True
        elif fix.drop_words and old is not None and old != new:
            return True
    return False


def _is_contained(subject: Subject) -> bool:
    if subject.command.contained:
        return True
    prefix = subject.parsed.prefix
    shares = any(
        word in ("--network=host", "--net=host") or (word in ("--network", "--net") and behind == "host")
        for word, behind in zip(prefix, (*prefix[1:], ""), strict=False)
    )
    return any(word.rpartition("/")[2] in CONTAINER_TOOLS for word in prefix) and not shares


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
