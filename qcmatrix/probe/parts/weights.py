"""Bytes of parameters per rank: the release's own model code against :func:`qcmatrix.memory.weights.weights_bytes`."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from qcmatrix.catalogue.models import Quantization, ResolvedCheckpoint, find_checkpoint
from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.evidence.records import Record
from qcmatrix.memory.weights import weights_bytes
from qcmatrix.probe.configs import config_json
from qcmatrix.probe.graded import Graded, Mark
from qcmatrix.probe.parts.refusals import foretold
from qcmatrix.probe.parts.rules import tidy
from qcmatrix.probe.session import Reply, Session
from qcmatrix.versions import Version

__all__ = [
    "FULL",
    "PART",
    "QUICK",
    "Layout",
    "disagreements",
    "graded",
    "kept",
    "our_bytes",
    "probe",
    "record",
    "refused",
    "send_configs",
]

PART: Final = "weights"
_TIMEOUT: Final = 300.0
"""Seconds for one question: the first of a model imports its code."""
_LONGEST: Final = 200
"""Characters of a refusal that are kept."""

Progress = Callable[[str], None]


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One checkpoint on so many ranks."""

    checkpoint: str
    """The catalogue's short name."""
    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: bool = False
    partition: tuple[int, ...] | None = None
    """Layers of each pipeline stage (``VLLM_PP_LAYER_PARTITION``)."""
    quantization: str | None = None
    """``--quantization``, where the checkpoint does not say it itself."""
    capability: tuple[int, int] = (9, 0)
    ranks: str = "first"
    """``all``: the largest of a stage's ranks, where experts do not divide."""

    @property
    def subject(self) -> str:
        """``480b-fp8/tp8-ep``: unique among layouts."""
        pieces = [f"tp{self.tp}"]
        pieces += [f"pp{self.pp}" + (":" + ",".join(map(str, self.partition)) if self.partition else "")] * (
            self.pp > 1
        )
        pieces += [f"dp{self.dp}"] * (self.dp > 1) + ["ep"] * self.ep
        pieces += [self.quantization or ""] * bool(self.quantization)
        pieces += ["sm{}.{}".format(*self.capability)] * (self.capability != (9, 0))
        pieces += [f"{self.ranks}-ranks"] * (self.ranks != "first")
        return f"{self.checkpoint}/{'-'.join(pieces)}"

    def question(self) -> dict[str, Any]:
        """What the worker is asked."""
        asked = msgspec.to_builtins(self)
        return {**asked, "config": find_checkpoint(asked.pop("checkpoint")).checkpoint.repository}

    def options(self) -> list[str]:
        """The same as words of ``vllm serve``."""
        said = [
            *("--tensor-parallel-size", str(self.tp)),
            *("--pipeline-parallel-size", str(self.pp)),
            *("--data-parallel-size", str(self.dp)),
        ]
        if self.ep:
            said.append("--enable-expert-parallel")
        return [*said, *(("--quantization", self.quantization) if self.quantization else ())]

    def env(self) -> dict[str, str]:
        """The environment variables that belong to it."""
        return {"VLLM_PP_LAYER_PARTITION": ",".join(map(str, self.partition))} if self.partition else {}


def _each(checkpoint: str, *layouts: Mapping[str, Any]) -> tuple[Layout, ...]:
    return tuple(Layout(checkpoint, **layout) for layout in layouts)


_QUICK_480B: Final = (
    *_each(
        "480b-fp8",
        {"tp": 4},
        {"tp": 8},
        {"tp": 8, "ep": True},
        {"tp": 16, "ep": True},
        {"tp": 4, "dp": 2, "ep": True},
        {"tp": 2, "dp": 4, "ep": True},
        {"dp": 8, "ep": True},
        {"tp": 4, "dp": 2},
        {"tp": 4, "pp": 2},
        {"tp": 8, "pp": 3, "ep": True},
        {"tp": 4, "pp": 2, "partition": (32, 30)},
    ),
    *_each("480b", {"tp": 8}, {"tp": 16}, {"tp": 8, "pp": 2, "ep": True}),
    *_each("480b-awq", {"tp": 4}, {"tp": 8}, {"tp": 8, "ep": True}),
)
_QUICK_30B: Final = (
    *_each("30b", {"tp": 1}, {"tp": 8}, {"tp": 2, "ep": True}, {"pp": 5}, {"dp": 3, "ep": True, "ranks": "all"}),
    *_each("30b", {"tp": 2, "quantization": "fp8"}),
    *_each("30b-fp8", {"tp": 1}, {"tp": 2}, {"tp": 4}, {"tp": 8}, {"tp": 2, "ep": True}, {"tp": 2, "pp": 3}),
    *_each("30b-awq", {"tp": 1}, {"tp": 4}, {"tp": 4, "ep": True}),
)
_QUICK_NEXT: Final = (
    *_each("next", {"tp": 1}, {"tp": 4}, {"tp": 8}, {"tp": 2, "dp": 2, "ep": True}, {"pp": 5}),
    *_each("next-fp8", {"tp": 1}, {"tp": 2}, {"tp": 4}, {"tp": 4, "ep": True}, {"dp": 4, "ep": True}),
)
_QUICK_DENSE: Final = (*_each("qwen3-8b-fp8", {"tp": 2}), *_each("qwen2.5-coder-7b", {"tp": 4}))

QUICK: Final[tuple[Layout, ...]] = (*_QUICK_480B, *_QUICK_30B, *_QUICK_NEXT, *_QUICK_DENSE)
"""About a minute and a half on a warm worker."""


def _full() -> Iterator[Layout]:
    yield from QUICK
    for name in ("480b", "480b-fp8", "480b-awq", "30b", "30b-fp8", "30b-awq", "next", "next-fp8"):
        for tensor in (1, 2, 4, 8, 16):
            for experts in (False, True):
                yield Layout(name, tp=tensor, ep=experts)
        for tensor, data in ((1, 2), (2, 2), (4, 2), (8, 2), (2, 4), (1, 8), (1, 16), (4, 4)):
            yield Layout(name, tp=tensor, dp=data, ep=True)
        for tensor, data in ((2, 2), (4, 2)):
            yield Layout(name, tp=tensor, dp=data)
        for tensor, pipeline in ((1, 2), (2, 2), (4, 3), (1, 7)):
            yield Layout(name, tp=tensor, pp=pipeline)
        yield Layout(name, tp=2, pp=2, dp=2, ep=True)
        yield Layout(name, tp=2, dp=3, ep=True, ranks="all")
    for name in ("480b-fp8", "30b-fp8", "30b", "next", "next-fp8"):
        for capability in ((8, 0), (8, 9), (10, 0)):
            # 16 bit experts on 10.x are rounded for a kernel of FlashInfer, which a machine without a GPU does not have
            if capability != (10, 0) or name.endswith("-fp8"):
                yield Layout(name, tp=4, capability=capability)
    for name in ("30b-nvfp4", "next-nvfp4"):
        for tensor in (1, 2, 4):
            yield Layout(name, tp=tensor, capability=(10, 0))
    for name in ("30b", "next", "480b"):
        yield Layout(name, tp=4, quantization="fp8")


FULL: Final[tuple[Layout, ...]] = tuple(dict.fromkeys(_full()))
"""The whole family on 1 to 16 ranks of each kind."""


def probe(
    session: Session,
    release: Release,
    progress: Progress | None = None,
    *,
    layouts: Sequence[Layout] = QUICK,
) -> list[Record]:
    """Asks for the bytes of each layout; one record each.

    Raises:
        SessionError: no worker can be started.
    """
    send_configs(session, layouts)
    records = []
    replies = session.ask_many(({"ask": "weights", **layout.question()} for layout in layouts), timeout=_TIMEOUT)
    for layout, reply in zip(layouts, replies, strict=True):
        records.append(record(session, release, PART, layout.subject, layout, kept(reply, _bytes)))
        if progress is not None and len(records) % 10 == 0:
            progress(f"{len(records)} of {len(layouts)} layouts")
    return records


def send_configs(session: Session, layouts: Iterable[Layout]) -> None:
    """Make the checkpoints' ``config.json`` known to the worker."""
    found = {layout.checkpoint: find_checkpoint(layout.checkpoint) for layout in layouts}
    session.configs({one.checkpoint.repository: config_json(one) for one in found.values()})


def record(
    session: Session, release: Release, part: str, subject: str, question: Any, said: Mapping[str, Any]
) -> Record:
    """What came of one question, as of today."""
    return Record(
        release=release.name,
        part=part,
        subject=subject,
        question=msgspec.to_builtins(question),
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        torch=session.hello.torch,
        transformers=session.hello.transformers,
        **said,
    )


def kept(reply: Reply, read: Callable[[Mapping[str, Any]], Any]) -> dict[str, Any]:
    """What a record keeps of a reply: ``read`` of the answer, or vLLM's refusal in its own words, cut short."""
    if reply.answer is not None:
        if "refused" in reply.answer:
            told = reply.answer["refused"]
            return {"answer": {"refused": tidy(f"{told['type']}: {told['text']}")[:_LONGEST]}}
        return {"answer": read(reply.answer)}
    if reply.error is not None:
        return {"error": tidy(f"{reply.error.type}: {reply.error.text}")[:_LONGEST]}
    return {"not_askable": tidy(reply.not_askable or "no answer")[:_LONGEST]}


def _bytes(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"bytes": [stage["bytes"] for stage in answer["stages"]]}


def our_bytes(layout: Layout, version: Version) -> tuple[int, ...]:
    """What :mod:`qcmatrix.memory` says for it: bytes per rank of each pipeline stage, as created."""
    found = find_checkpoint(layout.checkpoint)
    return weights_bytes(
        found.architecture,
        _quantization(found, layout),
        tensor_parallel_size=layout.tp,
        pipeline_parallel_size=layout.pp,
        data_parallel_size=layout.dp,
        enable_expert_parallel=layout.ep,
        pipeline_partition=layout.partition,
        version=version,
        online=layout.quantization is not None,
        as_created=True,
        compute_capability=layout.capability,
    )


def _quantization(found: ResolvedCheckpoint, layout: Layout) -> Quantization:
    if layout.quantization is None:
        return found.quantization
    return Quantization(method="fp8", weight_bits=8, activation_bits=8, unquantized=("lm_head",))


def graded(records: Iterable[Record], release: Release) -> Iterator[Graded]:
    """Each record against our figure of today; questions that are asked no more are left out."""
    asked = {layout.subject: layout for layout in FULL}
    for one in records:
        if one.part == PART and one.subject in asked:
            yield _judged(one, asked[one.subject], release)


def disagreements(records: Iterable[Record]) -> list[Graded]:
    """Of records of any release: those whose bytes are others than ours, or refusals that nobody expects."""
    found = []
    for one in records:
        if one.part == PART:
            judged = _judged(one, msgspec.convert(one.question, Layout), load_release(one.release))
            if judged.mark is Mark.DISAGREE:
                found.append(judged)
    return found


def _judged(one: Record, layout: Layout, release: Release) -> Graded:
    ours = list(our_bytes(layout, release.version))
    mark, said, why = Mark.AGREE, "", ""
    if one.error is not None:
        mark, said = Mark.FAILED, one.error
    elif one.answer is None:
        mark, why = Mark.NOT_ASKABLE, one.not_askable or ""
    elif "refused" in one.answer:
        mark, why = refused(layout.checkpoint, layout.options(), layout.capability, release, layout.env())
        said = one.answer["refused"]
    else:
        theirs = one.answer["bytes"]
        said = ", ".join(f"{size:,}" for size in theirs)
        if theirs != ours:
            mark = Mark.DISAGREE
            why = f"{[mine - his for mine, his in zip(ours, theirs, strict=False)]} bytes apart"
    return Graded(
        subject=one.subject,
        mark=mark,
        question=f"weights of {layout.subject}",
        ours=", ".join(f"{size:,}" for size in ours),
        said=said,
        why=why,
    )


def refused(
    checkpoint: str,
    options: Sequence[str],
    capability: tuple[int, int],
    release: Release,
    env: Mapping[str, str] | None = None,
) -> tuple[Mark, str]:
    """How a refusal is judged: our rules must refuse the same, else it is a disagreement."""
    rules = foretold(checkpoint, options, capability, release, env)
    if rules is None:
        return Mark.DISAGREE, "it is refused, and none of our rules says so"
    return Mark.EXPLAINED, f"it is refused, as foretold: {rules}"
