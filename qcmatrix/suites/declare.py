"""How a check is written down: a function that asks a server, with what it needs, states and rests on.

The function is the check: its first line of docstring is the title, the rest the page. It returns nothing when all is
well (or a :class:`Rate`, or :class:`Judged` figures), and raises :class:`Wrong` when the server does something else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from qcmatrix.suites.bench import Bench

__all__ = [
    "BOTH",
    "ONCE",
    "Check",
    "Mode",
    "Need",
    "NotApplicable",
    "Rate",
    "Tier",
    "Wrong",
    "check",
]


class Tier(StrEnum):
    """What a check needs and how it gates."""

    CONTRACT = "T1"
    """HTTP, form, limits: true of any model; one trial, no retries."""
    BEHAVIOUR = "T2"
    """What the model does: a rate over trials with its Wilson interval."""
    PERFORMANCE = "T3"
    LONG = "T4"
    """Long contexts."""


class Mode(StrEnum):
    """How the reply is asked for."""

    WHOLE = "whole"
    STREAM = "stream"
    ONCE = "once"
    """The check decides by itself, and runs once."""


BOTH = (Mode.WHOLE, Mode.STREAM)
ONCE = (Mode.ONCE,)


class Need(StrEnum):
    """What a server must have for a check to say anything."""

    TRAINED = "trained weights"
    """The model was trained: with random weights a rate says nothing."""
    TOOLS = "--enable-auto-tool-choice"
    OWN_SERVER = "a server that we started"
    """Its log, its process and its command are ours to look at."""
    GPU = "a GPU"
    FORCING = "structured outputs"
    """A request can make the model say an exact text (``structured_outputs``)."""
    YARN = "a YaRN launch"
    ALONE = "nothing else on the server"
    """No other check may run at the same time."""


class Wrong(Exception):
    """The server did something else than a source states."""

    def __init__(self, expected: str, observed: str) -> None:
        super().__init__(f"expected {expected}; observed {observed}")
        self.expected = expected
        self.observed = observed


class NotApplicable(Exception):
    """The check says nothing about this server; the text says why."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """``passes`` of ``trials``, against the least share that is asked for."""

    passes: int
    trials: int
    threshold: float
    """0: the rate is recorded and gates nothing."""
    misses: tuple[str, ...] = ()
    """What was seen where it did not pass, a line each."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One conformance case."""

    id: str
    """``TC-14`` or, where a case has variants, ``TC-14.crlf``."""
    suite: str
    """``boot``, ``tools``, ``fim``, ``context``, ``latency``, ``quality``."""
    profiles: tuple[str, ...]
    """The named sets that it belongs to; see ``profiles.toml``."""
    core: bool
    """A cell is *supported* only if all core checks of the profile pass; the others are *extended*."""
    tier: Tier
    modes: tuple[Mode, ...]
    needs: tuple[Need, ...]
    tokens: int
    """It asks with so many tokens of context at least: a server with less cannot be asked."""
    releases: tuple[str | None, str | None]
    """Half-open range of vLLM releases of which it can be asked."""
    sources: tuple[str, ...]
    title: str
    page: str
    run: Callable[[Bench], Rate | None]

    def __call__(self, bench: Bench) -> Rate | None:
        """Ask the server of ``bench``, in its mode.

        Raises:
            Wrong: it does something else.
            NotApplicable: it cannot be asked.
            WireError: it cannot be reached.
        """
        return self.run(bench)


def check(
    id: str,  # noqa: A002 - the word that everybody uses
    *,
    suite: str,
    profiles: tuple[str, ...],
    tier: Tier = Tier.CONTRACT,
    core: bool = True,
    modes: tuple[Mode, ...] = BOTH,
    needs: tuple[Need, ...] = (),
    tokens: int = 2048,
    releases: tuple[str | None, str | None] = (None, None),
    sources: tuple[str, ...] = (),
    variants: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Rate | None]], tuple[Check, ...]]:
    """Declare the function below as the check ``id``.

    With ``variants`` (name to value) it is one check per variant, ``ID.name``, and is given the value as its second
    argument; a value that is a mapping with a ``title`` takes that for the check's title.
    """

    def declare(function: Callable[..., Rate | None]) -> tuple[Check, ...]:
        page = inspect.cleandoc(function.__doc__ or "")
        title = page.partition("\n")[0].strip().rstrip(".")
        if not title:
            raise ValueError(f"{id}: no docstring")

        def made(name: str, own: str, run: Callable[[Bench], Rate | None]) -> Check:
            return Check(
                id=name,
                suite=suite,
                profiles=profiles,
                core=core,
                tier=tier,
                modes=modes,
                needs=needs,
                tokens=tokens,
                releases=releases,
                sources=sources,
                title=own,
                page=page,
                run=run,
            )

        if variants is None:
            return (made(id, title, function),)
        return tuple(
            made(
                f"{id}.{name}",
                f"{title}: {value['title'] if isinstance(value, Mapping) and 'title' in value else name}",
                lambda bench, value=value: function(bench, value),  # type: ignore[misc]
            )
            for name, value in variants.items()
        )

    return declare
