"""The answer to ``qcmatrix explain``: one log, told."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from qcmatrix.answers.build import argv_of, env_of, finding_answer
from qcmatrix.answers.explain_fixes import Solver
from qcmatrix.answers.explain_launch import Known, known_of, least
from qcmatrix.answers.explain_schema import (
    EXPLAIN_SCHEMA,
    ExplainAnswer,
    FailureAnswer,
    LaunchRead,
    MeasuredAnswer,
    PredictedAnswer,
    StateName,
    SymptomAnswer,
)
from qcmatrix.answers.schema import Estimate, FindingAnswer
from qcmatrix.assess import Assessment, Assessor
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.releases import Release
from qcmatrix.errors import UserError
from qcmatrix.fixes import judged_fixes
from qcmatrix.launch.secrets import scrub, scrub_tokens
from qcmatrix.memory.ledger import Footprint, Interval
from qcmatrix.startup_log.cause import Cause, cause_of
from qcmatrix.startup_log.reader import Attempt, StartupLog

__all__ = ["Explained", "explain"]

_ROUNDING_GIB = 0.015
"""The log prints two digits, and what it calls weights holds some small buffers."""
_SYMPTOMS = 6
_MUCH_GIB = 1.0


class Explained(msgspec.Struct, frozen=True):
    """A log with what was found, and the published form."""

    log: StartupLog
    cause: Cause | None
    known: Known
    assessment: Assessment | None
    answer: ExplainAnswer


def explain(
    log: StartupLog, *, release: Release | None = None, fleet: Fleet | None = None, model: str | None = None
) -> Explained:
    """What ``log`` says, why it failed if it did, what would have helped, and how good the prediction was.

    Raises:
        UserError: ``model`` names nothing.
    """
    attempt = log.attempt
    cause = cause_of(attempt)
    known = known_of(attempt, release=release, fleet=fleet, checkpoint=model)
    assessor, assessment = _assessed(known)
    measured = _measured(attempt)
    failure = None if cause is None else _failure(cause)
    match = cause.known.match if cause is not None and cause.known is not None else None
    during = "" if failure is None else failure.during
    changes = Solver(known, assessor, assessment, measured.kv_gib).changes(match, during)
    findings: tuple[FindingAnswer, ...] = ()
    if assessor is not None and assessment is not None:
        fixes = judged_fixes(assessor, assessment, notes=False)
        findings = tuple(
            finding_answer(finding, fixes.get(finding.rule.id)) for finding in assessment.findings if finding.stops
        )
    answer = ExplainAnswer(
        schema=EXPLAIN_SCHEMA,
        state=_state(log, cause),
        stage=attempt.stage,
        lines=log.lines,
        starts=log.attempts,
        launch=_launch(known),
        measured=measured,
        failure=failure,
        changes=changes,
        expected=None if assessment is None else assessment.verdict.value,
        findings=findings,
        predicted=tuple(_compared(assessment, measured, failure)),
        unknown=tuple(_unknown(log, known, cause, assessment, measured)),
    )
    return Explained(log, cause, known, assessment, answer)


def _assessed(known: Known) -> tuple[Assessor | None, Assessment | None]:
    if known.release is None or known.fleet is None or known.checkpoint is None or not known.arguments.basis:
        return None, None
    assessor = Assessor(known.release, known.fleet, known.checkpoint)
    try:
        return assessor, assessor.assess(known.launch, known.arguments.problems)
    except UserError:
        return None, None


def _state(log: StartupLog, cause: Cause | None) -> StateName:
    if cause is not None:
        return "failed-after-serving" if cause.after_serving else "failed"
    if log.attempt.served_line:
        return "served"
    return "unfinished" if log.vllm else "not-a-vllm-log"


def _launch(known: Known) -> LaunchRead:
    whole = bool(known.arguments.basis)
    return LaunchRead(
        release=None if known.release is None else known.release.name,
        release_from=known.release_from,
        model=known.launch.model or None,
        facts_of=None if known.checkpoint is None else known.checkpoint.checkpoint.repository,
        fleet=None if known.fleet is None else str(known.fleet),
        fleet_from=known.fleet_from,
        argv=argv_of(known.launch, known.reading) if whole else (),
        env=env_of(known.launch),
        arguments_from=known.arguments.basis,
        arguments_line=known.arguments.line,
        unread=known.arguments.unread,
    )


def _measured(attempt: Attempt) -> MeasuredAnswer:
    readings = attempt.readings
    kv = readings.get("kv_gib", [])
    decides = min(kv, key=lambda reading: float(reading.value), default=None)

    def of_that_rank(name: str) -> float | None:
        """The figure of the process that has the least KV cache, else the largest of any."""
        found = readings.get(name, [])
        same = [reading for reading in found if decides is not None and reading.process == decides.process]
        numbers = [float(reading.value) for reading in same or found]
        return max(numbers, default=None)

    weights = of_that_rank("weights_gib")  # old releases print GB and mean 2^30 bytes
    tokens = least(readings, "kv_tokens")
    several = least(readings, "concurrency")
    length = least(readings, "concurrency_tokens")
    processes = {reading.process for name in ("weights_gib", "kv_gib") for reading in readings.get(name, ())}
    return MeasuredAnswer(
        usable_gib=least(readings, "total_gib"),
        free_at_start_gib=least(readings, "free_gib"),
        weights_gib=weights,
        activation_gib=of_that_rank("activation_gib"),
        non_torch_gib=of_that_rank("non_torch_gib"),
        graphs_gib=of_that_rank("graphs_gib"),
        kv_gib=None if decides is None else float(decides.value),
        kv_tokens=None if tokens is None else int(tokens),
        max_concurrency=several,
        concurrency_tokens=None if length is None else int(length),
        load_seconds=of_that_rank("load_seconds"),
        init_seconds=of_that_rank("init_seconds"),
        ranks=len(processes),
    )


def _failure(cause: Cause) -> FailureAnswer:
    symptoms = tuple(
        SymptomAnswer(each.line, each.match.fingerprint.title)
        for each in cause.symptoms[:_SYMPTOMS]
        if each is not cause.known
    )
    if cause.known is not None:
        match, found = cause.known.match, cause.known
        fingerprint = match.fingerprint
        return FailureAnswer(
            cause=match.cause,
            title=fingerprint.title,
            because=_masked(match.because),
            outcome=fingerprint.outcome,
            rule=fingerprint.rule,
            line=found.line,
            process=found.process,
            text=_masked(found.text),
            during=found.during,
            where=found.where,
            numbers=match.numbers,
            todo=_masked(match.todo),
            sources=fingerprint.sources,
            told=fingerprint.kind == "told",
            symptoms=symptoms,
            others=tuple(dict.fromkeys(each.match.fingerprint.id for each in cause.others)),
        )
    if cause.raised is not None:
        raised = cause.raised
        message = ": ".join(part for part in (raised.type, raised.message) if part)
        return FailureAnswer(
            cause=None,
            title="a failure that qcmatrix does not know",
            because="no fingerprint matches the first error of the log; it is quoted as it stands",
            outcome="unknown",
            rule=None,
            line=raised.line,
            process=raised.process,
            text=_masked(message),
            during="",
            where=raised.where,
            numbers={},
            todo="search the message in vLLM's issues: https://github.com/vllm-project/vllm/issues",
            sources=(),
            told=False,
            symptoms=symptoms,
            others=(),
        )
    first = cause.symptoms[0]
    return FailureAnswer(
        cause=None,
        title="the engine ended, and the log does not say why",
        because="only what followed is there: the cause stood before it, in lines that this text does not hold, or the "
        "process was killed",
        outcome="unknown",
        rule=None,
        line=first.line,
        process=first.process,
        text=_masked(first.text),
        during="",
        where="",
        numbers={},
        todo="give the whole log from the first line on (docker logs, kubectl logs --previous); `dmesg` tells of a "
        "process that the kernel killed",
        sources=first.match.fingerprint.sources,
        told=False,
        symptoms=symptoms[1:],
        others=(),
    )


def _masked(text: str) -> str:
    return scrub(scrub_tokens(text), frozenset())


def _compared(
    assessment: Assessment | None, measured: MeasuredAnswer, failure: FailureAnswer | None
) -> Iterator[PredictedAnswer]:
    ledger = None if assessment is None else assessment.footprint
    if assessment is None or ledger is None:
        return
    beside = ("weights", "rotary table", "allocator rounding")
    if measured.weights_gib is not None:
        # vLLM's "weights" hold the rotary table and what the allocator rounds up.
        weights = _sum(ledger, beside)
        yield _one("weights", weights, measured.weights_gib, spread=max(_ROUNDING_GIB, 0.002 * weights.mid))
    for name, value in (
        ("activations", measured.activation_gib),
        ("non-torch", measured.non_torch_gib),
        ("cuda graphs", measured.graphs_gib),
    ):
        terms = _sum(ledger, (name,))
        if value is not None and any(term.name == name for term in ledger.terms):
            yield _one(name, terms, value, spread=_ROUNDING_GIB)
    if measured.kv_gib is not None:
        yield _one("KV cache", ledger.kv_gib, measured.kv_gib, spread=_ROUNDING_GIB)
    if failure is not None and (needed := failure.numbers.get("needed")):
        exact = Interval.exact(ledger.needed_kv_gib)
        yield _one("KV cache of one request", exact, needed, spread=max(_ROUNDING_GIB, 0.01 * needed))
    if failure is not None and (estimated := failure.numbers.get("estimated")):
        yield _one("largest context", ledger.max_context, estimated, "tokens", spread=64)
    if measured.kv_tokens is not None:
        yield _one("KV cache", ledger.kv_tokens, measured.kv_tokens, "tokens", spread=64)
    if measured.max_concurrency is not None and measured.concurrency_tokens == assessment.deployment.context:
        yield _one(
            "requests of the whole context", ledger.max_concurrency, measured.max_concurrency, "requests", spread=0.01
        )


def _sum(ledger: Footprint, names: tuple[str, ...]) -> Interval:
    total = Interval.exact(0.0)
    for term in ledger.terms:
        if term.name in names:
            total = total + term.gib
    return total


def _one(name: str, predicted: Interval, measured: float, unit: str = "GiB", *, spread: float) -> PredictedAnswer:
    digits = 0 if unit == "tokens" else 2
    estimate = Estimate(*(round(value, digits) for value in (predicted.low, predicted.mid, predicted.high)))
    inside = predicted.low - spread <= measured <= predicted.high + spread
    return PredictedAnswer(name, unit, estimate, measured, inside)  # type: ignore[arg-type]


def _unknown(
    log: StartupLog, known: Known, cause: Cause | None, assessment: Assessment | None, measured: MeasuredAnswer
) -> Iterator[str]:
    if not log.vllm and cause is None:
        yield "nothing in the text is vLLM's"
        return
    if log.passed_over:
        yield f"{log.passed_over:,} lines behind the first 60,000 of a start: not looked at, being no start's"
    if known.release is None:
        yield "the release: the log does not name it (give --vllm)"
    if not known.arguments.basis:
        yield "the arguments: no line of the log holds them (its head is missing?)"
    elif not known.launch.model:
        yield "the model: the arguments do not name it (give --model)"
    if known.launch.model and known.checkpoint is None:
        name = known.launch.model
        yield f"the facts of {name}: it is not in the catalogue (give --model: a short name or its config.json)"
    if known.fleet is None:
        yield "the GPUs: the log does not name the card (give --gpus, such as 8xH200)"
    if known.arguments.unread:
        yield f"the values of {', '.join(known.arguments.unread[:8])}: printed in a form that cannot be read back"
    ledger = None if assessment is None else assessment.footprint
    if ledger is not None and measured.kv_gib is not None and ledger.kv_gib.low - measured.kv_gib > _MUCH_GIB:
        missing = ledger.kv_gib.low - measured.kv_gib
        yield f"what holds {missing:.1f} GiB more per GPU than predicted: another process, or a setting not seen here"
    if cause is None and not log.attempt.served_line:
        stage = log.attempt.stage
        yield (
            f"how it ended: the log stops while {stage}"
            if stage
            else "how it ended: the log tells of neither a start nor a failure"
        )
