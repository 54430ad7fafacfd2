"""What changed from one vLLM to another: its surface, the rules that hold for it, and what it did when it was asked.

Works on any two :class:`~qcmatrix.catalogue.releases.Release`, a build of one's own included, and in either direction.
What breaks a launch that worked comes first, then what starts and behaves differently, then what is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qcmatrix.answers.schema import CHANGES_SCHEMA, ChangeAnswer, ChangesAnswer, ImpactName
from qcmatrix.catalogue.gpus import all_gpus
from qcmatrix.catalogue.releases import Flag, Release, scheduler_defaults
from qcmatrix.launch.values import takes_no_value
from qcmatrix.probe.changed_answers import Asked, asked_changes
from qcmatrix.rules import all_rules
from qcmatrix.rules.declare import Rule, Severity
from qcmatrix.rules.environment_variable_without_effect import INSTEAD as INSTEAD_OF_VARIABLE
from qcmatrix.rules.removed_flag import INSTEAD

__all__ = ["KINDS", "changes_between"]

KINDS: dict[str, str] = {
    "flag-gone": "flags gone",
    "flag-renamed": "flags with another name",
    "spelling-gone": "spellings gone",
    "spelling-moved": "spellings that mean something else",
    "value-kind": "flags that read their value differently",
    "choices-gone": "values gone",
    "tool-parser-gone": "tool parsers gone",
    "reasoning-parser-gone": "reasoning parsers gone",
    "rule-begins": "rules that hold from here on",
    "rule-contradicted": "rules that the release contradicts",
    "case-broken": "parser cases broken",
    "case-changed": "parser cases changed",
    "weights-moved": "weights per GPU moved",
    "kv-moved": "KV cache moved",
    "answer-moved": "questions answered otherwise",
    "memory-default": "memory defaults moved",
    "scheduler-default": "scheduler defaults moved",
    "default-moved": "defaults moved",
    "deprecated": "deprecated, still accepted",
    "environment-default": "environment variables with another default",
    "environment-gone": "environment variables gone (set, they do nothing)",
    "tool-parser-class": "tool parsers rewritten",
    "reasoning-parser-class": "reasoning parsers rewritten",
    "rule-ends": "rules that hold no more",
    "case-fixed": "parser cases fixed",
    "rule-agrees": "rules that the release no longer contradicts",
    "flag-new": "new flags",
    "spelling-new": "new spellings",
    "choices-new": "new values",
    "tool-parser-new": "new tool parsers",
    "reasoning-parser-new": "new reasoning parsers",
    "environment-new": "new environment variables",
    "not-deprecated": "deprecated no more",
}
"""Every kind of change, in the order of telling, with its heading."""

_IMPACTS: tuple[ImpactName, ...] = ("breaks", "differs", "new")
_PARSER_FLAGS = frozenset({"tool_call_parser", "reasoning_parser"})
_WIDER = frozenset(
    {("int", "human_int"), ("int", "float"), ("bool", "optional_bool"), ("int", "str"), ("float", "str")}
)
"""Kinds of values of which the second reads all that the first reads."""
_MANY = 12  # names: more are counted


def changes_between(before: Release, after: Release, asked: Asked | None = None) -> ChangesAnswer:
    """Everything that is known to differ. ``asked`` holds what the releases did when they were asked, if they were."""
    found = [*_flags(before, after), *_parsers(before, after), *_environment(before, after)]
    found += [*_memory(before, after), *_rules(before, after)]
    not_compared: tuple[str, ...] = ()
    if asked is not None:
        moved, not_compared = asked_changes(asked)
        found += moved
    order = list(KINDS)
    found.sort(key=lambda change: (_IMPACTS.index(change.impact), order.index(change.kind), change.name))
    return ChangesAnswer(
        schema=CHANGES_SCHEMA,
        before=before.name,
        after=after.name,
        changes=tuple(found),
        not_compared=not_compared,
    )


# -- flags -------------------------------------------------------------------------------------------------------


def _flags(before: Release, after: Release) -> Iterator[ChangeAnswer]:
    for dest, flag in before.flag_by_dest.items():
        now = after.flag_by_dest.get(dest)
        if now is None:
            yield _gone(flag, before, after)
        else:
            yield from _spellings(flag, now, after)
            yield from _values(flag, now)
            yield from _default(flag, now)
    for dest, flag in after.flag_by_dest.items():
        if dest not in before.flag_by_dest:
            text = "deprecated from the start" if flag.deprecated else ""
            yield ChangeAnswer("new", "flag-new", flag.names[0], text, None, flag.default)


def _gone(flag: Flag, before: Release, after: Release) -> ChangeAnswer:
    name = flag.names[0]
    heir = after.flag_by_name.get(name) or after.flag_by_negation.get(name)
    if heir is not None:
        return ChangeAnswer("differs", "flag-renamed", name, f"now a way to write {heir.names[0]}", name, heir.names[0])
    renamed = _renamed(flag, before, after)
    if renamed is not None:
        text = f"perhaps {renamed.names[0]} now, which is new and alike"
        return ChangeAnswer("breaks", "flag-renamed", name, text, name, renamed.names[0])
    advice = INSTEAD.get(name, "leave it out")
    return ChangeAnswer("breaks", "flag-gone", name, f"{advice}{' (it was deprecated)' if flag.deprecated else ''}")


def _renamed(flag: Flag, before: Release, after: Release) -> Flag | None:
    """A new flag of the same kind, default and configuration class whose name shares most words with the lost one's."""
    if flag.names[0] in INSTEAD:
        return None
    words = set(flag.dest.split("_"))
    for dest, other in after.flag_by_dest.items():
        shared = words & set(dest.split("_"))
        if (
            dest not in before.flag_by_dest
            and (other.type, other.default, other.group) == (flag.type, flag.default, flag.group)
            and len(shared) >= 2
            and len(shared) >= max(len(words), len(dest.split("_"))) - 1
        ):
            return other
    return None


def _spellings(flag: Flag, now: Flag, after: Release) -> Iterator[ChangeAnswer]:
    kept = {*now.names, *now.negations}
    for name in (*flag.names, *flag.negations):
        if name in kept:
            continue
        other = after.flag_by_name.get(name) or after.flag_by_negation.get(name)
        if other is None:
            yield ChangeAnswer("breaks", "spelling-gone", name, f"of {now.names[0]}, which is still there", name, None)
        else:
            text = f"was {flag.names[0]}, is {other.names[0]} now"
            yield ChangeAnswer("breaks", "spelling-moved", name, text, flag.names[0], other.names[0])
    had = {*flag.names, *flag.negations}
    for name in (*now.names, *now.negations):
        if name not in had:
            yield ChangeAnswer("new", "spelling-new", name, "", None, now.names[0])


def _values(flag: Flag, now: Flag) -> Iterator[ChangeAnswer]:
    name = now.names[0]
    kind, kind_now = _kind(flag), _kind(now)
    if kind != kind_now:
        breaks = (flag.type, now.type) not in _WIDER or flag.nargs != now.nargs
        text = f"{kind} before, {kind_now} now"
        yield ChangeAnswer("breaks" if breaks else "differs", "value-kind", name, text, kind, kind_now)
    if flag.none_allowed and not now.none_allowed and not takes_no_value(now):
        yield ChangeAnswer("breaks", "value-kind", name, "`None` is no value any more", "None allowed", "not allowed")
    if now.dest in _PARSER_FLAGS:
        return  # told as parsers
    # A release names its values either for argparse to insist on, or only for the reader's sake: compared as one.
    had, has = flag.choices or flag.known, now.choices or now.known
    if had and has:
        gone, new = [v for v in had if v not in has], [v for v in has if v not in had]
        if gone:
            yield ChangeAnswer("breaks", "choices-gone", name, f"no more: {_listed(gone)}", gone, None)
        if new:
            yield ChangeAnswer("new", "choices-new", name, f"also {_listed(new)}", None, new)


def _kind(flag: Flag) -> str:
    if takes_no_value(flag):
        return "a switch" if flag.type == "bool" else "a switch with three states"
    kinds = {"str": "a text", "int": "a whole number", "human_int": "a number such as 16K", "float": "a number"}
    kind = kinds.get(flag.type, "JSON") + (" or a text" if flag.text_allowed else "")
    if flag.nargs in ("+", "*"):
        return f"{kind}, several in a row"
    return f"{kind}, or none" if flag.nargs == "?" else kind


def _default(flag: Flag, now: Flag) -> Iterator[ChangeAnswer]:
    name = now.names[0]
    if flag.default != now.default and now.dest != "gpu_memory_utilization":
        text = f"{_spelt(flag.default)} -> {_spelt(now.default)}"
        yield ChangeAnswer("differs", "default-moved", name, text, flag.default, now.default)
    if now.deprecated and not flag.deprecated:
        yield ChangeAnswer("differs", "deprecated", name, "", None, None)
    elif flag.deprecated and not now.deprecated:
        yield ChangeAnswer("new", "not-deprecated", name, "", None, None)


def _spelt(value: Any) -> str:
    import json

    return "computed or none" if value is None else value if isinstance(value, str) and value else json.dumps(value)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:_MANY])
    return shown if len(names) <= _MANY else f"{shown} and {len(names) - _MANY} more"


# -- parsers, environment, memory ---------------------------------------------------------------------------------


def _parsers(before: Release, after: Release) -> Iterator[ChangeAnswer]:
    for kind, had, has in (
        ("tool-parser", before.file.tool_parsers, after.file.tool_parsers),
        ("reasoning-parser", before.file.reasoning_parsers, after.file.reasoning_parsers),
    ):
        for name in had.keys() | has.keys():
            was, now = had.get(name), has.get(name)
            if now is None:
                yield ChangeAnswer("breaks", f"{kind}-gone", name, "", was, None)
            elif was is None:
                yield ChangeAnswer("new", f"{kind}-new", name, "", None, now)
            elif was != now:
                yield ChangeAnswer("differs", f"{kind}-class", name, f"{was} -> {now}", was, now)


def _environment(before: Release, after: Release) -> Iterator[ChangeAnswer]:
    had, has = before.file.environment, after.file.environment
    for name in had.keys() | has.keys():
        if name not in has:
            yield ChangeAnswer("differs", "environment-gone", name, INSTEAD_OF_VARIABLE.get(name, ""), had[name], None)
        elif name not in had:
            yield ChangeAnswer("new", "environment-new", name, "", None, has[name])
        elif had[name] != has[name]:
            text = f"{_spelt(had[name])} -> {_spelt(has[name])}"
            yield ChangeAnswer("differs", "environment-default", name, text, had[name], has[name])


def _memory(before: Release, after: Release) -> Iterator[ChangeAnswer]:
    was, now = before.file, after.file
    if was.gpu_memory_utilization != now.gpu_memory_utilization:
        text = f"{was.gpu_memory_utilization:g} -> {now.gpu_memory_utilization:g}"
        values = was.gpu_memory_utilization, now.gpu_memory_utilization
        yield ChangeAnswer("differs", "memory-default", "--gpu-memory-utilization", text, *values)
    if was.cudagraph_estimated != now.cudagraph_estimated:
        text = "taken out of the budget before the KV cache" if now.cudagraph_estimated else "outside of the budget"
        values = was.cudagraph_estimated, now.cudagraph_estimated
        yield ChangeAnswer("differs", "memory-default", "CUDA graph memory", f"now {text}", *values)
    yield from _batches(before, after)
    had, has = _scheduler(before), _scheduler(after)
    for name in had.keys() | has.keys():
        if had.get(name) != has.get(name):
            text = f"{_spelt(had.get(name))} -> {_spelt(has.get(name))}"
            yield ChangeAnswer("differs", "scheduler-default", name, text, had.get(name), has.get(name))


def _batches(before: Release, after: Release) -> Iterator[ChangeAnswer]:
    """What each listed GPU gets when nothing is asked for; cards with the same change are told together."""
    moved: dict[tuple[str, int, int], list[str]] = {}
    for gpu in all_gpus():
        facts: dict[str, Any] = {
            "visible_gib": gpu.visible_gib,
            "device_name": gpu.device_name,
            "compute_capability": gpu.compute_capability,
        }
        was, now = scheduler_defaults(before, **facts), scheduler_defaults(after, **facts)
        for index, name in enumerate(("--max-num-batched-tokens", "--max-num-seqs")):
            if was[index] != now[index]:
                moved.setdefault((name, was[index], now[index]), []).append(gpu.name)
    for (name, old, new), cards in moved.items():
        where = f"{name} on {_listed(cards)}"
        yield ChangeAnswer("differs", "scheduler-default", where, f"{old} -> {new}", old, new)


def _scheduler(release: Release) -> Mapping[str, Any]:
    """How else batched tokens and sequences are filled in, by a name that people can read."""
    rules = release.file.scheduler
    tokens, backends = rules.batched_data_parallel_tokens, list(rules.batched_data_parallel_backends)
    return {
        "sequences are cut to the batched tokens": rules.seqs_at_most_tokens,
        "batched tokens are cut to sequences x context": rules.tokens_at_most_all_sequences,
        "--no-enable-chunked-prefill is ignored": rules.chunking_forced,
        "batched tokens without chunked prefill": rules.unchunked_tokens,
        "--performance-mode throughput multiplies both by": rules.throughput_factor,
        "batched tokens of expert data parallelism": None if tokens is None else {"tokens": tokens, "on": backends},
    }


# -- rules -------------------------------------------------------------------------------------------------------


def _rules(before: Release, after: Release) -> Iterator[ChangeAnswer]:
    for rule in all_rules():
        held, holds = before.version in rule.holds, after.version in rule.holds
        if holds and not held:
            yield ChangeAnswer(_impact(rule), "rule-begins", rule.id, _told(rule), False, True)
        elif held and not holds:
            yield ChangeAnswer("new", "rule-ends", rule.id, _told(rule), True, False)


def _impact(rule: Rule) -> ImpactName:
    return "breaks" if rule.outcome.severity is Severity.ERROR else "differs"


def _told(rule: Rule) -> str:
    return f"{rule.title} ({rule.outcome.value})"
