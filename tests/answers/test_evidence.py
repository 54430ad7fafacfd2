"""A verdict says how it is known."""

from __future__ import annotations

import shlex

from qcmatrix.answers.check import check
from qcmatrix.answers.schema import EvidenceAnswer
from qcmatrix.catalogue.fleets import parse_fleet
from qcmatrix.catalogue.releases import load_release


def evidence(command: str, gpus: str, vllm: str) -> EvidenceAnswer:
    (checked,) = check(shlex.split(command), release=load_release(vllm), fleets=parse_fleet(gpus))
    return checked.answer.evidence


SERVED = "vllm serve Qwen/Qwen3-235B-A22B-Instruct-2507-FP8 -tp 8 --enable-expert-parallel --max-model-len"
ONLINE = (
    "vllm serve Qwen/Qwen3-30B-A3B-Instruct-2507 --max-num-batched-tokens 8192 --max-num-seqs 64 --max-model-len 8192"
)


def test_a_launch_with_a_public_log_is_served() -> None:
    """Eight L40S, vLLM 0.10.2, 32768 tokens: the log is among the public cases."""
    found = evidence(f"{SERVED} 32768", "8xL40S", "0.10.2")
    assert found.level == "served"
    assert found.sources[0].startswith("https://")


def test_a_longer_context_or_another_release_is_not() -> None:
    assert evidence(f"{SERVED} 65536", "8xL40S", "0.10.2").level == "derived"
    assert evidence(f"{SERVED} 32768", "8xL40S", "0.12.0").level == "derived"


def test_other_settings_are_not() -> None:
    """The 30B log ran with online FP8, and the 235B one at the default utilisation."""
    assert evidence(f"{ONLINE} --quantization fp8", "1xH100-80", "0.22.1").level == "served"
    assert evidence(ONLINE, "1xH100-80", "0.22.1").level == "derived"
    assert evidence(f"{SERVED} 32768 --gpu-memory-utilization 0.93", "8xL40S", "0.10.2").level == "derived"


def test_a_refusal_is_known_as_well_as_its_rule() -> None:
    found = evidence("vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct --tensor-parallel-size 5", "8xH200", "0.32.0")
    assert found.level == "probed"
    assert found.sources


def test_a_release_that_is_not_listed_is_told_by_the_nearest() -> None:
    found = evidence("vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct", "8xH200", "0.32.5")
    assert found.release == "0.32.0"
