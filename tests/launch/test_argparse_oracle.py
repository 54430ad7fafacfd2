"""The same verdict and the same values as Python's own argparse, given the surface of a release.

Dotted options and ``-O`` are rewritten by vLLM before argparse sees them and have their tests elsewhere.
"""

from __future__ import annotations

import argparse
import json
import re
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qcmatrix.catalogue.releases import Flag, Release, load_release
from qcmatrix.launch.parse import parse
from qcmatrix.launch.parsed import ProblemKind
from qcmatrix.launch.values import CONFIGURATION_CLASSES, human_int

WORDS = ["8", "-1", "0.5", "16K", "25.6k", "1.5K", "auto", "None", "", "a b", "fp8", "x=y", '{"a": {"b": [1]}}', "[1]"]
UNKNOWN = ["--qcm-none", "-zz", "--qcm-none=1", "true"]


class _RefusedError(Exception):
    pass


class _Oracle(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _RefusedError(message)


def _oracle(release: Release) -> _Oracle:
    parser = _Oracle(add_help=False)
    parser.add_argument("model_tag", nargs="?")
    for flag in release.file.flags:
        names = [name for name in flag.names if name != "-O"]
        if flag.type in ("bool", "optional_bool"):
            action: Any = "store_false" if flag.default is True else "store_true"
            negated = {"--no-" + name[2:] for name in names if name.startswith("--")}
            if flag.negations:
                if set(flag.negations) != negated:  # newer releases pair --enable-x with --disable-x as well
                    continue
                action = argparse.BooleanOptionalAction
            parser.add_argument(*names, dest=flag.dest, action=action, default=argparse.SUPPRESS)
            continue
        keywords: dict[str, Any] = {"type": _reader(flag, release), "default": argparse.SUPPRESS}
        if flag.nargs is not None:
            keywords["nargs"] = flag.nargs
        if flag.nargs == "?":
            keywords["const"] = True
        if flag.repeatable:
            keywords |= {"action": "append"}
        if flag.choices:
            keywords["choices"] = [*(int(c) if flag.type == "int" else c for c in flag.choices), None]
        parser.add_argument(*names, dest=flag.dest, **keywords)
    return parser


def _reader(flag: Flag, release: Release) -> Any:
    def read(text: str) -> Any:
        if flag.none_allowed and text in ("", "None"):
            return None
        match flag.type:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "human_int":
                return -1 if flag.accepts_auto and text in ("-1", "auto") else human_int(text, release.version)
            case "json":
                value = text if flag.text_allowed and not re.match(r"(?s)^\s*{.*}\s*$", text) else json.loads(text)
                if flag.dest in CONFIGURATION_CLASSES and not isinstance(value, dict):
                    raise ValueError("Input should be an object")
                return value
        return text

    return read


@st.composite
def _commands(draw: st.DrawFn, release: Release, names: list[str]) -> list[str]:
    words: list[str] = []
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.integers(0, 9)) == 0:
            words.append(draw(st.sampled_from(UNKNOWN)))
            continue
        name = draw(st.sampled_from(names))
        flag = release.flag_by_name.get(name) or release.flag_by_negation[name]
        if draw(st.integers(0, 5)) == 0:  # argparse takes any beginning that is not ambiguous
            name = name[: draw(st.integers(min(4, len(name)), len(name)))]
            if name == "--model":
                continue  # vLLM looks at this one before argparse does
        value = draw(st.sampled_from([*WORDS, *flag.choices, *flag.choices]))
        if flag.type == "json" and re.fullmatch(r"\d+(\.\d+)?[kKmMgGtT]", value):
            value = "{}"  # newer releases read such numbers inside JSON, which this oracle does not
        how = draw(st.integers(0, 3))
        if flag.type in ("bool", "optional_bool") and how != 0:
            words.append(name)
        elif how == 1 and "." not in name:
            words.append(f"{name}={value}")
        elif how == 2 and flag.nargs is not None:
            words += [name, value, draw(st.sampled_from(WORDS))]
        else:
            words += [name, value]
    where = draw(st.integers(0, len(words))) if draw(st.booleans()) else 0
    return [*words[:where], "org/model", *words[where:]]


ORACLES: dict[str, tuple[Release, _Oracle, list[str]]] = {}


def _made(name: str) -> tuple[Release, _Oracle, list[str]]:
    if name not in ORACLES:
        release = load_release(name)
        oracle = _oracle(release)
        known = {option for action in oracle._actions for option in action.option_strings}
        # A name that the oracle lacks would change what an abbreviation means.
        assert known >= {n for f in release.file.flags for n in f.names if n != "-O"} - _paired(release)
        ORACLES[name] = release, oracle, sorted(known - {"--model", "--config"})
    return ORACLES[name]


def _asked(oracle: _Oracle, words: list[str]) -> tuple[dict[str, Any], str]:
    try:
        return vars(oracle.parse_args(words)), ""
    except _RefusedError as error:
        return {}, str(error)


def _paired(release: Release) -> set[str]:
    paired = [flag for flag in release.file.flags if len(flag.negations) > 1]
    return {name for flag in paired for name in (*flag.names, *flag.negations)}


@pytest.mark.parametrize("name", ["0.10.0", "0.12.0", "0.19.0", "0.32.0"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_argparse_agrees(name: str, data: st.DataObject) -> None:
    release, oracle, names = _made(name)
    words = data.draw(_commands(release, names))
    mine = parse(["vllm", "serve", *words], release)
    refused = [problem for problem in mine.problems if problem.refused]
    expected, complaint = _asked(oracle, words)
    if complaint:
        assert refused, f"argparse: {complaint}"
        return
    # vLLM's own demand, made before argparse sees the words.
    refused = [problem for problem in refused if problem.kind is not ProblemKind.NO_MODEL]
    if refused and all("could match" in problem.text for problem in refused):
        return  # an abbreviation that only the paired names make ambiguous
    assert not refused
    model = expected.pop("model_tag")
    assert mine.launch.model == (model or "")
    assert json.dumps(mine.launch.options, sort_keys=True) == json.dumps(expected, sort_keys=True)
