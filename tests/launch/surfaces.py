"""Launches drawn from the option surface of a release."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from qcmatrix.catalogue.releases import Flag, Release, load_release
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.values import CONFIGURATION_CLASSES

RELEASES = ("0.10.0", "0.11.0", "0.12.0", "0.20.0", "0.33.0")

_LETTERS = "abcXYZ019 ._/:=,{}[]'\"\\$#;&|*~-_\n\té€"
_PLAIN = st.text(_LETTERS, min_size=1, max_size=12)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | _NUMBERS | st.text(_LETTERS, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(_LETTERS, min_size=1, max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
_OBJECTS = st.dictionaries(st.text(_LETTERS, min_size=1, max_size=6), _JSON, max_size=3)


def releases() -> list[Release]:
    return [load_release(name) for name in RELEASES]


def values(flag: Flag) -> st.SearchStrategy[Any]:
    """What the option can be given."""
    if flag.type in ("bool", "optional_bool"):
        if flag.negations:
            return st.booleans()
        return st.just(flag.default is not True)
    if flag.nargs == "?":
        return st.just(True) | _one(flag)
    if flag.nargs in ("+", "*"):
        return st.lists(_one(flag).filter(_can_be_one_of_many), min_size=1, max_size=3)
    if flag.repeatable:
        return st.lists(_one(flag), min_size=1, max_size=3)
    return _one(flag)


def _can_be_one_of_many(value: Any) -> bool:
    return not isinstance(value, str) or not value.startswith("-")


def _one(flag: Flag) -> st.SearchStrategy[Any]:
    if flag.choices:
        return st.sampled_from([int(choice) if flag.type == "int" else choice for choice in flag.choices])
    match flag.type:
        case "int":
            drawn: st.SearchStrategy[Any] = st.integers(-(10**9), 10**9)
        case "human_int":
            drawn = st.integers(-1, 10**12)
        case "float":
            drawn = _NUMBERS
        case "json" if flag.text_allowed or flag.dest in CONFIGURATION_CLASSES:
            drawn = _OBJECTS
        case "json":
            drawn = _JSON
        case _:
            drawn = _PLAIN.filter(lambda text: not (flag.none_allowed and text == "None"))
    return st.none() | drawn if flag.none_allowed and not flag.text_allowed else drawn


@st.composite
def launches(draw: st.DrawFn, release: Release) -> Launch:
    """A launch with a handful of options, words that nobody knows, and an environment."""
    dests = sorted(dest for dest in release.flag_by_dest if dest != "model")
    flags = draw(st.lists(st.sampled_from(dests), max_size=6, unique=True))
    options = {dest: draw(values(release.flag_by_dest[dest])) for dest in flags}
    groups = draw(
        st.lists(
            st.sampled_from([("--qcm-alpha",), ("--qcm-beta", "1", "b/c"), ("--qcm-gamma=x y",), ("-zz", "{}")]),
            max_size=2,
        )
    )
    stray = draw(st.sampled_from([(), (), ("true",)]))
    return Launch(
        model=draw(st.sampled_from(["Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8", "/models/my model", "m"])),
        options=options,
        env=draw(st.dictionaries(st.sampled_from(["VLLM_USE_DEEP_GEMM", "A", "_x1"]), st.text(_LETTERS, max_size=8))),
        unknown=(*stray, *(word for group in groups for word in group)),
    )
