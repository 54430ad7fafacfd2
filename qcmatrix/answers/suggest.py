"""The answer to ``qcmatrix suggest``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from qcmatrix.answers.build import hint_answer, plan_answer
from qcmatrix.answers.schema import (
    SUGGEST_SCHEMA,
    AskedAnswer,
    HintAnswer,
    PlanAnswer,
    ReasonAnswer,
    RefusalAnswer,
    SuggestAnswer,
)
from qcmatrix.assess import LaunchVerdict
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.fixes import judged_fixes
from qcmatrix.planner.explain import reasons
from qcmatrix.planner.lineup import families
from qcmatrix.planner.plan import Hint, Plan
from qcmatrix.planner.rank import trade_offs, why_first
from qcmatrix.planner.request import Goal, Request
from qcmatrix.planner.search import Blocked, Outcomes, assessor_for, search

__all__ = ["Ask", "Wishes", "suggest"]

_REASONS = 4  # more broken rules than this bury the one that matters
_REFUSED = "refused-by-your-vllm"
_MOST_ASKED = 12  # plans of one search: when none of so many is taken, the next will not be either

Ask = Callable[[Plan], AskedAnswer]
"""Asks the vLLM that will run a plan whether it takes it."""


class Wishes(msgspec.Struct, frozen=True):
    """What the user asked for, fleets and models not yet paired."""

    fleets: tuple[Fleet, ...]
    checkpoints: tuple[ResolvedCheckpoint, ...]
    """Empty: the Qwen3-Coder line-up."""
    template: Request
    """Everything else; its fleet and checkpoint are replaced."""
    top: int = 3
    """Plans per fleet and model."""


class _Asked:
    """The plans that ``ask`` was asked about. Without ``ask`` every plan is as good as the rules say."""

    def __init__(self, ask: Ask | None) -> None:
        self._ask = ask
        self._answers: dict[int, tuple[Plan, AskedAnswer]] = {}  # the plan is kept so that its id stays its own
        self.refused: list[Plan] = []

    def of(self, plan: Plan) -> AskedAnswer | None:
        """What was answered; ``None``: nobody was asked."""
        if self._ask is None:
            return None
        if id(plan) not in self._answers:
            self._answers[id(plan)] = plan, self._ask(plan)
        return self._answers[id(plan)][1]

    def weed(self, outcomes: Outcomes, wanted: int) -> Outcomes:
        """``outcomes`` with the first ``wanted`` plans that are not refused; those that are count as blocked."""
        if self._ask is None:
            return outcomes
        kept: list[Plan] = []
        for plan in outcomes.plans[:_MOST_ASKED]:
            if len(kept) == wanted:
                break
            answer = self.of(plan)
            if answer is None or answer.says != "refuses":
                kept.append(plan)
                continue
            self.refused.append(plan)
            outcomes.blocked.append(Blocked(plan.shape, plan.assessment.launch, _REFUSED, answer.text))
        outcomes.plans = kept
        return outcomes

    def takes(self, hint: Hint, release: str) -> bool:
        """Is the hint's plan not refused? Of another release nobody can be asked."""
        if self._ask is None or hint.plan.request.release.name != release:
            return True
        answer = self.of(hint.plan)
        return answer is None or answer.says != "refuses"

    def of_hint(self, hint: Hint) -> AskedAnswer | None:
        """What was answered about the hint's plan, if it was asked."""
        found = self._answers.get(id(hint.plan))
        return None if found is None else found[1]


def suggest(wishes: Wishes, ask: Ask | None = None) -> SuggestAnswer:
    """Plans, or why there is none and what would help.

    With models named, each is answered for. Without, the line-up is tried strongest first, of each model the first
    checkpoint that fits: the first model gets ``top`` plans, the weaker ones their best plan each.

    ``ask`` is asked about every plan before it is offered; what it refuses is told apart, and is no plan.
    """
    asked = _Asked(ask)
    plans: list[PlanAnswer] = []
    refusals: list[RefusalAnswer] = []
    hints: list[HintAnswer] = []
    named = bool(wishes.checkpoints)
    for fleet in wishes.fleets:
        found = _search_named(wishes, fleet, asked) if named else _search_line_up(wishes, fleet, asked)
        # A weaker model that starts serves more than a stronger one that may not.
        fitting = sorted((outcomes for outcomes in found if outcomes.plans), key=_is_tight)
        missing = [outcomes for outcomes in found if not outcomes.plans]
        for index, outcomes in enumerate(fitting):
            top = wishes.top if named or index == 0 else 1
            plans.extend(_plans(outcomes.plans[:top], asked))
        refusals.extend(_refusal(outcomes, conflict=named or not fitting) for outcomes in missing)
        if missing and (named or not fitting):
            hints.extend(_hints(missing if named else _worth_a_hint(missing), asked))
    return SuggestAnswer(
        schema=SUGGEST_SCHEMA,
        request=_request(wishes),
        plans=tuple(plans),
        refusals=tuple(refusals),
        hints=tuple(hints),
        refused=tuple(plan_answer(plan, "refused", {}, asked.of(plan)) for plan in asked.refused),
    )


def _search_named(wishes: Wishes, fleet: Fleet, asked: _Asked) -> list[Outcomes]:
    return [_searched(wishes, fleet, checkpoint, asked) for checkpoint in wishes.checkpoints]


def _search_line_up(wishes: Wishes, fleet: Fleet, asked: _Asked) -> list[Outcomes]:
    found = []
    for family in families():
        for checkpoint in family:
            found.append(_searched(wishes, fleet, checkpoint, asked))
            if found[-1].plans:
                break
    return found


def _searched(wishes: Wishes, fleet: Fleet, checkpoint: ResolvedCheckpoint, asked: _Asked) -> Outcomes:
    found = search(msgspec.structs.replace(wishes.template, fleet=fleet, checkpoint=checkpoint))
    return asked.weed(found, wishes.top)


def _is_tight(outcomes: Outcomes) -> bool:
    return outcomes.plans[0].assessment.verdict is LaunchVerdict.TIGHT


def _plans(plans: list[Plan], asked: _Asked) -> list[PlanAnswer]:
    first = plans[0]
    return [
        plan_answer(plan, why_first(plan) if plan is first else trade_offs(plan, first), _fixes(plan), asked.of(plan))
        for plan in plans
    ]


def _fixes(plan: Plan) -> dict[str, str]:
    request = plan.request
    return judged_fixes(assessor_for(request.release, request.fleet, request.checkpoint), plan.assessment, notes=False)


def _refusal(outcomes: Outcomes, *, conflict: bool) -> RefusalAnswer:
    from qcmatrix.planner.relax import minimal_conflict

    request = outcomes.request
    return RefusalAnswer(
        fleet=str(request.fleet),
        model=request.checkpoint.checkpoint.repository,
        because=tuple(ReasonAnswer(reason.rule, reason.text) for reason in reasons(outcomes)[:_REASONS]),
        conflict=tuple(wish.text for wish in minimal_conflict(request)) if conflict else (),
    )


def _hints(missing: list[Outcomes], asked: _Asked) -> list[HintAnswer]:
    """The nearest changes first, whichever model they speak of."""
    from qcmatrix.planner.relax import distance, nearest_changes  # only on the way to a refusal

    found = [(outcomes.request, hint) for outcomes in missing for hint in nearest_changes(outcomes.request)]
    near = sorted(found, key=lambda pair: distance(*pair))
    return [hint_answer(hint, asked.of_hint(hint)) for request, hint in near if asked.takes(hint, request.release.name)]


def _worth_a_hint(missing: list[Outcomes]) -> list[Outcomes]:
    """With no model named: the strongest of the line-up, and the smallest, which asks for the smallest change."""
    return [missing[0], missing[-1]] if len(missing) > 1 else missing


def _request(wishes: Wishes) -> dict[str, Any]:
    template = wishes.template
    return {
        "gpus": [str(fleet) for fleet in wishes.fleets],
        "models": [checkpoint.checkpoint.repository for checkpoint in wishes.checkpoints] or "qwen3-coder",
        "context": template.context,
        "vllm": template.release.name,
        "goal": template.goal.value if isinstance(template.goal, Goal) else template.goal,
        "concurrency": template.concurrency,
        "kv_cache_dtype": template.kv_cache_dtype,
        "gpu_memory_utilization": template.gpu_memory_utilization,
        "max_num_seqs": template.max_num_seqs,
        "max_num_batched_tokens": template.max_num_batched_tokens,
    }
