"""The nearest changes that make an impossible wish possible; each is solved again before it is offered."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import msgspec
from msgspec.structs import replace

from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.catalogue.releases import load_release, newest_release
from qcmatrix.planner.lineup import siblings
from qcmatrix.planner.plan import Change, Hint
from qcmatrix.planner.request import Request, spell_context
from qcmatrix.planner.search import largest_context, search

__all__ = ["Wish", "distance", "minimal_conflict", "nearest_changes", "wishes_of"]

_UTILIZATIONS = (0.95, 0.97)
_FEW_SEQUENCES = 16
_MOST_NODES = 4


def nearest_changes(request: Request) -> list[Hint]:
    """Changes to ``request`` that lead to a plan, one per kind, nearest first; pairs where none helps."""
    hints = []
    context = _shorter_context(request)
    if context is not None:
        hints.append(context)
    for kind in _KINDS:
        hint = _first_that_helps(kind(request))
        if hint is not None:
            hints.append(hint)
    return sorted(hints or _pairs(request), key=lambda hint: distance(request, hint))


def distance(request: Request, hint: Hint) -> float:
    """How far a change is from the wish: settings, then the release, then doublings of context or GPUs, or a model."""
    far = 0.0
    for kind in hint.change.kind.split("+"):
        match kind:
            case "context" if request.context is not None:
                far += 2 + math.log2(request.context / hint.plan.context)
            case "gpus":
                far += 3 + math.log2(hint.change.request.fleet.count / request.fleet.count)
            case "model":
                far += 4
            case "vllm":
                far += 2
            case _:
                far += 1
    return far


def _first_that_helps(changes: Iterator[Change]) -> Hint | None:
    for change in changes:
        plans = search(change.request).plans
        if plans:
            return Hint(change, plans[0])
    return None


def _shorter_context(request: Request) -> Hint | None:
    plan = largest_context(request)
    if plan is None or (request.context is not None and plan.context >= request.context):
        return None
    text = f"ask for a context of {spell_context(plan.context)} tokens"
    return Hint(Change("context", text, replace(request, context=plan.context)), plan)


def _shorter_and(changes: Iterator[Change]) -> Hint | None:
    """A shorter context together with the first change that makes one possible."""
    for change in changes:
        found = _shorter_context(change.request)
        if found is not None:
            text = f"{change.text} and {found.change.text}"
            return Hint(Change(f"{change.kind}+context", text, found.change.request), found.plan)
    return None


def _kv_cache_dtypes(request: Request) -> Iterator[Change]:
    if request.kv_cache_dtype is not None:
        for value in ("auto", "fp8"):
            if value != request.kv_cache_dtype:
                text = f"use --kv-cache-dtype {value}"
                yield Change("kv-cache-dtype", text, replace(request, kv_cache_dtype=value))


def _utilizations(request: Request) -> Iterator[Change]:
    default = request.release.file.gpu_memory_utilization
    now = request.gpu_memory_utilization or default
    for value in (default, *_UTILIZATIONS):
        if value != now:
            text = f"{'raise' if value > now else 'lower'} --gpu-memory-utilization to {value:g}"
            yield Change("gpu-memory-utilization", text, replace(request, gpu_memory_utilization=value))


def _sequences(request: Request) -> Iterator[Change]:
    # The search tries fewer by itself unless the wish says how many.
    if request.max_num_seqs is not None and request.max_num_seqs < request.concurrency:
        text = f"raise --max-num-seqs to {request.concurrency}"
        yield Change("max-num-seqs", text, replace(request, max_num_seqs=request.concurrency))
    for value in (512, 256, 128, 64, _FEW_SEQUENCES):
        if request.max_num_seqs is not None and value < request.max_num_seqs:
            text = f"lower --max-num-seqs to {value}"
            yield Change("max-num-seqs", text, replace(request, max_num_seqs=value))


def _batched_tokens(request: Request) -> Iterator[Change]:
    if request.max_num_batched_tokens is not None:
        text = "leave --max-num-batched-tokens at its default"
        yield Change("max-num-batched-tokens", text, replace(request, max_num_batched_tokens=None))


def _checkpoints(request: Request) -> Iterator[Change]:
    for sibling in siblings(request.checkpoint):
        text = f"serve {sibling.checkpoint.repository}"
        yield Change("model", text, replace(request, checkpoint=sibling))


def _fleets(request: Request) -> Iterator[Change]:
    fleet = request.fleet
    for nodes, per_node in _larger(fleet):
        larger = replace(fleet, nodes=nodes, gpus_per_node=per_node)
        yield Change("gpus", f"use {larger}", replace(request, fleet=larger))


def _larger(fleet: Fleet) -> Iterator[tuple[int, int]]:
    per_node = fleet.gpus_per_node
    while fleet.nodes == 1 and per_node < 8:
        per_node = min(8, 1 << per_node.bit_length())
        yield 1, per_node
    for nodes in range(fleet.nodes + 1, _MOST_NODES + 1):
        yield nodes, max(8, fleet.gpus_per_node)


def _releases(request: Request) -> Iterator[Change]:
    newest = newest_release()
    if request.release.name != newest:
        text = f"upgrade to vLLM {newest}"
        yield Change("vllm", text, replace(request, release=load_release(newest)))


_KINDS: tuple[Callable[[Request], Iterator[Change]], ...] = (
    _kv_cache_dtypes,
    _utilizations,
    _sequences,
    _batched_tokens,
    _checkpoints,
    _fleets,
    _releases,
)


def _pairs(request: Request) -> list[Hint]:
    """Two changes at once, where no single one helps."""
    hints = [hint for kind in (_fleets, _checkpoints) if (hint := _shorter_and(kind(request))) is not None]
    for first_kind, second_kind in itertools.combinations(_KINDS, 2):
        hint = _first_that_helps(
            Change(f"{first.kind}+{second.kind}", f"{first.text} and {second.text}", second.request)
            for first in first_kind(request)
            for second in second_kind(first.request)
        )
        if hint is not None:
            hints.append(hint)
    return hints[:3]


class Wish(msgspec.Struct, frozen=True):
    """One part of a request, and the same request with that part given up."""

    name: str
    text: str
    freed: Callable[[Request], Request]


def wishes_of(request: Request) -> list[Wish]:
    """The parts of ``request`` that could be given up."""
    wishes = []
    if request.context is not None:
        text = f"a context of {spell_context(request.context)} tokens"
        wishes.append(Wish("context", text, lambda r: replace(r, context=None)))
    smallest = _smallest(request.checkpoint)
    if smallest is not None:
        text = request.checkpoint.checkpoint.repository
        wishes.append(Wish("model", text, lambda r: replace(r, checkpoint=smallest)))
    wishes.append(
        Wish(
            "gpus",
            str(request.fleet),
            lambda r: replace(r, fleet=replace(r.fleet, nodes=_MOST_NODES, gpus_per_node=8)),
        )
    )
    if request.kv_cache_dtype is not None:
        text = f"a KV cache of type {request.kv_cache_dtype}"
        wishes.append(Wish("kv-cache-dtype", text, lambda r: replace(r, kv_cache_dtype=None)))
    if request.gpu_memory_utilization is not None:
        text = f"a GPU memory utilization of {request.gpu_memory_utilization}"
        wishes.append(
            Wish(
                "gpu-memory-utilization",
                text,
                lambda r: replace(r, gpu_memory_utilization=_UTILIZATIONS[-1]),
            )
        )
    if request.max_num_seqs is not None:
        text = f"--max-num-seqs {request.max_num_seqs}"
        # Given up means: whatever leaves most room. The fewest sequences that the wish allows do.
        wishes.append(Wish("max-num-seqs", text, lambda r: replace(r, max_num_seqs=r.concurrency)))
    if request.max_num_batched_tokens is not None:
        text = f"--max-num-batched-tokens {request.max_num_batched_tokens}"
        wishes.append(Wish("max-num-batched-tokens", text, lambda r: replace(r, max_num_batched_tokens=None)))
    if request.concurrency > 1:
        text = f"{request.concurrency} such requests at once"
        wishes.append(Wish("concurrency", text, lambda r: replace(r, concurrency=1)))
    if request.release.name != newest_release():
        text = f"vLLM {request.release.name}"
        wishes.append(Wish("vllm", text, lambda r: replace(r, release=load_release(newest_release()))))
    return wishes


def _smallest(checkpoint: ResolvedCheckpoint) -> ResolvedCheckpoint | None:
    return next(reversed(siblings(checkpoint)), None)


def minimal_conflict(request: Request) -> list[Wish]:
    """A smallest set of the request's wishes that cannot hold together.

    Deletion: a wish that may be given up without making the rest possible has no part in the conflict. What remains is
    irreducible: giving up any one of them leads to a plan. Empty when even all given up leads to none.
    """
    freed: list[Wish] = []
    kept: list[Wish] = wishes_of(request)
    for wish in list(kept):
        if not _possible(_free(request, [*freed, wish])):
            kept.remove(wish)
            freed.append(wish)
    return kept


def _free(request: Request, wishes: list[Wish]) -> Request:
    for wish in wishes:
        request = wish.freed(request)
    return request


def _possible(request: Request) -> bool:
    return bool(search(request).plans)
