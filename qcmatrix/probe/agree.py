"""Our verdict on a launch against what a real release did with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from qcmatrix.assess import Assessor
from qcmatrix.catalogue.fleets import Fleet
from qcmatrix.catalogue.models import ResolvedCheckpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.deployment import Deployment
from qcmatrix.launch.command import Form, locate
from qcmatrix.launch.parse import parse
from qcmatrix.launch.yarn import positions_of
from qcmatrix.probe.exceptions import EXPLAINED, OLD_ENGINE, UNANSWERABLE, needs_the_device
from qcmatrix.rules.declare import Breach, Outcome, Unknown
from qcmatrix.rules.judge import Finding

__all__ = ["Agreement", "Grade", "Ours", "Words", "agreement", "ours", "question_for"]

_NO_WEIGHTS: Final = "its configuration is accepted, and the weights were not laid out"
_BREAKAGE: Final = ("AttributeError", "ImportError", "KeyError", "ModuleNotFoundError", "NameError", "TypeError")
"""Errors that may as well be our stand-ins' fault: a refusal with them counts only where a rule foretells its words."""
MODEL: Final = "{model}"
"""What stands for the model in the words of a question."""


class Grade(StrEnum):
    """How our verdict and the release's compare."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNKNOWN = "unknown"
    """We say that we cannot tell."""
    NOT_ASKABLE = "not askable"
    """A machine without a GPU cannot tell."""
    EXPLAINED = "explained"
    """They differ for a reason that is written down in :mod:`qcmatrix.probe.exceptions`."""


class Words(StrEnum):
    """How well a refusal was foretold."""

    SAME = "same"
    """One of our findings has the words of the error."""
    OTHER = "other"
    """The launch was refused, with other words than any of our findings has."""
    NONE = "none"
    """None of our findings says with which words."""


class Ours(msgspec.Struct, frozen=True):
    """What we say of a launch, memory left out."""

    deployment: Deployment
    findings: tuple[Finding, ...]

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Findings that say that vLLM stops."""
        return tuple(found for found in self.findings if found.stops and found.outcome is Outcome.REFUSES_TO_START)

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """Rules about refusals that cannot tell. Those about wrong answers do not bear on whether it starts."""
        return tuple(
            found
            for found in self.findings
            if isinstance(found.verdict, Unknown)
            and found.verdict.decides
            and found.rule.outcome is Outcome.REFUSES_TO_START
        )


class Agreement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One comparison."""

    grade: Grade
    why: str = ""
    """What differs, or why nothing can be said; empty for a plain agreement."""
    refused: bool | None = None
    """Did the release refuse the launch? ``None``: it was not learnt."""
    stage: str = ""
    """How far it came: ``parse``, ``serve-args``, ``engine-args``, ``config``, ``tools``, ``weights``, ``ok``."""
    error: str = ""
    """The release's words."""
    words: Words | None = None
    """Where both refuse: did we foretell the words?"""
    rules: tuple[str, ...] = ()
    """Rules that say that it is refused, or that cannot tell."""


def ours(
    words: Sequence[str],
    checkpoint: ResolvedCheckpoint,
    fleet: Fleet,
    release: Release,
    *,
    env: Mapping[str, str] | None = None,
) -> Ours:
    """What the rules that need no memory ledger say of the command ``words``.

    Raises:
        RequestError: there is no server command in ``words``.
    """
    parsed = parse(words, release, env=env)
    assessor = _assessor(release, fleet, checkpoint)
    deployment = assessor.resolve(parsed.launch, parsed.problems)
    return Ours(deployment, assessor.cheap(deployment))


_assessors: dict[tuple[Release, str, str, str | None], Assessor] = {}
_KEPT: Final = 256


def _assessor(release: Release, fleet: Fleet, checkpoint: ResolvedCheckpoint) -> Assessor:
    """Made once for each: a judge remembers verdicts."""
    key = (release, str(fleet), checkpoint.repository, None if checkpoint.path is None else str(checkpoint.path))
    found = _assessors.get(key)
    if found is None:
        if len(_assessors) >= _KEPT:
            _assessors.clear()
        found = _assessors[key] = Assessor(release, fleet, checkpoint)
    return found


def question_for(
    words: Sequence[str],
    checkpoint: ResolvedCheckpoint,
    fleet: Fleet,
    release: Release,
    *,
    env: Mapping[str, str] | None = None,
    weights: bool = True,
) -> dict[str, Any]:
    """The ``launch`` question for the command ``words``, without its ``id`` and ``ask``.

    The config is named by the checkpoint's repository: send it first, ``session.configs({repository: config_json()})``.

    Raises:
        RequestError: there is no server command in ``words``.
    """
    command = locate(words)
    parsed = parse(words, release, env=env)
    argv = [text for _, text in command.arguments]
    if parsed.model_span is not None and parsed.launch.model:
        argv = _model_replaced(command.arguments, parsed.model_span.start, parsed.model_span.stop, parsed.launch.model)
    if command.form is Form.MODULE and MODEL not in argv[:1]:
        argv = _as_serve(argv)
    gpu = fleet.gpu
    return {
        "config": checkpoint.repository,
        "argv": argv,
        "env": dict(parsed.launch.env),
        "gpu": {
            "name": gpu.device_name,
            "capability": list(gpu.compute_capability or (9, 0)),
            "memory_bytes": int(gpu.visible_gib * 2**30),
            "count": fleet.gpus_per_node,
        },
        "weights": weights,
        "tokenizer": False,
    }


def _model_replaced(arguments: Sequence[tuple[int, str]], start: int, stop: int, model: str) -> list[str]:
    return [
        text[: -len(model)] + MODEL if start <= index < stop and text.endswith(model) else text
        for index, text in arguments
    ]


def _as_serve(argv: Sequence[str]) -> list[str]:
    """``--model M`` of the module's own parser as the positional model of ``vllm serve``; the rest is the same."""
    made: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--model":
            next(words, None)
        elif word != f"--model={MODEL}":
            made.append(word)
    return [MODEL, *made]


def agreement(
    mine: Ours,
    answer: Mapping[str, Any] | None,
    *,
    weights: bool = True,
    error: str | None = None,
    not_askable: str | None = None,
) -> Agreement:
    """``mine`` against the answer to a ``launch`` question.

    Args:
        mine: our side.
        answer: the worker's ``answer``; ``None`` where there is none.
        weights: the weights were laid out as well; without them an accepted launch proves no refusal of ours wrong.
        error: why there is no answer: the worker crashed, or took too long.
        not_askable: what the worker says of a question that it cannot put.
    """
    if answer is None:
        return Agreement(grade=Grade.NOT_ASKABLE, why=not_askable or error or "no answer")
    stage = str(answer.get("stage", ""))
    refused = "error" in answer
    said = _error_text(answer)
    if refused:
        return _refused(mine, stage, said, not_askable or answer.get("not_askable"))
    return _accepted(mine, stage, answer, weights=weights)


def _error_text(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    if isinstance(error, Mapping):
        return f"{error.get('type', 'Error')}: {error.get('text', '')}"
    return "" if error is None else str(error)


def _names(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    return tuple(sorted(found.rule.id for found in findings))


def _refused(mine: Ours, stage: str, said: str, not_askable: str | None) -> Agreement:
    refusals = mine.refusals
    seen: dict[str, Any] = {"refused": True, "stage": stage, "error": said}
    if refusals and (words := _words(refusals, said)) is Words.SAME:
        return Agreement(grade=Grade.AGREE, words=words, rules=_names(refusals), **seen)
    excuse = not_askable or next((item.why for item in UNANSWERABLE if re.search(item.error, said)), None)
    if excuse is not None:
        return Agreement(grade=Grade.NOT_ASKABLE, why=excuse, **{**seen, "refused": None})
    if refusals and not said.startswith(_BREAKAGE):
        return Agreement(grade=Grade.AGREE, words=words, rules=_names(refusals), **seen)
    found = {finding.rule.id for finding in mine.findings}
    for item in EXPLAINED:
        if (not item.rules or found & item.rules) and re.search(item.error, said):
            return Agreement(grade=Grade.EXPLAINED, why=item.why, rules=tuple(sorted(found & item.rules)), **seen)
    if mine.unknown:
        why = "; ".join(finding.verdict.because for finding in mine.unknown)
        return Agreement(grade=Grade.UNKNOWN, why=why, rules=_names(mine.unknown), **seen)
    why = "refused, and no rule of ours says so"
    if refusals:
        why = "refused as we say, but it breaks in a way that none of our rules tells of"
    return Agreement(grade=Grade.DISAGREE, why=why, rules=_names(refusals), **seen)


def _accepted(mine: Ours, stage: str, answer: Mapping[str, Any], *, weights: bool) -> Agreement:
    refusals = mine.refusals
    seen: dict[str, Any] = {"refused": False, "stage": stage}
    if refusals:
        rules = _names(refusals)
        version = mine.deployment.release.version
        reasons = [
            needs_the_device(found.rule.id, version, found.verdict.because) or ("" if weights else _NO_WEIGHTS)
            for found in refusals
        ]
        if all(reasons):
            return Agreement(grade=Grade.NOT_ASKABLE, why="; ".join(filter(None, reasons)), rules=rules, **seen)
        because = "; ".join(finding.verdict.because for finding in refusals)
        return Agreement(grade=Grade.DISAGREE, why=f"accepted, and we say refused: {because}", rules=rules, **seen)
    different = [] if stage == "parse" else _resolved_otherwise(mine, answer.get("resolved") or {})
    if different:
        return Agreement(grade=Grade.DISAGREE, why=f"resolved otherwise: {'; '.join(different)}", **seen)
    if mine.unknown:
        why = "; ".join(finding.verdict.because for finding in mine.unknown)
        return Agreement(grade=Grade.UNKNOWN, why=why, rules=_names(mine.unknown), **seen)
    return Agreement(grade=Grade.AGREE, **seen)


def _words(refusals: tuple[Finding, ...], said: str) -> Words:
    """Ellipses in our words stand for what changes; line breaks and runs of blanks do not matter."""
    expected = [found.verdict.error for found in refusals if isinstance(found.verdict, Breach) and found.verdict.error]
    if not expected:
        return Words.NONE
    flat = " ".join(said.split())
    for text in expected:
        parts = [re.escape(" ".join(part.split())) for part in text.split("...")]
        if re.search(".*?".join(parts), flat):
            return Words.SAME
    return Words.OTHER


def _unless_hybrid(mine: Deployment, value: Any) -> Any:
    return None if mine.architecture.linear_attention is not None else value


_RESOLVED: Final[Mapping[str, Callable[[Deployment], Any]]] = {
    # Under `auto` the length comes from the memory that is left: it is not in the configuration yet. What older
    # releases make of a negative one is no length either.
    "max_model_len": lambda mine: None if (mine.max_model_len or 0) < 0 else mine.context,
    "max_num_batched_tokens": lambda mine: mine.max_num_batched_tokens,
    "max_num_seqs": lambda mine: mine.max_num_seqs,
    "tensor_parallel_size": lambda mine: mine.tensor_parallel_size,
    "pipeline_parallel_size": lambda mine: mine.pipeline_parallel_size,
    "data_parallel_size": lambda mine: mine.data_parallel_size,
    "decode_context_parallel_size": lambda mine: mine.decode_context_parallel_size,
    "enable_expert_parallel": lambda mine: mine.enable_expert_parallel,
    "enable_eplb": lambda mine: mine.enable_eplb,
    "gpu_memory_utilization": lambda mine: mine.gpu_memory_utilization,
    "kv_cache_memory_bytes": lambda mine: mine.kv_cache_memory_bytes,
    "num_gpu_blocks_override": lambda mine: mine.num_gpu_blocks_override,
    "load_format": lambda mine: mine.load_format,
    "generation_config": lambda mine: mine.generation_config,
    "tool_call_parser": lambda mine: mine.tool_call_parser,
    "enforce_eager": lambda mine: mine.enforce_eager,
    # Some releases switch it off for hybrid models: hybrid-prefix-caching-ignored.
    "enable_prefix_caching": lambda mine: _unless_hybrid(mine, mine.enable_prefix_caching),
    "kv_cache_dtype": lambda mine: mine.kv_cache_dtype,
    "distributed_executor_backend": lambda mine: mine.distributed_executor_backend,
    "data_parallel_size_local": lambda mine: mine.data_parallel_size_local,
    "cpu_offload_gb": lambda mine: mine.cpu_offload_gb,
    "all2all_backend": lambda mine: mine.all2all_backend,
    "attention_backend": lambda mine: mine.attention_backend,
    "moe_backend": lambda mine: mine.moe_backend,
    # Without CUDA graphs it is NONE, whatever the compilation settings ask for.
    "cudagraph_mode": lambda mine: mine.cudagraph_mode if mine.cuda_graphs else "NONE",
    "async_scheduling": lambda mine: mine.async_scheduling,
    "enable_chunked_prefill": lambda mine: mine.enable_chunked_prefill,
    # The state of linear attention layers stretches the blocks that were asked for.
    "block_size": lambda mine: _unless_hybrid(mine, mine.block_size),
}


def _resolved_otherwise(mine: Ours, theirs: Mapping[str, Any]) -> list[str]:
    """What the two sides make of the launch's values, where they differ; what one side leaves open is left out."""
    if theirs.get("use_v1") is False:
        told = any(found.rule.id in OLD_ENGINE for found in mine.findings)
        return [] if told else ["it runs on the V0 engine, and no rule of ours says so"]
    different = []
    for name, value_of in _RESOLVED.items():
        expected, found = value_of(mine.deployment), theirs.get(name)
        if isinstance(found, str) and found.startswith("vllm."):
            continue  # 0.30.0 has a class where others have a name
        if expected is not None and found is not None and expected != found:
            different.append(f"{name} is {found}, we say {expected}")
    return different + _rotary_otherwise(mine.deployment, theirs.get("rotary") or {})


def _rotary_otherwise(mine: Deployment, theirs: Mapping[str, Any]) -> list[str]:
    """The position encoding of the first attention layer against what we say of the request for it."""
    if not theirs:
        return []
    positions = positions_of(mine.release.version, mine.architecture, mine.checkpoint, mine.rope)
    different = []
    base = theirs.get("base")
    if base is not None and positions.rope_theta is not None and float(base) != positions.rope_theta:
        different.append(f"the rotary base is {base:g}, we say {positions.rope_theta:g}")
    # What becomes of YaRN without its factor or original length hangs on the Transformers release: yarn-keys-missing.
    rope = mine.rope
    whole = rope is not None and rope.factor is not None and rope.original_max_position_embeddings is not None
    asked = whole and rope is not None and rope.rope_type == "yarn"
    if asked and ("Yarn" in theirs.get("class", "") or "YaRN" in theirs.get("class", "")) != positions.scaled:
        different.append(f"the positions are those of {theirs.get('class')}, we say scaled: {positions.scaled}")
    if asked and positions.scaled and theirs.get("positions") not in (None, positions.reach):
        different.append(f"the positions reach {theirs['positions']}, we say {positions.reach}")
    return different
