"""The search: every shape of a small finite space, judged cheap before expensive, sized, ranked."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from qcmatrix.assess import Assessment, Assessor, LaunchVerdict, sized
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.launch.launch import Launch
from qcmatrix.memory.ledger import Fit
from qcmatrix.planner.launches import kv_choices, largest_positions, launch_of, native_positions
from qcmatrix.planner.plan import Plan
from qcmatrix.planner.rank import rank
from qcmatrix.planner.request import Goal, Request
from qcmatrix.planner.space import Shape, shapes
from qcmatrix.rules.declare import Outcome, Unknown
from qcmatrix.rules.judge import Finding

__all__ = ["Blocked", "Outcomes", "assessor_for", "largest_context", "search"]

_TOO_FEW_REQUESTS = "kv-cache-too-small-for-context"
_TOO_FEW_SEQUENCES = "fewer-sequences-than-asked"
_NOT_SIZED = "memory-not-reckoned"
_FEWER_SEQUENCES = (256, 64, 16)
"""Values of --max-num-seqs to try where the default's warm-up, graphs or state blocks are what does not fit."""
_ROUND_CONTEXT = 1024  # a context that we choose is a multiple of this: easier to read, and of every block size in use


class Blocked(msgspec.Struct, frozen=True):
    """A launch that does not answer the request, and why."""

    shape: Shape
    launch: Launch
    rule: str
    """The id of the rule that it breaks."""
    text: str
    """Why, with its numbers."""
    shortage_gib: float = 0.0
    """By how much the KV cache is too small per GPU; 0 when memory is not the reason."""


class Outcomes(msgspec.Struct):
    """What a search found: plans best first, or what blocks each launch."""

    request: Request
    plans: list[Plan] = msgspec.field(default_factory=list)
    blocked: list[Blocked] = msgspec.field(default_factory=list)
    judged: int = 0


_assessors: dict[tuple[str, ...], Assessor] = {}
_KEPT = 64


def assessor_for(release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> Assessor:
    """One assessor per release, fleet and checkpoint: its judge remembers verdicts."""
    # By name: facts hold tables, and hashing all of them for each look-up would cost more than a verdict.
    key = (release.name, str(fleet), checkpoint.repository, checkpoint.path or "")
    found = _assessors.get(key)
    if found is None or found.checkpoint is not checkpoint:
        if len(_assessors) >= _KEPT:
            _assessors.clear()
        found = _assessors[key] = Assessor(release, fleet, checkpoint)
    return found


def search(request: Request) -> Outcomes:
    """All plans for ``request``, best first; every one has been judged as a whole before it is returned.

    The space is tried in tiers, and a tier that has plans ends the search: shapes as ``_shape_tiers`` orders them, the
    16-bit KV cache before FP8 (unless the goal is context). A later tier could only rank lower. Where nothing fits for
    sure with the default of ``--max-num-seqs``, fewer sequences are tried.
    """
    outcomes = _search(request)
    if request.context is None and request.goal is Goal.CONTEXT:
        return _with_fewer_sequences(outcomes)
    if request.max_num_seqs is None and not _some_start(outcomes):
        for sequences in _FEWER_SEQUENCES:
            fewer = _search(replace(request, max_num_seqs=sequences))
            if _some_start(fewer) and sequences >= request.concurrency:
                fewer.plans = [replace(plan, request=request) for plan in fewer.plans]
                return fewer
    return outcomes


def _with_fewer_sequences(outcomes: Outcomes) -> Outcomes:
    """Where the native context was not reached: also the plans that fewer sequences leave room for."""
    request = outcomes.request
    reached = max((plan.context for plan in outcomes.plans if _starts(plan)), default=0)
    if request.max_num_seqs is not None or reached >= native_positions(request):
        return outcomes
    for sequences in _FEWER_SEQUENCES:
        fewer = _search(replace(request, max_num_seqs=sequences))
        outcomes.plans += [replace(plan, request=request) for plan in fewer.plans if _starts(plan)]
    outcomes.plans = rank(outcomes.plans)
    return outcomes


def _starts(plan: Plan) -> bool:
    return plan.assessment.verdict is LaunchVerdict.STARTS


def _some_start(outcomes: Outcomes) -> bool:
    return any(_starts(plan) for plan in outcomes.plans)


def _search(request: Request) -> Outcomes:
    if request.context is None:
        return _largest(request, native_positions(request))
    outcomes = Outcomes(request)
    assessor = assessor_for(request.release, request.fleet, request.checkpoint)
    for shapes_of_tier, kv_cache_dtypes in _tiers(request):
        for kv_cache_dtype in kv_cache_dtypes:
            for shape in shapes_of_tier:
                _try(outcomes, assessor, shape, launch_of(request, shape, request.context, kv_cache_dtype))
        if _some_start(outcomes):
            break
    outcomes.plans = rank(outcomes.plans)
    return outcomes


def _tiers(request: Request) -> Iterator[tuple[tuple[Shape, ...], tuple[str, ...]]]:
    kinds = tuple(kv_choices(request))
    for shapes_of_tier in _shape_tiers(request):
        if request.goal is Goal.CONTEXT:
            yield shapes_of_tier, kinds
        else:
            for kind in kinds:
                yield shapes_of_tier, (kind,)


def _shape_tiers(request: Request) -> Iterator[tuple[Shape, ...]]:
    """The whole fleet before parts of it (unless few GPUs are the goal), no pipeline in a node where none is needed.

    Pipeline stages within a node wait for each other, which tensor parallel ranks do not; between nodes they spare
    the slow network.
    """
    every = _shapes(request)
    flat = tuple(s for s in every if s.pipeline_parallel_size == 1 or request.fleet.nodes > 1)
    piped = tuple(s for s in every if s not in flat)
    for some in (flat, piped):
        if request.goal is Goal.FEWEST_GPUS:
            yield some
        else:
            yield tuple(shape for shape in some if shape.gpus == request.fleet.count)
    if request.goal is not Goal.FEWEST_GPUS:
        yield tuple(shape for shape in every if shape.gpus != request.fleet.count)


def largest_context(request: Request) -> Plan | None:
    """The plan with the longest context (YaRN included, up to what was asked for), or ``None``."""
    ceiling = largest_positions(request) if request.context is None else request.context
    found = _largest(request, min(ceiling, largest_positions(request)))
    return max(found.plans, key=lambda plan: plan.context, default=None)


def _largest(request: Request, ceiling: int) -> Outcomes:
    """Plans at the longest context that each shape holds for sure, up to ``ceiling`` positions."""
    outcomes = Outcomes(request)
    assessor = assessor_for(request.release, request.fleet, request.checkpoint)
    for shapes_of_tier, kv_cache_dtypes in _tiers(request):
        for kv_cache_dtype in kv_cache_dtypes:
            for shape in shapes_of_tier:
                context = _longest(request, assessor, shape, ceiling, kv_cache_dtype)
                _try(outcomes, assessor, shape, launch_of(request, shape, context, kv_cache_dtype))
        if any(plan.context == ceiling for plan in outcomes.plans):
            break
    outcomes.plans = rank(outcomes.plans)
    return outcomes


def _longest(request: Request, assessor: Assessor, shape: Shape, ceiling: int, kv_cache_dtype: str) -> int:
    """The longest context that the low end of the prediction holds, in whole multiples; at least one of those."""
    launch = launch_of(request, shape, ceiling, kv_cache_dtype)
    deployment = assessor.resolve(launch)
    if any(finding.stops for finding in assessor.cheap(deployment)):
        return ceiling  # no context mends it: let it be blocked for what it is
    ledger = sized(deployment)
    if ledger is None:
        return ceiling
    # Requests that do not share an engine do not share its KV cache either.
    per_engine = -(-request.concurrency // shape.data_parallel_size)
    held = int(ledger.max_context.low) // per_engine
    if held >= ceiling:
        return ceiling
    return min(ceiling, max(_ROUND_CONTEXT, held // _ROUND_CONTEXT * _ROUND_CONTEXT))


def _shapes(request: Request) -> tuple[Shape, ...]:
    experts = request.checkpoint.architecture.moe is not None
    return shapes(request.fleet.nodes, request.fleet.gpus_per_node, experts)


def _try(outcomes: Outcomes, assessor: Assessor, shape: Shape, launch: Launch) -> None:
    outcomes.judged += 1
    request = outcomes.request
    deployment = assessor.resolve(launch)
    cheap = assessor.cheap(deployment)
    stopped = next((finding for finding in cheap if finding.stops), None)
    if stopped is not None:
        outcomes.blocked.append(Blocked(shape, launch, stopped.rule.id, stopped.verdict.because))
        return
    ledger = sized(deployment)
    if ledger is None:
        text = f"no memory ledger can be made for a KV cache of type {deployment.kv_cache_dtype} in this shape"
        outcomes.blocked.append(Blocked(shape, launch, _NOT_SIZED, text))
        return
    assessment = assessor.finish(launch, deployment, cheap, ledger)
    if not assessment.serves:
        shortage = max(0.0, ledger.needed_kv_gib - ledger.kv_gib.high) if ledger.fit is Fit.DOES_NOT_FIT else 0.0
        finding = _reason(assessment)
        if finding is None:
            text = f"it needs {ledger.needed_kv_gib:.2f} GiB of KV cache per GPU and has {ledger.kv_gib.mid:.2f}"
            outcomes.blocked.append(Blocked(shape, launch, _TOO_FEW_REQUESTS, text, shortage))
        else:
            outcomes.blocked.append(Blocked(shape, launch, finding.rule.id, finding.verdict.because, shortage))
        return
    sequences = deployment.max_num_seqs * shape.data_parallel_size
    if sequences < request.concurrency:
        text = f"--max-num-seqs lets {sequences} requests run at once, not {request.concurrency}"
        outcomes.blocked.append(Blocked(shape, launch, _TOO_FEW_SEQUENCES, text))
        return
    if ledger.max_concurrency.mid * shape.data_parallel_size < request.concurrency:
        held = ledger.max_concurrency.mid * shape.data_parallel_size
        shortage = ledger.needed_kv_gib * (request.concurrency - held) / shape.data_parallel_size
        text = (
            f"its KV cache holds {held:.2f} requests of {deployment.context} tokens at once, not {request.concurrency}"
        )
        outcomes.blocked.append(Blocked(shape, launch, _TOO_FEW_REQUESTS, text, shortage))
        return
    outcomes.plans.append(Plan(request, shape, assessment))


def _reason(assessment: Assessment) -> Finding | None:
    """The finding that decides the verdict; ``None``: the ledger alone does."""
    stopping = [finding for finding in assessment.findings if finding.stops]
    memory = [finding for finding in stopping if finding.outcome is Outcome.DOES_NOT_FIT]
    undecided = [f for f in assessment.findings if isinstance(f.verdict, Unknown) and f.verdict.decides]
    return next(iter(memory or stopping or undecided), None)
