"""The KV cache: what a release's layers ask for and how it plans, against :mod:`qcmatrix.memory.kv_cache`.

Two kinds of questions: ``specs/...`` (the layers of the real model, laid out on one rank) and ``plan/...`` (blocks,
tokens, concurrency and the length check for a given free memory).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.evidence.records import Record
from qcmatrix.memory.kv_cache import (
    StageLayout,
    admits,
    blocks,
    kv_layout,
    largest_context,
    max_concurrency,
    needed_bytes,
    tokens,
)
from qcmatrix.probe.configs import config_json
from qcmatrix.probe.graded import Graded, Mark
from qcmatrix.probe.parts.kv_questions import FULL, LENGTH, QUICK, Plan, Specs
from qcmatrix.probe.parts.weights import kept, record, refused
from qcmatrix.probe.session import Session
from qcmatrix.versions import Version

__all__ = ["FULL", "PART", "QUICK", "Plan", "Specs", "disagreements", "graded", "our_plan", "our_specs", "probe"]

PART: Final = "kv"
_TIMEOUT: Final = 300.0
Progress = Callable[[str], None]


def probe(session: Session, release: Release, progress: Progress | None = None, *, full: bool = False) -> list[Record]:
    """Asks what ``release`` knows of the questions; one record each.

    Raises:
        SessionError: no worker can be started.
    """
    asked = [one for one in (FULL if full else QUICK) if one.fits(release.version)]
    found = {one.checkpoint: find_checkpoint(one.checkpoint) for one in asked}
    session.configs({one.checkpoint.repository: config_json(one) for one in found.values()})
    questions = (one.question(release.version) for one in asked)
    records = []
    for one, reply in zip(asked, session.ask_many(questions, timeout=_TIMEOUT), strict=True):
        records.append(record(session, release, PART, one.subject, one, kept(reply, dict)))
        if progress is not None and len(records) % 10 == 0:
            progress(f"{len(records)} of {len(asked)} questions on the KV cache")
    return records


def our_specs(one: Specs, version: Version) -> list[list[dict[str, Any]]]:
    """What :mod:`qcmatrix.memory` says of each stage's layers, as the worker's ``kv_specs`` does."""
    shape = find_checkpoint(one.checkpoint).architecture
    layout = kv_layout(
        shape,
        tensor_parallel_size=one.tp,
        pipeline_parallel_size=one.pp,
        pipeline_partition=one.partition,
        kv_cache_dtype=one.kv_cache_dtype,
        block_size=one.block_size,
        version=version,
        enable_prefix_caching=one.prefix_caching,
        compute_capability=one.capability,
    )
    return [_sorted([*_state_spec(stage), *_attention_spec(stage)]) for stage in layout]


def _attention_spec(stage: StageLayout) -> Iterator[dict[str, Any]]:
    if stage.attention_layers:
        yield {
            "layers": stage.attention_layers,
            "block_size": stage.block_size,
            "head_dim": stage.head_dim,
            "kind": "attention",
            "kv_heads": stage.kv_heads,
            "page_bytes": stage.page_bytes,
        }


def _state_spec(stage: StageLayout) -> Iterator[dict[str, Any]]:
    state = stage.state
    if state is not None and stage.state_layers:
        names = {2: "bfloat16", 4: "float32"}
        yield {
            "layers": stage.state_layers,
            "block_size": LENGTH if state.mode == "none" else stage.block_size,
            "blocks_per_request": state.blocks_per_request,
            "dtypes": [names[state.conv_element_bytes], names[state.ssm_element_bytes]],
            "kind": "state",
            "mode": state.mode,
            "page_bytes": stage.page_bytes,
            "shapes": [list(state.conv_shape), list(state.ssm_shape)],
        }


def _sorted(specs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return sorted((dict(spec) for spec in specs), key=lambda spec: str(spec["kind"]))


def _their_specs(answer: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The same form; before 0.15.0 there was no mode to name."""
    return [
        _sorted(
            {**spec, "mode": spec["mode"] or "none"} if spec["kind"] == "state" else spec for spec in stage["specs"]
        )
        for stage in answer["stages"]
    ]


def our_plan(one: Plan, version: Version) -> dict[str, Any]:
    """What :mod:`qcmatrix.memory` says, as the worker's ``kv_plan`` does."""
    layout = one.layout(version)
    memory, length, override = one.available, one.max_model_len, one.override
    return {
        "block_size": layout[0].block_size,
        "page_bytes": layout[0].page_bytes,
        "groups": [sorted(stage.attention_groups + stage.state_groups) for stage in layout],
        "state_mode": layout[0].state.mode if layout[0].state else None,
        "blocks": blocks(layout, memory, num_gpu_blocks_override=override),
        "tokens": tokens(layout, memory, length, num_gpu_blocks_override=override),
        "max_concurrency": max_concurrency(layout, memory, length, num_gpu_blocks_override=override),
        "needed_bytes": needed_bytes(layout, length),
        "largest_context": largest_context(layout, memory, limit=length, num_gpu_blocks_override=override),
        "admits": admits(layout, memory, length, num_gpu_blocks_override=override),
    }


def graded(records: Iterable[Record], release: Release) -> Iterator[Graded]:
    """Each record against what we say today; questions that are asked no more are left out."""
    asked = {one.subject: one for one in FULL}
    for one in records:
        if one.part == PART and one.subject in asked:
            yield _judged(one, asked[one.subject], release)


def disagreements(records: Iterable[Record]) -> list[Graded]:
    """Of records of any release: those that differ from ours in any number, or refusals that nobody expects."""
    found = []
    for one in records:
        if one.part == PART:
            kind: type[Specs | Plan] = Specs if one.subject.startswith("specs/") else Plan
            judged = _judged(one, msgspec.convert(one.question, kind), load_release(one.release))
            if judged.mark is Mark.DISAGREE:
                found.append(judged)
    return found


def _judged(record: Record, one: Specs | Plan, release: Release) -> Graded:
    ours: Any = our_specs(one, release.version) if isinstance(one, Specs) else our_plan(one, release.version)
    mark, said, why = Mark.AGREE, "", ""
    if record.error is not None:
        mark, said = Mark.FAILED, record.error
    elif record.answer is None:
        mark, why = Mark.NOT_ASKABLE, record.not_askable or ""
    elif "refused" in record.answer:
        said = record.answer["refused"]
        mark, why = Mark.DISAGREE, "a refusal while planning"
        if isinstance(one, Specs):
            layout = one.layout
            options = [*layout.options(), *one.options()]
            mark, why = refused(one.checkpoint, options, one.capability, release, layout.env())
    else:
        theirs = _their_specs(record.answer) if isinstance(one, Specs) else dict(record.answer)
        said = str(theirs)
        if theirs != ours:
            mark, why = Mark.DISAGREE, _apart(ours, theirs)
    return Graded(
        subject=one.subject, mark=mark, question=f"KV cache: {one.subject}", ours=str(ours), said=said, why=why
    )


def _apart(ours: Any, theirs: Any) -> str:
    if isinstance(ours, dict):
        names = [name for name in ours if ours[name] != theirs.get(name)]
        return "; ".join(f"{name}: we say {ours[name]}, it says {theirs.get(name)}" for name in names)
    pairs = zip(ours, theirs, strict=False)
    found = [f"stage {place}: we say {mine}, it says {his}" for place, (mine, his) in enumerate(pairs) if mine != his]
    return "; ".join(found) or f"we say {len(ours)} stages, it says {len(theirs)}"
