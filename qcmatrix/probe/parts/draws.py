"""Drawn launches: our verdict must be the release's, launch for launch."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.evidence.records import Record
from qcmatrix.launch.parse import parse
from qcmatrix.probe.agree import Agreement, Grade, Ours, agreement, ours, question_for
from qcmatrix.probe.configs import config_json
from qcmatrix.probe.draws import Drawn, as_json, rule_case, seeded, shrink
from qcmatrix.probe.session import Reply, Session

__all__ = ["Asked", "Asker", "Disagreement", "disagreements", "probe", "summary"]

COUNT: Final = 300
"""Launches that are drawn for a release when nothing else is asked for."""
SEED: Final = 1
_TIMEOUT: Final = 180.0
"""Seconds for one launch: the first of a model imports its code."""
_SHRUNK: Final = 12
"""Kinds of disagreement that are made smaller; each costs some dozens of questions."""

_Layout = tuple[str, ...]
_DECIDES_NO_LAYOUT: Final = frozenset(
    {
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN",
        "async_scheduling",
        "reasoning_parser",
        "data_parallel_size_local",
        "distributed_executor_backend",
        "data_parallel_backend",
        "load_format",
        "enforce_eager",
        "optimization_level",
        "compilation_config",
        "disable_log_requests",
        "enable_auto_tool_choice",
        "enable_chunked_prefill",
        "enable_log_requests",
        "enable_prefix_caching",
        "generation_config",
        "gpu_memory_utilization",
        "host",
        "kv_cache_memory_bytes",
        "max_logprobs",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_seqs",
        "max_seq_len_to_capture",
        "num_gpu_blocks_override",
        "port",
        "seed",
        "served_model_name",
        "swap_space",
        "tool_call_parser",
        "trust_remote_code",
    }
)
"""Options (dests) and variables that no layer of the model looks at."""

Progress = Callable[[str], None]


class Asked(msgspec.Struct, frozen=True):
    """A drawn launch and how the two verdicts compare."""

    launch: Drawn
    agreement: Agreement


class Disagreement(msgspec.Struct, frozen=True):
    """Launches on which the verdicts differ in one way."""

    smallest: Drawn
    why: str
    error: str
    count: int
    """How many of the drawn launches show it."""
    case: str
    """A case for the rule that is wrong, ready to be put into its file."""


class Asker:
    """Puts drawn launches to one release.

    Laying out weights takes a hundred times as long as a configuration, and depends on few of the words: what came of
    it is remembered by those.
    """

    def __init__(self, session: Session, release: Release) -> None:
        self.session = session
        self.release = release
        self._laid_out: dict[_Layout, Reply] = {}
        self.questions = 0
        """Asked so far."""

    def ask(self, launches: Sequence[Drawn], progress: Progress | None = None) -> list[Asked]:
        """How the verdicts on ``launches`` compare, in their order."""
        # A release remembers much by the card that it believes to be on: neighbours should share it.
        order = sorted(range(len(launches)), key=lambda place: (launches[place].card, launches[place].repository))
        repositories = {launch.repository for launch in launches}
        self.session.configs({name: config_json(find_checkpoint(name)) for name in sorted(repositories)})
        made: dict[int, Agreement] = {}
        accepted: list[int] = []
        answers: dict[int, Reply] = {}
        for place, reply in zip(order, self._many((launches[place] for place in order), weights=False), strict=True):
            answers[place] = reply
            if reply.answer is not None and "error" not in reply.answer:
                accepted.append(place)
            if progress is not None and len(answers) % 50 == 0:
                progress(f"{len(answers)} of {len(launches)} configurations")
        self._lay_out([launches[place] for place in accepted], progress)
        for place in order:
            launch, reply = launches[place], answers[place]
            mine = self._ours(launch)
            if place in accepted or reply.answer is None:
                reply = _joined(reply, self._laid_out.get(self._layout(launch)))
            made[place] = _agreement(mine, reply)
        return [Asked(launch, made[place]) for place, launch in enumerate(launches)]

    def one(self, launch: Drawn) -> Agreement:
        """How the verdicts on one launch compare."""
        return self.ask([launch])[0].agreement

    def _lay_out(self, launches: Iterable[Drawn], progress: Progress | None) -> None:
        wanted: dict[_Layout, Drawn] = {}
        for launch in launches:
            if (layout := self._layout(launch)) not in self._laid_out:
                wanted.setdefault(layout, launch)
        for number, (key, reply) in enumerate(zip(wanted, self._many(wanted.values(), weights=True), strict=True)):
            self._laid_out[key] = reply
            if progress is not None and number % 20 == 0:
                progress(f"{number} of {len(wanted)} layouts of weights")

    def _many(self, launches: Iterable[Drawn], *, weights: bool) -> Iterable[Reply]:
        return self.session.ask_many((self._question(launch, weights=weights) for launch in launches), timeout=_TIMEOUT)

    def _question(self, launch: Drawn, *, weights: bool) -> dict[str, Any]:
        self.questions += 1
        (fleet,) = parse_fleet(launch.gpus)
        checkpoint = find_checkpoint(launch.repository)
        asked = question_for(launch.words, checkpoint, fleet, self.release, env=launch.env, weights=weights)
        return {"ask": "launch", **asked}

    def _layout(self, launch: Drawn) -> _Layout:
        """What the laying out of the weights depends on."""
        read = parse(launch.words, self.release, env=launch.env).launch
        flags = self.release.flag_by_dest
        options = (
            f"{dest}={value!r}"
            for dest, value in read.options.items()
            if dest not in _DECIDES_NO_LAYOUT and (dest not in flags or value != flags[dest].default)
        )
        env = (f"{name}={value}" for name, value in read.env.items() if name not in _DECIDES_NO_LAYOUT)
        return (launch.repository, launch.card, *sorted((*options, *env)))

    def _ours(self, launch: Drawn) -> Ours:
        (fleet,) = parse_fleet(launch.gpus)
        return ours(launch.words, find_checkpoint(launch.repository), fleet, self.release, env=launch.env)


def _joined(config: Reply, weights: Reply | None) -> Reply:
    """The answer to the whole launch: the configuration's values, the weights' outcome."""
    if config.answer is None or weights is None:
        return config
    if weights.answer is None:
        return weights
    kept = {key: value for key, value in weights.answer.items() if key != "resolved"}
    resolved = {**(weights.answer.get("resolved") or {}), **(config.answer.get("resolved") or {})}
    return msgspec.structs.replace(weights, answer={**kept, "resolved": resolved})


def _agreement(mine: Ours, reply: Reply) -> Agreement:
    error = None if reply.error is None else f"{reply.error.type}: {reply.error.text}"
    return agreement(mine, reply.answer, error=error, not_askable=reply.not_askable)


def disagreements(asker: Asker, asked: Iterable[Asked], progress: Progress | None = None) -> list[Disagreement]:
    """The ways in which verdicts differ, most frequent first, each with the smallest launch that shows it."""
    kinds: dict[tuple[str, str], list[Asked]] = {}
    for each in asked:
        if each.agreement.grade is Grade.DISAGREE:
            kinds.setdefault(_kind(each.agreement), []).append(each)
    found = []
    ranked = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    for number, (kind, members) in enumerate(ranked):
        first = min(members, key=lambda each: len(each.launch.parts))
        launch, seen = first.launch, first.agreement
        if number < _SHRUNK:
            if progress is not None:
                progress(f"making disagreement {number + 1} of {len(ranked)} smaller")
            launch = shrink(launch, lambda smaller, kind=kind: _kind(asker.one(smaller)) == kind)  # type: ignore[misc]
            seen = asker.one(launch)
        case = rule_case(launch, str(asker.release), "breaks" if seen.refused else "allows", seen.error or seen.why)
        found.append(Disagreement(launch, seen.why, seen.error, len(members), case))
    return found


def _kind(agreement: Agreement) -> tuple[str, str]:
    """What makes two disagreements the same: grade, rules and words, numbers and paths left out."""
    if agreement.grade is not Grade.DISAGREE:
        return ("", "")
    why = "+".join(agreement.rules) or re.sub(r"[\d.]+", "N", agreement.why)
    said = re.sub(r"/\S+", "", agreement.error)
    # Which of several classes was being validated, and the input that it prints, say nothing about the cause.
    said = re.sub(r"\[type=.*", "", said, flags=re.DOTALL)
    return (why, re.sub(r"\d+", "N", said)[:120])


def summary(count: int, seed: int, asked: Sequence[Asked], found: Sequence[Disagreement]) -> dict[str, Any]:
    """What a record keeps: counts, the reasons of what could not be told, and every kind of disagreement."""
    seen = [each.agreement for each in asked]
    grades = Counter(each.grade for each in seen)
    agreed = [each for each in seen if each.grade is Grade.AGREE]
    return {
        "count": count,
        "seed": seed,
        "agreed": grades[Grade.AGREE],
        "refused": sum(each.refused is True for each in agreed),
        "accepted": sum(each.refused is False for each in agreed),
        "words": _counted(each.words.value for each in agreed if each.words is not None),
        "foretold": _counted(each.rules[0] for each in agreed if len(each.rules) == 1),
        "explained": _counted(each.why for each in seen if each.grade is Grade.EXPLAINED),
        "unknown": _counted(rule for each in seen if each.grade is Grade.UNKNOWN for rule in each.rules),
        "not askable": _counted(each.why for each in seen if each.grade is Grade.NOT_ASKABLE),
        "disagreed": grades[Grade.DISAGREE],
        "disagreements": [
            {**as_json(each.smallest), "launches": each.count, "why": each.why, "error": each.error[:400]}
            for each in found
        ],
    }


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def probe(
    session: Session, release: Release, progress: Progress, *, count: int = COUNT, seed: int = SEED
) -> list[Record]:
    """One record: what came of ``count`` launches drawn with ``seed``.

    Raises:
        SessionError: the release's worker cannot be started.
    """
    asker = Asker(session, release)
    asked = asker.ask(list(seeded(release, count, seed)), progress)
    found = disagreements(asker, asked, progress)
    hello = session.hello
    return [
        Record(
            release=release.name,
            part="draws",
            subject=f"seed/{seed}",
            question={"count": count, "seed": seed},
            answer=summary(count, seed, asked, found),
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            torch=hello.torch,
            transformers=hello.transformers,
        )
    ]
