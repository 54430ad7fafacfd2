"""What a rule is, and what it may answer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from qcmatrix.evidence.summary import RuleStatus, from_ranges, spoken, status_of
from qcmatrix.versions import Range

__all__ = ["Breach", "Fix", "Level", "Outcome", "Rule", "RuleSource", "Severity", "Unknown", "Verdict", "rule"]


_RELEASE_IN_URL = re.compile(r"/vllm-project/vllm/(?:blob|tree)/v([^/]+)/")


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Outcome(StrEnum):
    """What happens to a launch that breaks the rule."""

    REFUSES_TO_START = "refuses to start"
    """vLLM stops with an error before or while it loads."""
    DOES_NOT_FIT = "does not fit"
    """vLLM stops for want of GPU memory."""
    STARTS_AND_IS_WRONG = "starts and is wrong"
    """It serves, and ignores what was asked or answers garbage."""
    SLOWER_OR_SMALLER = "slower or smaller than needed"
    BREAKS_CLIENTS = "breaks clients"
    UNSAFE = "unsafe"
    REDUNDANT = "redundant"

    @property
    def severity(self) -> Severity:
        """The severity of a breach with this outcome."""
        return _SEVERITIES[self]


_SEVERITIES = {
    Outcome.REFUSES_TO_START: Severity.ERROR,
    Outcome.DOES_NOT_FIT: Severity.ERROR,
    Outcome.STARTS_AND_IS_WRONG: Severity.ERROR,
    Outcome.SLOWER_OR_SMALLER: Severity.WARNING,
    Outcome.BREAKS_CLIENTS: Severity.WARNING,
    Outcome.UNSAFE: Severity.WARNING,
    Outcome.REDUNDANT: Severity.INFO,
}


class Level(StrEnum):
    """How something is known, weakest first."""

    DOCUMENTED = "documented"
    DERIVED = "derived"
    PROBED = "probed"
    SERVED = "served"


class RuleSource(msgspec.Struct, frozen=True):
    """Who says so: a public URL and the words there; ``level`` says how that source knows."""

    url: str
    quote: str
    level: Level = Level.DOCUMENTED

    @property
    def release(self) -> str | None:
        """The vLLM release whose source the URL shows; ``None``: it shows none."""
        found = _RELEASE_IN_URL.search(self.url)
        return found[1] if found else None


class Fix(msgspec.Struct, frozen=True):
    """A change to the launch that mends a breach. It is judged again before it is offered.

    ``set`` and ``drop`` speak of options by dest; ``set_env`` and ``drop_env`` of environment variables;
    ``drop_words`` takes words out of what the surface does not know.
    """

    text: str
    set: Mapping[str, Any] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    drop: tuple[str, ...] = ()
    set_env: Mapping[str, str] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    drop_env: tuple[str, ...] = ()
    drop_words: tuple[str, ...] = ()
    safe: bool = False
    """Does the server do the same for its clients afterwards (or did it not start before)?"""


class Breach(msgspec.Struct, frozen=True):
    """The launch breaks the rule."""

    because: str
    """Why, with the numbers of this very launch: one sentence without a full stop."""
    about: tuple[str, ...] = ()
    """Dests of the options (or names of environment variables) that carry the caret."""
    fixes: tuple[Fix, ...] = ()
    """Nearest first."""
    error: str = ""
    """The words that vLLM will print, where it prints any."""
    outcome: Outcome | None = None
    """Where it is not the rule's own outcome."""
    severity: Severity | None = None
    """Where it is not the outcome's own severity."""


class Unknown(msgspec.Struct, frozen=True):
    """The rule cannot tell. Never a pass."""

    because: str
    decides: bool = True
    """``False``: worth a note, but nothing that makes the whole launch's verdict unknown."""


Verdict = Breach | Unknown | None
"""A breach, unknown, or none."""


class Rule(msgspec.Struct, frozen=True):
    """One version-scoped constraint.

    ``function`` takes a :class:`~qcmatrix.deployment.Deployment`; when ``footprint`` is among ``reads`` it takes the
    footprint as well. ``reads`` are all attributes of the deployment that it looks at.
    """

    id: str
    title: str
    page: str
    holds: Range
    reads: tuple[str, ...]
    outcome: Outcome
    sources: tuple[RuleSource, ...]
    enforced_by_vllm: bool
    """vLLM itself enforces it (so that the probe can ask)."""
    function: Callable[..., Verdict]

    @property
    def needs_footprint(self) -> bool:
        """Does it need the memory ledger?"""
        return "footprint" in self.reads

    @property
    def evidence(self) -> RuleStatus:
        """What real releases did with the rule's cases."""
        return status_of(self.id)

    @property
    def probed_on(self) -> tuple[str, ...]:
        """The releases that were asked and did what the rule says. What a source says to have seen does not count."""
        return from_ranges(self.evidence.probed)

    @property
    def level(self) -> Level:
        """The best that is known, of whichever release; without a source it is derived.

        A source that was seen on a release is worth no more than one that was read, unless a record says the same.
        """
        if self.evidence.probed:
            return Level.PROBED
        order = list(Level)
        best = max((source.level for source in self.sources), key=order.index, default=Level.DERIVED)
        return Level.DERIVED if best is Level.PROBED else best

    def level_for(self, release: str) -> Level:
        """How it is known for one release: probed only where that very release was asked."""
        return Level.DERIVED if self.level is Level.PROBED and release not in self.probed_on else self.level

    @property
    def known(self) -> str:
        """``probed on 0.10.0 to 0.32.0``, ``derived``, ``documented``."""
        probed = self.evidence.probed
        return f"probed on {spoken(probed)}" if probed else self.level.value

    def __call__(self, *arguments: Any) -> Verdict:
        """The verdict on a deployment (and its footprint, where the rule reads one)."""
        return self.function(*arguments)


def rule(
    *,
    holds: Range,
    reads: tuple[str, ...],
    outcome: Outcome,
    sources: tuple[RuleSource, ...],
    enforced_by_vllm: bool | None = None,
) -> Callable[[Callable[..., Verdict]], Rule]:
    """Declares a rule. Its id is the function's name with dashes, its title the docstring's first line.

    ``enforced_by_vllm`` defaults to whether the outcome is a refusal.

    Raises:
        ValueError: the function has no docstring page.
    """

    def declare(function: Callable[..., Verdict]) -> Rule:
        page = inspect.getdoc(function) or ""
        title, _, rest = page.partition("\n")
        if not title or not rest.strip():
            raise ValueError(f"rule {function.__name__} needs a docstring: a title line and a page")
        return Rule(
            id=function.__name__.replace("_", "-"),
            title=title.rstrip("."),
            page=page,
            holds=holds,
            reads=reads,
            outcome=outcome,
            sources=sources,
            enforced_by_vllm=outcome is Outcome.REFUSES_TO_START if enforced_by_vllm is None else enforced_by_vllm,
            function=function,
        )

    return declare
