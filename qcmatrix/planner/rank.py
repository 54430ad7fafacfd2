"""Which plan is first, and why."""

from __future__ import annotations

from qcmatrix.assess import LaunchVerdict
from qcmatrix.planner.plan import Plan
from qcmatrix.planner.request import Goal, spell_context, spell_count
from qcmatrix.rules.declare import Severity, Unknown

__all__ = ["rank", "trade_offs", "why_first"]

_NOT_WORTH_IT = 0.05  # of the longest context
_SHORT_ANSWER = 256  # tokens of a typical tool call or answer, for the latency goal


def rank(plans: list[Plan]) -> list[Plan]:
    """Best first by the goal of their request.

    Before the goal come: a safe fit over a tight one, the 16-bit KV cache over FP8 (which costs accuracy), fewer
    warnings and doubts. After it: less memory for weights, fewer GPUs, fewer options.
    """
    safe = [plan for plan in plans if _starts(plan)]
    fewest = min(map(_warnings, safe), default=0)
    longest = max((plan.context for plan in safe if _warnings(plan) == fewest), default=0)
    return sorted(plans, key=lambda plan: _key(plan, longest))


def _starts(plan: Plan) -> bool:
    return plan.assessment.verdict is LaunchVerdict.STARTS


def _warnings(plan: Plan) -> int:
    return sum(finding.severity is Severity.WARNING for finding in plan.assessment.findings)


def _key(plan: Plan, longest: int) -> tuple[object, ...]:
    assessment = plan.assessment
    doubts = sum(isinstance(finding.verdict, Unknown) for finding in assessment.findings)
    fp8_kv = assessment.deployment.kv_cache_dtype.startswith("fp8")
    weights = assessment.footprint.weights_bytes if assessment.footprint else 0
    return (
        not _starts(plan),
        fp8_kv if plan.request.goal is not Goal.CONTEXT else False,
        _warnings(plan),
        doubts if plan.request.goal is not Goal.CONTEXT else 0,
        *_goal_key(plan, longest),
        doubts,
        weights,
        plan.shape.gpus,
        len(assessment.launch.options),
        plan.shape.tensor_parallel_size,
    )


def _goal_key(plan: Plan, longest: int) -> tuple[float, ...]:
    tokens_per_second = plan.tokens_per_second or 0.0
    match plan.request.goal:
        case Goal.CONTEXT:
            # A longer context that holds is what was asked for, but a few percent are not worth the accuracy of the
            # 16-bit KV cache, most of the sequences, or a pipeline.
            short = plan.context < (1 - _NOT_WORTH_IT) * longest
            fp8 = plan.assessment.deployment.kv_cache_dtype.startswith("fp8")
            fewer = "max_num_seqs" in plan.assessment.launch.options
            pipeline = plan.shape.pipeline_parallel_size
            return (float(short), float(fp8 + fewer), float(pipeline), -float(plan.context), -tokens_per_second)
        case Goal.LATENCY:
            first = plan.latency.prefill_seconds or float("inf")
            each = (plan.latency.decode_milliseconds or float("inf")) / 1000
            return (first + _SHORT_ANSWER * each,)
        case Goal.THROUGHPUT:
            return (-tokens_per_second, -plan.kv_tokens)
        case Goal.FEWEST_GPUS:
            return (float(plan.shape.gpus), -tokens_per_second)


def why_first(plan: Plan) -> str:
    """One sentence: what made it first."""
    fits = "fits safely" if plan.assessment.verdict is LaunchVerdict.STARTS else "may just fit"
    match plan.request.goal:
        case Goal.CONTEXT:
            whole = plan.context == plan.request.checkpoint.architecture.max_position_embeddings
            longest = "the whole native context" if whole else "the longest context but for a few percent"
            reason = f"{fits}, with {longest}: {spell_context(plan.context)} tokens"
        case Goal.LATENCY:
            reason = f"{fits}, with the lowest bound on the first {_SHORT_ANSWER} tokens of one request"
        case Goal.THROUGHPUT:
            reason = (
                f"{fits}, with the highest throughput bound: {spell_count(plan.running)} requests of "
                f"{spell_context(plan.context)} tokens at once over all engines"
            )
        case Goal.FEWEST_GPUS:
            reason = f"{fits} on the fewest GPUs: {plan.shape.gpus} of {plan.request.fleet.count}"
    return reason


def trade_offs(plan: Plan, first: Plan) -> str:
    """What ``plan`` gives and takes against ``first``: short phrases joined by commas; never empty."""
    phrases = []
    if plan.shape.gpus != first.shape.gpus:
        phrases.append(f"{plan.shape.gpus} GPUs instead of {first.shape.gpus}")
    if plan.context != first.context:
        phrases.append(f"context {spell_context(plan.context)} instead of {spell_context(first.context)}")
    ours, theirs = plan.kv_tokens, first.kv_tokens
    if theirs and abs(ours / theirs - 1) >= 0.05:
        phrases.append(f"KV cache {ours / theirs - 1:+.0%}")
    latency, best = plan.latency.decode_milliseconds, first.latency.decode_milliseconds
    if latency and best and abs(latency / best - 1) >= 0.05:
        phrases.append(f"time per token bound {latency / best - 1:+.0%}")
    prefill, best_prefill = plan.latency.prefill_seconds, first.latency.prefill_seconds
    if prefill and best_prefill and abs(prefill / best_prefill - 1) >= 0.05:
        phrases.append(f"first token bound {prefill / best_prefill - 1:+.0%}")
    if plan.assessment.verdict is LaunchVerdict.TIGHT:
        phrases.append("tight: may not start")
    if plan.assessment.deployment.kv_cache_dtype != first.assessment.deployment.kv_cache_dtype:
        phrases.append(f"KV cache type {plan.assessment.deployment.kv_cache_dtype}")
    return ", ".join(phrases) or "the same figures"
