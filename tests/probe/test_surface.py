from __future__ import annotations

import copy
import re
from typing import Any

import msgspec
import pytest

from qcmatrix.catalogue.releases import Release, load_release
from qcmatrix.evidence.records import Record
from qcmatrix.probe.graded import Mark
from qcmatrix.probe.parts import surface
from qcmatrix.probe.session import Session


def as_live(release: Release) -> dict[str, Any]:
    """The answer of a release that is exactly what the catalogue says."""
    file = release.file
    return {
        "flags": msgspec.to_builtins(file.flags),
        "tool_parsers": dict(file.tool_parsers),
        "reasoning_parsers": dict(file.reasoning_parsers),
        "environment": dict(file.environment),
        "environment_differs": {},
    }


@pytest.fixture(scope="module")
def release() -> Release:
    return load_release("0.32.0")


def test_what_the_catalogue_says_differs_in_nothing(release: Release) -> None:
    assert surface.differences(release, as_live(release)) == ()


def change_default(live: dict[str, Any]) -> None:
    next(flag for flag in live["flags"] if flag["dest"] == "block_size")["default"] = 8


def lose_a_flag(live: dict[str, Any]) -> None:
    live["flags"] = [
        flag for flag in live["flags"] if flag["dest"] != "swap_space_gone" and flag["dest"] != "block_size"
    ]


def lose_a_choice(live: dict[str, Any]) -> None:
    next(flag for flag in live["flags"] if flag["dest"] == "kv_cache_dtype")["choices"] = ["auto"]


def add_a_parser(live: dict[str, Any]) -> None:
    live["tool_parsers"]["new_one"] = "NewToolParser"


def rename_a_parser_class(live: dict[str, Any]) -> None:
    live["tool_parsers"]["qwen3_coder"] = "Other"


def lose_a_variable(live: dict[str, Any]) -> None:
    del live["environment"]["VLLM_PP_LAYER_PARTITION"]


def read_another_default(live: dict[str, Any]) -> None:
    live["environment_differs"]["VLLM_USE_DEEP_GEMM"] = ["1", "0"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_default, "flag --block-size: default is 8"),
        (lose_a_flag, "flag --block-size: only in the catalogue"),
        (lose_a_choice, "flag --kv-cache-dtype: choices is"),
        (add_a_parser, "tool parser new_one: not in the catalogue"),
        (rename_a_parser_class, "tool parser qwen3_coder: is Other"),
        (lose_a_variable, "variable VLLM_PP_LAYER_PARTITION: only in the catalogue"),
        (read_another_default, "variable VLLM_USE_DEEP_GEMM: set to its default"),
    ],
)
def test_a_difference_is_one_line_that_says_it(release: Release, change: Any, said: str) -> None:
    live = copy.deepcopy(as_live(release))
    change(live)
    (line,) = surface.differences(release, live)
    assert said in line


def test_expected_differences_are_patterns_with_a_reason() -> None:
    for expected in surface.EXPECTED:
        assert re.compile(expected.what)
        assert expected.why


def test_an_expected_difference_of_one_release_is_none_of_another() -> None:
    for name, count in (("0.10.2", 0), ("0.10.1", 1)):
        release = load_release(name)
        live = as_live(release)
        live["environment"]["VLLM_MAIN_CUDA_VERSION"] = "12.8"
        assert len(surface.differences(release, live)) == count
        assert len(surface.differences(release, live, explained=True)) == 1


@pytest.mark.parametrize(
    ("kept", "mark"),
    [
        ({"answer": {"differs": []}}, Mark.AGREE),
        ({"answer": {"differs": ["flag --x: not in the catalogue"]}}, Mark.DISAGREE),
        ({"error": "WorkerCrashed: gone"}, Mark.FAILED),
        ({"not_askable": "no parser"}, Mark.NOT_ASKABLE),
    ],
)
def test_a_record_is_judged_by_what_differs(release: Release, kept: dict[str, Any], mark: Mark) -> None:
    record = Record(
        release="0.32.0", part="surface", subject="surface", date="2026-11-22", torch="2", transformers="5", **kept
    )
    (graded,) = surface.graded([record], release)
    assert graded.mark is mark


@pytest.mark.probe
def test_the_surface_of_a_real_release_is_the_extracted_one(release_session: Session, probed_release: Release) -> None:
    (record,) = surface.probe(release_session, probed_release)
    assert record.error is None
    assert record.answer == {"differs": []}


@pytest.mark.probe
def test_a_wrong_claim_about_a_variable_is_found(release_session: Session) -> None:
    reply = release_session.ask("surface", timeout=300, environment={"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "77"})
    assert reply.answer is not None
    assert reply.answer["environment_differs"]["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"][0] == "77"
