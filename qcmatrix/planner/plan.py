"""A plan: a launch with its footprint, findings and bounds; a hint: a plan for a changed wish."""

from __future__ import annotations

from functools import cached_property

import msgspec

from qcmatrix.assess import Assessment
from qcmatrix.latency.roofline import Bounds, bounds, decode_step_seconds
from qcmatrix.planner.request import Request
from qcmatrix.planner.space import Shape

__all__ = ["Change", "Hint", "Plan"]


class Plan(msgspec.Struct, frozen=True, dict=True):
    """One launch that answers a request."""

    request: Request
    shape: Shape
    assessment: Assessment

    @cached_property
    def latency(self) -> Bounds:
        """What the hardware's peak cannot beat."""
        return bounds(self.assessment.deployment)

    @property
    def context(self) -> int:
        """Tokens served."""
        return self.assessment.deployment.context

    @property
    def kv_tokens(self) -> float:
        """KV cache tokens of all engines together, middle of the interval."""
        ledger = self.assessment.footprint
        return 0.0 if ledger is None else ledger.kv_tokens.mid * self.shape.data_parallel_size

    @property
    def concurrency(self) -> float:
        """Requests of the whole context at once, all engines together."""
        ledger = self.assessment.footprint
        return 0.0 if ledger is None else ledger.max_concurrency.mid * self.shape.data_parallel_size

    @property
    def running(self) -> float:
        """Requests of the whole context that run at once, all engines together, as cache and sequence limit allow."""
        limit = self.assessment.deployment.max_num_seqs * self.shape.data_parallel_size
        return min(self.concurrency, float(limit))

    @cached_property
    def tokens_per_second(self) -> float | None:
        """About how many generated tokens a second the peak allows when the KV cache is full of whole contexts.

        Pipeline stages work on different requests at the same time: each step carries its share of them.
        """
        deployment = self.assessment.deployment
        engines = self.shape.data_parallel_size
        each = max(1.0, self.running / engines)
        batch = max(1.0, each / self.shape.pipeline_parallel_size)
        step = decode_step_seconds(deployment, deployment.context, batch, engines=engines)
        return None if step is None else each * engines / step


class Change(msgspec.Struct, frozen=True):
    """One thing to ask for differently."""

    kind: str
    """``context``, ``kv-cache-dtype``, ``model``, ``gpus``, ``gpu-memory-utilization``, ``max-num-seqs``, ``vllm``."""
    text: str
    request: Request


class Hint(msgspec.Struct, frozen=True):
    """A change, and the plan that it makes possible."""

    change: Change
    plan: Plan
