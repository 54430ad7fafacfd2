"""Changes of a failed launch that would have helped. Each is judged by rules and ledger before it is offered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from qcmatrix.answers.build import argv_of, env_of
from qcmatrix.answers.explain_launch import Known
from qcmatrix.answers.explain_schema import ChangeAnswer
from qcmatrix.assess import Assessment, Assessor, LaunchVerdict, with_fix
from qcmatrix.catalogue.releases import load_release, newest_release
from qcmatrix.errors import UserError
from qcmatrix.fixes import judged_fixes
from qcmatrix.launch.launch import Launch
from qcmatrix.memory.ledger import GIB
from qcmatrix.planner.lineup import siblings
from qcmatrix.planner.request import Goal, Request, spell_context
from qcmatrix.planner.search import search
from qcmatrix.rules.declare import Breach, Fix
from qcmatrix.startup_log.fingerprints import Match

__all__ = ["Solver"]

_MOST = 4
_HELPS_DURING = {
    "loading the weights": ("shape", "model"),
    "the profile run": ("batched-tokens", "sequences", "shape"),
    "warming up the sampler": ("sequences", "utilization-down"),
    "capturing CUDA graphs": ("utilization-down", "graphs", "sequences"),
    "the warm-up": ("utilization-down", "sequences"),
}
_SEQUENCES = (512, 256, 128, 64, 32, 16, 8)
_TOKENS = (8192, 4096, 2048)
_UP = (0.92, 0.95, 0.97)
_DOWN = (0.05, 0.1, 0.15)
_ROUND = 1024


class Solver:
    """Solves for one launch: what is known of it, and what the log measured."""

    def __init__(self, known: Known, assessor: Assessor | None, assessment: Assessment | None, kv_gib: float | None):
        self.known = known
        self.assessor = assessor
        self.before = assessment
        self.launch = known.launch
        self.kv_gib = kv_gib

    def changes(self, match: Match | None, during: str = "") -> tuple[ChangeAnswer, ...]:
        """At most four, those that the failure suggests first; empty where too little is known to judge any.

        ``during``: what went on when it failed, which decides what helps against a GPU that runs out of memory.
        """
        if match is None:
            return ()
        found: list[ChangeAnswer] = []
        kinds = match.fingerprint.solve
        if match.fingerprint.outcome == "oom":
            kinds = tuple(sorted(kinds, key=lambda kind: kind not in _HELPS_DURING.get(during, ())))
        for kind in (*kinds, "rule") if self.assessor is not None else kinds:
            try:
                for change in self._tries(kind, match):
                    if all(change.argv != other.argv or not change.argv for other in found):
                        found.append(change)
                        if kind == "shape":
                            break  # the best that is not offered already
            except UserError:
                continue
            if len(found) >= _MOST:
                break
        if not found and match.fingerprint.outcome in ("kv_too_small", "oom"):
            found.extend(self._nearest())
        return tuple(found[:_MOST])

    def _tries(self, kind: str, match: Match) -> Iterator[ChangeAnswer]:
        if kind == "context":
            yield from self._context(match)
        elif kind == "sequences" and "blocks" in match.numbers:
            yield from self._measured_sequences(int(match.numbers["blocks"]))
        elif kind == "utilization-free":
            yield from self._free_share(match)
        elif self.assessor is None or self.before is None:
            return
        elif kind in ("rule", "words"):
            yield from self._rules()
        else:
            simple: dict[str, Callable[[], Iterator[tuple[str, dict[str, Any]]]]] = {
                "context-native": self._native,
                "sequences": lambda: self._fewer("max_num_seqs", _SEQUENCES),
                "batched-tokens": lambda: self._fewer("max_num_batched_tokens", _TOKENS),
                "utilization": lambda: self._shares(up=True),
                "utilization-down": lambda: self._shares(up=False),
                "kv-cache-dtype": lambda: self._set("kv_cache_dtype", "fp8"),
                "kv-cache-dtype-auto": lambda: self._set("kv_cache_dtype", "auto"),
                "graphs": lambda: self._set("enforce_eager", True),
                "expert-parallel": self._experts,
            }
            if kind in simple:
                for text, options in simple[kind]():
                    change = self._judged(kind, text, options)
                    if change is not None:
                        yield change
                        return
            elif kind == "shape":
                yield from self._shape()
            elif kind == "model":
                yield from self._model()
            elif kind == "release":
                yield from self._release()

    # What the log itself tells

    def _context(self, match: Match) -> Iterator[ChangeAnswer]:
        numbers = match.numbers
        told = numbers.get("estimated") or numbers.get("held")
        if told and told >= 1:
            fits = int(told) // 16 * 16 if told >= 16 else int(told)
            basis = "vLLM's own estimate" if "estimated" in numbers else "what the KV cache holds"
            yield self._offer("context", f"--max-model-len {fits} ({basis}: {told:,.0f} tokens)", fits)
            return
        available, needed, context = (numbers.get(name) for name in ("available", "needed", "context"))
        available = available if available is not None else self.kv_gib
        fits = self._held_by(available) if available is not None and available > 0 else 0
        if not fits and available and needed and context and available > 0:
            hybrid = self.known.checkpoint is None or self.known.checkpoint.architecture.linear_attention is not None
            if not hybrid:
                fits = int(context * available / needed)
        if fits >= _ROUND:
            fits = fits // _ROUND * _ROUND
            yield self._offer("context", f"--max-model-len {fits} (what {available:.2f} GiB of KV cache hold)", fits)
            return
        if available is None and self.before is not None and self.before.footprint is not None:
            fits = int(self.before.footprint.max_context.low) // _ROUND * _ROUND
            if 0 < fits < self.before.deployment.context:
                change = self._judged("context", f"--max-model-len {fits}", {"max_model_len": fits})
                if change is not None:
                    yield change

    def _held_by(self, gib: float) -> int:
        """Tokens of one request that ``gib`` of measured KV memory hold, by the exact layout of the model."""
        if self.assessor is None:
            return 0
        options = {**self.launch.options, "kv_cache_memory_bytes": int(gib * GIB)}
        after = self.assessor.assess(msgspec.structs.replace(self.launch, options=options))
        return 0 if after.footprint is None else int(after.footprint.max_context.mid)

    def _offer(self, kind: str, text: str, context: int) -> ChangeAnswer:
        return self._answer(kind, text, "measured", self._with({"max_model_len": context}))

    def _measured_sequences(self, blocks: int) -> Iterator[ChangeAnswer]:
        if blocks >= 1:
            text = f"--max-num-seqs {blocks} (the state blocks that the log counts)"
            yield self._answer("sequences", text, "measured", self._with({"max_num_seqs": blocks}))

    def _free_share(self, match: Match) -> Iterator[ChangeAnswer]:
        free, total = match.numbers.get("free"), match.numbers.get("total")
        if not free or not total or free > total:
            return
        share = math.floor(100 * free / total - 0.5) / 100
        if share <= 0.05:
            return
        after = None
        launch = self._with({"gpu_memory_utilization": share})
        if self.assessor is not None:
            after = self.assessor.assess(launch, self.known.arguments.problems)
            if not after.serves:
                return  # what is free does not hold the model: only freeing memory helps
        verdict = "measured" if after is None else after.verdict.value
        text = f"--gpu-memory-utilization {share:g} (the share that was free), or free the GPU and keep the launch"
        yield self._answer("utilization", text, verdict, launch)

    # What the planner solves

    def _native(self) -> Iterator[tuple[str, dict[str, Any]]]:
        checkpoint = self.known.checkpoint
        if checkpoint is not None:
            native = checkpoint.architecture.max_position_embeddings
            yield f"--max-model-len {native}", {"max_model_len": native}

    def _fewer(self, dest: str, values: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
        now = getattr(self._deployment, dest)
        for value in values:
            if value < now:
                yield f"--{dest.replace('_', '-')} {value} (it was {now})", {dest: value}

    def _shares(self, *, up: bool) -> Iterator[tuple[str, dict[str, Any]]]:
        now = self._deployment.gpu_memory_utilization
        shares = [share for share in _UP if share > now] if up else [round(now - less, 2) for less in _DOWN]
        for share in shares:
            if 0.1 <= share < 1:
                yield f"--gpu-memory-utilization {share:g} (it was {now:g})", {"gpu_memory_utilization": share}

    def _set(self, dest: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        now = getattr(self._deployment, dest)
        if now != value and not (dest == "kv_cache_dtype" and value == "fp8" and str(now).startswith("fp8")):
            flag = f"--{dest.replace('_', '-')}"
            yield (flag if value is True else f"{flag} {value}"), {dest: value}

    def _experts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._deployment.architecture.moe is not None and not self._deployment.enable_expert_parallel:
            yield "--enable-expert-parallel", {"enable_expert_parallel": True}

    @property
    def _deployment(self) -> Any:
        if self.before is None:
            raise ValueError("nothing is solved without an assessment")
        return self.before.deployment

    def _judged(self, kind: str, text: str, options: dict[str, Any]) -> ChangeAnswer | None:
        """The change, if the launch serves with it, also by what the log measured."""
        if self.assessor is None:
            return None
        launch = self._with(options)
        after = self.assessor.assess(launch, self.known.arguments.problems)
        if not after.serves or not self._holds_as_measured(after):
            return None
        return self._answer(kind, text, after.verdict.value, launch)

    def _holds_as_measured(self, after: Assessment) -> bool:
        """Does it fit when the prediction is moved by as much as it missed the measured KV memory?"""
        if self.kv_gib is None or self.before is None or self.before.footprint is None or after.footprint is None:
            return True
        moved = after.footprint.kv_gib.mid + self.kv_gib - self.before.footprint.kv_gib.mid
        return moved >= after.footprint.needed_kv_gib

    def _rules(self) -> Iterator[ChangeAnswer]:
        if self.assessor is None or self.before is None:
            return
        texts = judged_fixes(self.assessor, self.before, notes=False)
        for finding in self.before.findings:
            text = texts.get(finding.rule.id)
            if text is None or not finding.stops or not isinstance(finding.verdict, Breach):
                continue
            fix: Fix = next(
                (each for each in finding.verdict.fixes if text.startswith(each.text)), finding.verdict.fixes[0]
            )
            launch = with_fix(self.launch, fix)
            after = self.assessor.assess(launch)
            if not after.serves or not self._holds_as_measured(after):
                continue
            yield self._answer(finding.rule.id, text, after.verdict.value, launch)

    def _request(self) -> Request:
        known, deployment = self.known, self._deployment
        if known.fleet is None or known.checkpoint is None or self.assessor is None:
            raise ValueError("nothing is solved without a fleet and a checkpoint")
        options = self.launch.options
        return Request(
            fleet=known.fleet,
            checkpoint=known.checkpoint,
            release=self.assessor.release,
            context=deployment.context,
            goal=Goal.LATENCY,
            kv_cache_dtype=options.get("kv_cache_dtype"),
            gpu_memory_utilization=options.get("gpu_memory_utilization"),
            max_num_seqs=options.get("max_num_seqs"),
            tools=False,
        )

    def _shape(self) -> Iterator[ChangeAnswer]:
        request = self._request()
        for plan in search(request).plans:
            same = all(
                getattr(plan.shape, name) == getattr(self._deployment, name)
                for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
            )
            if same and plan.shape.enable_expert_parallel == self._deployment.enable_expert_parallel:
                continue
            kept = {name: value for name, value in self.launch.options.items() if name not in _OF_A_SHAPE}
            options = {**kept, **{k: v for k, v in plan.assessment.launch.options.items() if k in _OF_A_SHAPE}}
            launch = msgspec.structs.replace(self.launch, options=options)
            after = self.assessor.assess(launch) if self.assessor is not None else plan.assessment
            if after.serves:
                yield self._answer("shape", _spelled(options), after.verdict.value, launch)

    def _nearest(self) -> Iterator[ChangeAnswer]:
        """Where no option helps: another checkpoint, more GPUs, another release, nearest first."""
        if self.assessor is None or self.before is None or self.before.serves:
            return
        from qcmatrix.planner.relax import nearest_changes  # the dearest search, and rarely needed

        for hint in nearest_changes(self._request())[:3]:
            plan = hint.plan
            launch, verdict = plan.assessment.launch, plan.assessment.verdict
            argv = argv_of(launch, plan.request.release)
            yield ChangeAnswer(hint.change.kind, hint.change.text, verdict.value, argv, env_of(launch))

    def _model(self) -> Iterator[ChangeAnswer]:
        request = self._request()
        for sibling in siblings(request.checkpoint):
            plans = search(msgspec.structs.replace(request, checkpoint=sibling)).plans
            if plans:
                plan = plans[0]
                context = spell_context(plan.context)
                text = f"serve {sibling.checkpoint.repository} (context {context})"
                yield self._answer("model", text, plan.assessment.verdict.value, plan.assessment.launch)
                return

    def _release(self) -> Iterator[ChangeAnswer]:
        known, newest = self.known, load_release(newest_release())
        if (
            known.fleet is None
            or known.checkpoint is None
            or known.release is None
            or known.release.name == newest.name
        ):
            return
        after = Assessor(newest, known.fleet, known.checkpoint).assess(self.launch)
        if after.serves:
            yield self._answer("release", f"vLLM {newest.name} (the same command)", after.verdict.value, self.launch)

    def _with(self, options: dict[str, Any]) -> Launch:
        return msgspec.structs.replace(self.launch, options={**self.launch.options, **options})

    def _answer(self, kind: str, text: str, verdict: str, launch: Launch) -> ChangeAnswer:
        whole = bool(self.known.arguments.basis and launch.model)
        argv = argv_of(launch, self.known.reading) if whole else ()
        return ChangeAnswer(
            kind, text, LaunchVerdict(verdict).value if verdict != "measured" else "measured", argv, env_of(launch)
        )


_OF_A_SHAPE = frozenset(
    {
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "data_parallel_size_local",
        "enable_expert_parallel",
    }
)


def _spelled(options: dict[str, Any]) -> str:
    words = [
        f"--{name.replace('_', '-')} {options[name]}"
        for name in sorted(_OF_A_SHAPE - {"enable_expert_parallel"}, reverse=True)
        if options.get(name, 1) != 1
    ]
    if options.get("enable_expert_parallel"):
        words.append("--enable-expert-parallel")
    return " ".join(words) or "one GPU: no parallelism"
