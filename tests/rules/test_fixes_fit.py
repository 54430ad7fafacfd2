"""Fixes that are offered for want of memory: what is offered fits."""

from __future__ import annotations

import shlex

import pytest

from qcmatrix.assess import Assessor
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.models import find_checkpoint
from qcmatrix.catalogue.releases import load_release
from qcmatrix.fixes import judged_fixes
from qcmatrix.launch.parse import parse


@pytest.mark.parametrize(
    ("gpus", "options", "rule", "offered"),
    [
        ("8xH200", "", "weights-do-not-fit", "--tensor-parallel-size 8 --enable-expert-parallel"),
        ("8xH200", "-tp 4", "kv-cache-too-small-for-context", "--tensor-parallel-size 8 --enable-expert-parallel"),
        (
            "8xH200",
            "-tp 4 -pp 3 --enable-expert-parallel",
            "more-gpus-than-the-fleet-has",
            "--pipeline-parallel-size 2",
        ),
        (
            "8xH200",
            "-tp 8 --enable-expert-parallel --num-gpu-blocks-override 100",
            "kv-cache-too-small-for-context",
            "drop `--num-gpu-blocks-override`",
        ),
        ("8xH20-96", "-dp 8 --enable-expert-parallel", "max-model-len-left-at-default", None),
    ],
)
def test_first_fix(gpus: str, options: str, rule: str, offered: str | None) -> None:
    release = load_release("0.33.0")
    words = shlex.split(f"vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 {options}")
    parsed = parse(words, release)
    (fleet,) = parse_fleet(gpus)
    assessor = Assessor(release, fleet, find_checkpoint(parsed.launch.model))
    assessment = assessor.assess(parsed.launch, parsed.problems)
    assert rule in {finding.rule.id for finding in assessment.findings}
    fix = judged_fixes(assessor, assessment).get(rule)
    assert fix is None if offered is None else fix is not None and offered in fix, fix
