"""How fast it answers. Figures are committed in reports/benchmarks.json; nothing here asserts a time."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from qcmatrix.assess import Assessor
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.cli.suggest import suggest_command
from qcmatrix.memory.footprint import footprint
from qcmatrix.planner.launches import launch_of
from qcmatrix.planner.request import Goal, Request
from qcmatrix.planner.search import search
from qcmatrix.planner.space import shapes
from qcmatrix.rules import all_rules
from qcmatrix.rules.judge import Judge

WISH = ("--gpus", "8xH20", "--ctx", "1M")


@pytest.fixture(scope="module")
def request_() -> Request:
    (fleet,) = parse_fleet("8xH20-141")
    return Request(
        fleet=fleet,
        checkpoint=find_checkpoint("480b-fp8"),
        release=load_release("0.33.0"),
        context=1 << 20,
        goal=Goal.THROUGHPUT,
    )


def test_cold_suggest_process(benchmark: Any) -> None:
    command = [sys.executable, "-m", "qcmatrix", "suggest", *WISH]
    benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "check": True}, rounds=10, warmup_rounds=1)


def test_suggest_in_process(benchmark: Any, request_: Request) -> None:
    assert benchmark(search, request_).plans


def test_suggest_command_in_process(benchmark: Any) -> None:
    result = benchmark(CliRunner().invoke, suggest_command, [*WISH, "--json"], standalone_mode=False)
    assert result.exception is None


@pytest.mark.parametrize("memory", [False, True], ids=["rules", "rules and memory"])
def test_judged_launches(benchmark: Any, request_: Request, memory: bool) -> None:
    """One round judges every shape at many contexts: divide the count in extra_info by the time."""
    judge = Judge(request_.release.version, all_rules())
    assessor = Assessor(request_.release, request_.fleet, request_.checkpoint)
    launches = [
        launch_of(request_, shape, 1024 * context, kv)
        for shape in shapes(1, 8, True)
        for context in range(8, 512, 8)
        for kv in ("auto", "fp8")
    ]
    deployments = [assessor.resolve(launch) for launch in launches]
    benchmark.extra_info["launches"] = len(deployments)

    def run() -> int:
        stopped = 0
        for deployment in deployments:
            stopped += any(finding.stops for finding in judge.cheap(deployment))
            if memory:
                footprint(deployment)
        return stopped

    benchmark(run)
