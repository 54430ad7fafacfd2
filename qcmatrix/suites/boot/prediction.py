"""What the memory model says that a server's log will measure, and where the two part."""

from __future__ import annotations

from collections.abc import Mapping

from qcmatrix.answers.check import check
from qcmatrix.assess import Assessment
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.names import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.launch.shell import split_shell
from qcmatrix.matrix.entries import CPU, Entry
from qcmatrix.memory.ledger import Footprint, Interval

__all__ = ["Interval3", "of_assessment", "of_footprint", "outside", "predicted"]

Interval3 = tuple[float, float, float]
"""Low, mid, high."""

_LOADED = ("weights", "rotary table", "allocator rounding")
"""What vLLM's "Model loading took" holds."""
_TERMS = {"activation_gib": "activations", "non_torch_gib": "non-torch", "cudagraph_gib": "cuda graphs"}
_PRINTED_GIB = 0.015
"""The log prints two digits, and what it calls weights holds some small buffers."""
_PRINTED = {"kv_cache_tokens": 64.0, "max_concurrency": 0.011}
"""Rounding of the figures that are no GiB."""


def predicted(entry: Entry) -> dict[str, Interval3]:
    """What the log of ``entry``'s server will state, by the names of what is measured there.

    GiB of the GPU that decides; tokens and requests per engine. Empty for an entry without a ledger: the CPU build, a
    fleet that names two cards, a launch that cannot be sized.

    Raises:
        UserError: its command, release, fleet or checkpoint cannot be read.
    """
    if entry.fleet == CPU:
        return {}
    fleets = parse_fleet(entry.fleet)
    if len(fleets) != 1:
        return {}
    shell = split_shell(entry.command)
    facts = find_checkpoint(entry.checkpoint) if entry.checkpoint else None
    (checked,) = check(shell.argv, release=load_release(entry.vllm), fleets=fleets, checkpoint=facts, env=shell.env)
    return of_assessment(checked.assessment)


def of_assessment(assessment: Assessment) -> dict[str, Interval3]:
    """The same of a launch that was assessed already."""
    ledger = assessment.footprint
    if ledger is None:
        return {}
    found = of_footprint(ledger)
    if assessment.deployment.num_gpu_blocks_override is not None:
        # The cache is then as large as that says, whatever the memory would hold.
        found.pop("kv_cache_tokens"), found.pop("max_concurrency")
    return found


def of_footprint(ledger: Footprint) -> dict[str, Interval3]:
    """The ledger's figures by the names of what a log measures."""
    found = {"model_load_gib": _sum(ledger, _LOADED)}
    for ours, term in _TERMS.items():
        if any(each.name == term for each in ledger.terms):
            found[ours] = _sum(ledger, (term,))
    found["available_kv_gib"] = ledger.kv_gib
    found["kv_cache_tokens"] = ledger.kv_tokens
    found["max_concurrency"] = ledger.max_concurrency
    return {name: (each.low, each.mid, each.high) for name, each in found.items()}


def outside(measured: Mapping[str, float], foretold: Mapping[str, Interval3]) -> list[str]:
    """The figures that were measured outside of their interval, a line each with both; rounding is allowed for."""
    lines = []
    for name in sorted(set(measured) & set(foretold)):
        low, mid, high = foretold[name]
        spread = _PRINTED.get(name, _PRINTED_GIB)
        if name == "model_load_gib":
            spread = max(spread, 0.002 * mid)
        if not low - spread <= measured[name] <= high + spread:
            digits = 0 if name == "kv_cache_tokens" else 2
            figures = " to ".join(f"{value:,.{digits}f}" for value in (low, high))
            lines.append(f"{name} {measured[name]:,.{digits}f}, predicted {mid:,.{digits}f} ({figures})")
    return lines


def _sum(ledger: Footprint, names: tuple[str, ...]) -> Interval:
    total = Interval.exact(0.0)
    for term in ledger.terms:
        if term.name in names:
            total = total + term.gib
    return total
