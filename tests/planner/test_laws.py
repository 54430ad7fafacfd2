"""Laws of the planner, on wishes drawn at random."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from qcmatrix.assess import Assessor, LaunchVerdict
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.launch.parse import parse
from qcmatrix.launch.render import render
from qcmatrix.planner.plan import Plan
from qcmatrix.planner.relax import minimal_conflict, nearest_changes, wishes_of
from qcmatrix.planner.request import Goal, Request
from qcmatrix.planner.search import search
from qcmatrix.rules.declare import Unknown

RELEASES = ("0.10.0", "0.11.0", "0.12.0", "0.16.0", "0.19.0", "0.22.1", "0.25.1", "0.29.0", "0.30.0", "0.33.0")
FLEETS = (
    "1xRTX4090-48",
    "2xRTX5090",
    "4xH100-80",
    "8xH20-96",
    "8xH20-141",
    "8xH200",
    "2x8xH100-80",
    "8xL40S",
    "4xA100-80",
)
MODELS = ("480b-fp8", "480b", "30b-fp8", "30b", "next-fp8")
CONTEXTS = (None, 8192, 32768, 131072, 200_000, 262_144, 524_288, 1_048_576)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    (fleet,) = parse_fleet(draw(st.sampled_from(FLEETS)))
    return Request(
        fleet=fleet,
        checkpoint=find_checkpoint(draw(st.sampled_from(MODELS))),
        release=load_release(draw(st.sampled_from(RELEASES))),
        context=draw(st.sampled_from(CONTEXTS)),
        goal=draw(st.sampled_from(list(Goal))),
        kv_cache_dtype=draw(st.sampled_from((None, "auto", "fp8"))),
        gpu_memory_utilization=draw(st.sampled_from((None, 0.8, 0.95))),
        max_num_seqs=draw(st.sampled_from((None, None, 1, 64))),
        concurrency=draw(st.sampled_from((1, 1, 4))),
    )


SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SLOW
@given(requests())
def test_a_suggestion_never_breaches(request_: Request) -> None:
    """Judged from its printed words by a judge that has seen nothing else, each plan serves, at the context asked."""
    for plan in search(request_).plans[:4]:
        words = render(plan.assessment.launch, request_.release)
        parsed = parse(words, request_.release, env=plan.assessment.launch.env)
        assert parsed.launch == plan.assessment.launch
        assert not [problem for problem in parsed.problems if problem.refused]
        fresh = Assessor(request_.release, request_.fleet, request_.checkpoint).assess(parsed.launch)
        assert fresh.verdict in (LaunchVerdict.STARTS, LaunchVerdict.TIGHT)
        assert not [finding for finding in fresh.findings if finding.stops]
        assert plan.shape.gpus <= request_.fleet.count
        if request_.context is not None:
            assert fresh.deployment.context == request_.context


@SLOW
@given(requests())
def test_the_order_follows_the_goal(request_: Request) -> None:
    """Among plans of equal safety and KV cache type, none further down is better at the goal."""
    plans = search(request_).plans
    safe = [plan for plan in plans if plan.assessment.verdict is LaunchVerdict.STARTS]
    if safe and request_.goal is Goal.CONTEXT and _warnings(safe[0]) == min(map(_warnings, safe)):
        assert plans[0].context >= 0.95 * max(p.context for p in safe if _warnings(p) == _warnings(safe[0]))
    for first, second in itertools.pairwise(plans):
        if first.assessment.verdict is not second.assessment.verdict:
            continue
        if request_.goal is Goal.FEWEST_GPUS and _like(first, second):
            assert first.shape.gpus <= second.shape.gpus
        if request_.goal is Goal.THROUGHPUT and _like(first, second):
            assert (first.tokens_per_second or 0) >= (second.tokens_per_second or 0)
        if request_.goal is Goal.LATENCY and _like(first, second):
            assert _answer_seconds(first) <= _answer_seconds(second)


def _warnings(plan: Plan) -> int:
    return sum(finding.severity.value == "warning" for finding in plan.assessment.findings)


def _answer_seconds(plan: Plan) -> float:
    """The latency goal: the first token of the whole context, and 256 tokens of answer."""
    latency = plan.latency
    if latency.prefill_seconds is None or latency.decode_milliseconds is None:
        return float("inf")
    return latency.prefill_seconds + 256 * latency.decode_milliseconds / 1000


def _like(first: Plan, second: Plan) -> bool:
    def key(plan: Plan) -> tuple[object, ...]:
        assessment = plan.assessment
        doubts = sum(isinstance(finding.verdict, Unknown) for finding in assessment.findings)
        return (assessment.deployment.kv_cache_dtype, _warnings(plan), doubts)

    return key(first) == key(second)


@SLOW
@given(requests())
def test_more_gpus_of_the_same_kind_never_make_a_wish_impossible(request_: Request) -> None:
    if request_.fleet.nodes > 1 or not search(request_).plans:
        return
    larger = replace(request_.fleet, gpus_per_node=request_.fleet.gpus_per_node * 2)
    assert search(replace(request_, fleet=larger)).plans


@SLOW
@given(requests())
def test_a_shorter_context_is_never_harder(request_: Request) -> None:
    if request_.context is None or not search(request_).plans:
        return
    assert search(replace(request_, context=max(1024, request_.context // 2))).plans


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_hints_lead_somewhere_and_the_conflict_is_minimal(request_: Request) -> None:
    if search(request_).plans:
        return
    for hint in nearest_changes(request_):
        assert hint.plan.assessment.serves
        assert search(hint.change.request).plans
    conflict = minimal_conflict(request_)
    if not conflict or request_.gpu_memory_utilization is not None:
        return  # a utilisation has two sides: more of it leaves less for what stands outside the budget
    kept = request_
    for wish in wishes_of(request_):
        if wish.name not in {each.name for each in conflict}:
            kept = wish.freed(kept)
    assert not search(kept).plans, "the conflict alone is impossible"
    for wish in conflict:
        assert search(wish.freed(kept)).plans, f"without {wish.name} it is possible"
