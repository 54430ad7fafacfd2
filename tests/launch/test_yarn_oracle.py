"""Our verdicts on ways of asking for a context, against what real releases did.

``oracle_yarn.jsonl`` holds one line per release and way: whether ``EngineArgs(...).create_engine_config()`` of that
release (its CPU build, a directory with nothing but ``config.json``) took it, and what the release's own ``get_rope``
made of the configuration: class, base, rotary dimensions, original positions and factor, or the error it stopped with.
Qwen3-Next is left out before 0.11.1: 0.10.0 does not have it, and the next ones cannot import it without a GPU.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from qcmatrix.assess import Assessor
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.names import find_checkpoint
from qcmatrix.catalogue.releases import load_release, release_names
from qcmatrix.deployment import RopeRequest
from qcmatrix.launch.launch import Launch
from qcmatrix.launch.yarn import native_positions, resolve_positions, yarn_for
from qcmatrix.rules import all_rules
from qcmatrix.rules.declare import Breach, Outcome, Severity, Unknown
from qcmatrix.rules.judge import Judge
from qcmatrix.versions import parse_version

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parent / "oracle_yarn.jsonl").read_text().splitlines()
]
ABOUT_POSITIONS = tuple(
    rule for rule in all_rules() if {"rope", "max_model_len"} & set(rule.reads) or rule.id.startswith("yarn-")
)
ROTARY_DIM = {"Qwen/Qwen3-Coder-Next": 64}

# 0.19.1 to 0.23.0 install with Transformers 4 as well, and then behave like the release before them.
AS_WITH_TRANSFORMERS_4 = "0.19.0"


def judged_as(row: dict[str, Any]) -> str:
    version = parse_version(row["release"])
    old = parse_version(row["transformers"]) < parse_version("5")
    return AS_WITH_TRANSFORMERS_4 if old and parse_version("0.19.0") < version else row["release"]


def truth(row: dict[str, Any]) -> str:
    """``refused``, ``wrong`` or ``right``, from what the release did."""
    if not row["accepted"]:
        return "refused"
    rotary = row["rotary"]
    if "error" in rotary or rotary["base"] is None:
        return "refused"  # it stops while it builds the model
    found = find_checkpoint(row["model"])
    native = native_positions(found.architecture, found.checkpoint)
    scaled = rotary["cls"].startswith("YaRN")
    reach = rotary["max_position_embeddings"] * rotary["scaling_factor"] if scaled else native
    whole = rotary["base"] == found.architecture.rope_theta
    right_dim = rotary["rotary_dim"] == ROTARY_DIM.get(row["model"], found.architecture.head_dim)
    return "right" if whole and right_dim and row["length"] <= reach else "wrong"


@cache
def assessor(release: str, model: str) -> Assessor:
    (fleet,) = parse_fleet("8xH200")
    return Assessor(load_release(release), fleet, find_checkpoint(model))


@cache
def judge(release: str, model: str) -> Judge:
    """One per model: a judge remembers verdicts by what varies between launches of the same checkpoint."""
    assert model
    return Judge(parse_version(release), ABOUT_POSITIONS)


def launch_of(row: dict[str, Any]) -> Launch:
    release = load_release(judged_as(row))
    options: dict[str, Any] = {}
    if row["max_model_len"] is not None:
        options["max_model_len"] = row["max_model_len"]
    if "hf_overrides" in row:
        options["hf_overrides"] = row["hf_overrides"]
    unknown: list[str] = []
    for dest, value in row.get("options", {}).items():
        if release.has_flag(dest):
            options[dest] = value
        else:
            unknown += [f"--{dest.replace('_', '-')}", json.dumps(value)]
    return Launch(model=row["model"], options=options, env=row.get("env", {}), unknown=tuple(unknown))


def decided_by_the_cpu(row: dict[str, Any]) -> bool:
    """A length below one, up to 0.11.0: refused for its batch of 0 tokens, which only the CPU build makes of it."""
    below_one = row["max_model_len"] is not None and row["max_model_len"] < 1
    return below_one and parse_version(row["release"]) < parse_version("0.11.1")


COMMANDS = [row for row in ROWS if "config" not in row and not decided_by_the_cpu(row)]


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: f"{row['release']}-{row['transformers']}-{row['form']}")
def test_verdict_is_what_the_release_did(row: dict[str, Any]) -> None:
    release = judged_as(row)
    deployment = assessor(release, row["model"]).resolve(launch_of(row))
    findings = judge(release, row["model"]).cheap(deployment)
    if any(isinstance(finding.verdict, Unknown) for finding in findings):
        return  # said so, and why
    stopping = [finding for finding in findings if finding.severity is Severity.ERROR]
    outcomes = {finding.outcome for finding in stopping}
    said = "refused" if Outcome.REFUSES_TO_START in outcomes else "wrong" if outcomes else "right"
    did = truth(row)
    if any(finding.rule.id == "yarn-loses-rope-theta" for finding in stopping):
        assert did in ("wrong", "refused")  # the base is 10000 or null, by the Transformers release
        return
    assert said == did, [(finding.rule.id, finding.verdict) for finding in findings]
    words = [
        f.verdict.error for f in stopping if isinstance(f.verdict, Breach) and f.outcome is Outcome.REFUSES_TO_START
    ]
    if did == "refused" and "User-specified" in row.get("error", ""):
        assert any(text.startswith("User-specified") and text in row["error"] for text in words), words


CONFIGS = [
    row
    for row in ROWS
    if isinstance(row.get("config", {}).get("rope_scaling"), dict) and row["max_model_len"] is not None
]


@pytest.mark.parametrize("row", CONFIGS, ids=lambda row: f"{row['release']}-{row['transformers']}-{row['form']}")
def test_an_edited_config_json(row: dict[str, Any]) -> None:
    architecture = find_checkpoint(row["model"]).architecture
    scaling = row["config"]["rope_scaling"]
    rope = RopeRequest(
        form="config",
        rope_type=scaling.get("rope_type", scaling.get("type")),
        factor=scaling["factor"],
        original_max_position_embeddings=scaling["original_max_position_embeddings"],
        rope_theta=None,
        max_position_embeddings=None,
    )
    native = row["config"].get("max_position_embeddings", architecture.max_position_embeddings)
    positions = resolve_positions(parse_version(judged_as(row)), native, architecture.rope_theta, rope)
    assert row["accepted"] is (row["max_model_len"] <= positions.derived)
    if row["accepted"]:
        assert row["rotary"]["base"] == positions.rope_theta
        assert row["rotary"]["max_position_embeddings"] * row["rotary"]["scaling_factor"] == positions.reach


@pytest.mark.parametrize("release", release_names())
@pytest.mark.parametrize("context", [131_072, 262_144, 300_000, 524_288, 1_000_000, 1_048_576])
@pytest.mark.parametrize("model", ["480b-fp8", "next-fp8"])
def test_the_right_way_breaks_no_rule(release: str, context: int, model: str) -> None:
    found = find_checkpoint(model)
    options, env = yarn_for(parse_version(release), found.architecture, found.checkpoint, context)
    deployment = assessor(release, found.repository).resolve(Launch(found.repository, options, env))
    findings = [f for f in judge(release, model).cheap(deployment) if f.severity is not Severity.INFO]
    assert not findings, [(finding.rule.id, finding.verdict) for finding in findings]
    assert deployment.context == context


def test_the_right_way_is_what_a_release_served_right() -> None:
    """The very options that we give for 1M were run and found right, in each regime."""
    seen = set()
    for row in COMMANDS:
        found = find_checkpoint(row["model"])
        if row["max_model_len"] != 1_048_576 or found.architecture.linear_attention is not None:
            continue
        options, env = yarn_for(parse_version(judged_as(row)), found.architecture, found.checkpoint, 1_048_576)
        if row.get("hf_overrides") == options["hf_overrides"] and row.get("env", {}) == env:
            assert truth(row) == "right"
            seen.add(row["release"])
    assert seen == {row["release"] for row in ROWS}
