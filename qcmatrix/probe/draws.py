"""Drawn launches: any command that a user may write, likely ones more often, from a seed or from Hypothesis.

A drawn launch is a model, a card and a handful of independent parts (one option, or options that belong together), so
that one that shows a disagreement can be made smaller by leaving parts out.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import Release
from qcmatrix.probe.drawn_parts import PARTS, Model, Part

__all__ = ["Chooser", "Drawn", "Seeded", "draw", "rule_case", "seeded", "shrink", "simpler"]

_T = TypeVar("_T")

CARDS: Final[Mapping[str, float]] = {"H200": 10, "A100-80": 2, "L40S": 2, "B200": 1.5, "A100-40": 0.5, "T4": 0.7}
"""Cards to draw from, with weights: five compute capabilities, large and small memory."""

MODELS: Final[Mapping[str, float]] = {
    "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8": 5,
    "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8": 5,
    "Qwen/Qwen3-Coder-Next-FP8": 4,
    "Qwen/Qwen3-Coder-Next": 3,
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": 3,
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": 2,
    "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ": 3,
    "QuantTrio/Qwen3-Coder-480B-A35B-Instruct-AWQ": 2,
    "Qwen/Qwen3-235B-A22B-FP8": 1.5,
    "Qwen/Qwen3-235B-A22B-Instruct-2507": 1,
    "Qwen/Qwen3-235B-A22B-GPTQ-Int4": 1,
    "Qwen/Qwen3-30B-A3B-GPTQ-Int4": 1,
    "Qwen/Qwen3-Next-80B-A3B-Instruct-FP8": 1,
    "Qwen/Qwen3-0.6B": 1,
    "Qwen/Qwen3-8B": 1,
    "Qwen/Qwen3-8B-FP8": 1,
    "Qwen/Qwen3-14B-AWQ": 1,
    "Qwen/Qwen3-32B": 1,
    "Qwen/Qwen2.5-Coder-7B-Instruct": 1,
    "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ": 1,
    "Qwen/Qwen2.5-Coder-32B-Instruct-AWQ": 1,
    "Qwen/Qwen2.5-Coder-7B-Instruct-GPTQ-Int8": 0.7,
    "meta-llama/Llama-3.1-8B-Instruct": 0.7,
}
"""Repositories to draw from, with weights."""

PER_NODE: Final = 1024
"""Cards of the drawn fleet: more than any drawn launch takes, so that the number of cards decides nothing."""


class Chooser(Protocol):
    """Where the choices come from: a seed, or Hypothesis."""

    def pick(self, options: Sequence[_T]) -> _T:
        """One of ``options``; the first is the simplest."""
        ...

    def chance(self, probability: float) -> bool:
        """``True`` with that probability; ``False`` is the simpler answer."""
        ...


class Seeded:
    """Choices from a seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing secret is drawn

    def pick(self, options: Sequence[_T]) -> _T:
        """One of ``options``, all equally likely."""
        return self._random.choice(options)

    def chance(self, probability: float) -> bool:
        """``True`` with that probability."""
        return self._random.random() < probability


class Drawn(msgspec.Struct, frozen=True):
    """One drawn launch."""

    repository: str
    card: str
    parts: tuple[Part, ...]

    @property
    def gpus(self) -> str:
        """The fleet, as :func:`qcmatrix.catalogue.fleets.parse_fleet` reads it."""
        return f"{PER_NODE}x{self.card}"

    @property
    def words(self) -> list[str]:
        """``vllm serve MODEL ...``."""
        return ["vllm", "serve", self.repository, *(word for part in self.parts for word in part.words)]

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that stand before it."""
        return {name: value for part in self.parts for name, value in part.env}

    @property
    def command(self) -> str:
        """One shell line."""
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.env.items()), shlex.join(self.words)])


def draw(choose: Chooser, release: Release) -> Drawn:
    """One launch for ``release``."""
    repository = choose.pick(_spread(MODELS))
    card = choose.pick(_spread(CARDS))
    # Quiet launches have few options, all of them sound: they find refusals that should be none. Loud ones find what
    # is refused and should be foretold; but one that breaks five rules says little about any of them.
    amount = choose.pick((0.12, 0.12, 0.12, 0.12, 0.35, 0.35, 0.35, 0.8))
    odd = choose.pick((0.02, 0.02, 0.12, 0.3))
    model = Model.of(find_checkpoint(repository))
    made = (make(choose, model, release, amount, odd) for make in PARTS)
    return Drawn(repository, card, tuple(part for part in made if part is not None))


def _spread(weights: Mapping[str, float]) -> tuple[str, ...]:
    """Each name as often as it weighs, in tenths: what Hypothesis samples from has no weights."""
    return tuple(name for name, weight in weights.items() for _ in range(round(weight * 10)))


def seeded(release: Release, count: int, seed: int, *, start: int = 0) -> Iterator[Drawn]:
    """``count`` launches for ``release``; each can be drawn again by seed and number alone."""
    for number in range(start, start + count):
        yield draw(Seeded(f"{seed}/{release}/{number}"), release)


def simpler(launch: Drawn) -> Iterator[Drawn]:
    """Launches that are a little simpler: one part less, an H200, a plainer part."""
    for place in range(len(launch.parts)):
        yield msgspec.structs.replace(launch, parts=launch.parts[:place] + launch.parts[place + 1 :])
    if launch.card != "H200":
        yield msgspec.structs.replace(launch, card="H200")
    for place, part in enumerate(launch.parts):
        if len(part.env) > 0 and part.words:
            plain = msgspec.structs.replace(part, env=())
            yield msgspec.structs.replace(launch, parts=(*launch.parts[:place], plain, *launch.parts[place + 1 :]))


def shrink(launch: Drawn, disagrees: Callable[[Drawn], bool], *, tries: int = 60) -> Drawn:
    """The simplest launch on the way down from ``launch`` that still ``disagrees``; at most ``tries`` are asked."""
    progress = True
    while progress and tries > 0:
        progress = False
        for smaller in simpler(launch):
            if tries <= 0:
                break
            tries -= 1
            if disagrees(smaller):
                launch, progress = smaller, True
                break
    return launch


def rule_case(launch: Drawn, release: str, kind: str, why: str) -> str:
    """A case for ``qcmatrix/rules/cases/<rule>.toml``: ``kind`` is ``breaks``, ``allows`` or ``unknown``."""
    comment = " ".join(why.split())[:100]
    return "\n".join(
        (
            f"[[{kind}]]  # {comment}",
            f'vllm = "{release}"',
            f'gpus = "{launch.gpus}"',
            f"command = {_toml(launch.command)}",
        )
    )


def _toml(text: str) -> str:
    return f"'''{text}'''" if "'" in text or '"' in text else f'"{text}"'


def as_json(launch: Drawn) -> dict[str, Any]:
    """What an evidence record keeps of a launch."""
    return {"command": launch.command, "gpus": launch.gpus}
