"""matrix.toml: valid, and in agreement with the rules and the memory model."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from qcmatrix.catalogue.config_json import read_config
from qcmatrix.errors import FileProblem
from qcmatrix.lint.run import lint
from qcmatrix.lint.settings import Settings
from qcmatrix.lint.subject import Wishes
from qcmatrix.matrix.entries import CPU, Entry, Matrix, read_matrix
from qcmatrix.matrix.problems import CheckNames, problems_of
from qcmatrix.matrix.tiny import tiny_checkpoint
from qcmatrix.matrix.validate import judge_entry
from qcmatrix.serving.tiny import make
from qcmatrix.suites.registry import SUITES, all_checks

MATRIX = Path(__file__).parents[2] / "matrix.toml"
REFUSALS = frozenset({"BOOT-00"})


def _read(tmp_path: Path, text: str) -> Matrix:
    path = tmp_path / "matrix.toml"
    path.write_text(text)
    return read_matrix(path)


@pytest.mark.parametrize("entry", read_matrix(MATRIX).entry, ids=lambda entry: entry.id)
def test_entry_agrees_with_check(entry: Entry) -> None:
    assert judge_entry(entry).disagreements == ()


def test_the_file_as_a_whole_is_right() -> None:
    checks = all_checks()
    profiles = {profile for check in checks for profile in check.profiles}
    names = CheckNames(frozenset(check.id for check in checks) | REFUSALS, frozenset({*SUITES, *profiles}))
    today = datetime.datetime.now(datetime.UTC).date()
    assert problems_of(read_matrix(MATRIX), today=today, names=names) == ()


def test_check_reads_the_file_as_well_and_knows_its_names() -> None:
    (report,) = lint([str(MATRIX)], Wishes(), Settings())
    assert len(report.judged) == len(read_matrix(MATRIX).entry)
    said = {finding.rule for each in report.judged for finding in each.findings}
    assert not report.fails
    assert "random-weights" in said
    assert "unknown-name" not in said


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    text = MATRIX.read_text().replace('expect = { verdict = "starts" }', 'expect = { verdict = "wrong" }')
    matrix = _read(tmp_path, text)
    wrong = [entry for entry in matrix.entry if entry.expect.verdict == "wrong" and not entry.expect.rules]
    assert {entry.fleet == CPU for entry in wrong} == {True, False}
    assert all(judge_entry(entry).disagreements for entry in wrong)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileProblem) as caught:
        _read(tmp_path, 'schema = "qcmatrix.matrix/1"\n[[entry]]\nid = 5\nfleeet = "8xH200"\nread = 2026-01-01\n')
    assert len(caught.value.notes) >= 3
    assert not any("read" in note for note in caught.value.notes)  # a date is a date


def test_defaults_are_filled_in_and_replaced() -> None:
    entries = {entry.id: entry for entry in read_matrix(MATRIX).entry}
    served = entries["30b-fp8-256k-1xh200-0.33"]
    assert served.profiles == ("boot", "tools", "fim", "context", "latency")
    assert {(budget.gpu, budget.workload) for budget in served.budgets} >= {("H200", "LAT-01.c1"), ("H200", "LAT-03")}
    assert entries["480b-fp8-tp8ep-256k-8xh200"].budgets == ()
    assert entries["tiny-cpu"].budgets == ()
    assert entries["tiny-cpu"].boot_seconds == 600
    assert served.boot_seconds == 3600


_TWO = """
schema = "qcmatrix.matrix/1"
[defaults]
profiles = ["tools"]
cpu_profiles = ["boot"]
budgets = [
  { gpu = "H200", workload = "LAT-02", metric = "ttft_ms", quantile = "p95", most = 500 },
  { gpu = "H200", workload = "LAT-02", metric = "tpot_ms", quantile = "p95", most = 30, entries = ["b*"] },
]
[[entry]]
id = "a"
fleet = "1xH200"
vllm = "0.33.0"
command = "vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"
expect = { verdict = "starts" }
source = "https://example.org/a"
read = 2026-01-01
budgets = [{ gpu = "H200", workload = "LAT-02", metric = "ttft_ms", quantile = "p95", most = 900 }]
[[entry]]
id = "b"
fleet = "cpu"
vllm = "0.32.0"
command = "vllm serve tiny"
weights = "random"
expect = { verdict = "starts" }
source = "https://example.org/b"
read = 2026-01-01
"""


def test_an_entrys_own_budget_replaces_the_default(tmp_path: Path) -> None:
    a, b = _read(tmp_path, _TWO).entry
    assert [(budget.metric, budget.most) for budget in a.budgets] == [("ttft_ms", 900)]
    assert (a.profiles, b.profiles) == (("tools",), ("boot",))
    assert b.budgets == ()


def test_a_checkpoint_says_whose_weights_a_path_holds(tmp_path: Path) -> None:
    text = _TWO.replace("serve Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8", "serve /data/weights-7")
    assert any("no model is called" in problem for problem in judge_entry(_read(tmp_path, text).entry[0]).disagreements)
    named = text.replace('id = "a"', 'id = "a"\ncheckpoint = "30b-fp8"')
    judged = judge_entry(_read(tmp_path, named).entry[0])
    assert (judged.verdict, judged.disagreements) == ("starts", ())


def test_what_cannot_fit_is_an_error_before_any_gpu_is_touched(tmp_path: Path) -> None:
    text = _TWO.replace("30B-A3B-Instruct-FP8", "480B-A35B-Instruct-FP8")
    assert "expected starts, check says does-not-fit" in judge_entry(_read(tmp_path, text).entry[0]).disagreements


@pytest.mark.parametrize(
    ("command", "expect", "said"),
    [
        ("vllm serve tiny --max-model-len 8192", "starts", ""),
        ("vllm serve tiny --max-modl-len 8192", "starts", "check says refused"),
        ("vllm serve tiny --max-model-len many", "starts", "check says refused"),
        ("vllm serve tiny --tool-call-parser qwen4 --enable-auto-tool-choice", "starts", "check says refused"),
        ("vllm serve tiny --max-model-len 8192", "refused", "check says unknown"),
        ("vllm serve tiny --max-model-len 9000", "refused", ""),
        ("vllm serve nobody/knows", "starts", "no model is called"),
        ("vllm serve", "starts", "names no model"),
    ],
)
def test_an_entry_for_the_cpu_is_judged_by_what_needs_no_card(
    tmp_path: Path, command: str, expect: str, said: str
) -> None:
    first, _, second = _TWO.replace("vllm serve tiny", command).rpartition('"starts"')
    text = f'{first}"{expect}"{second}'
    judged = judge_entry(_read(tmp_path, text).entry[1])
    assert any(said in problem for problem in judged.disagreements) if said else judged.disagreements == ()


def test_the_tiny_checkpoints_facts_are_those_of_what_is_made(tmp_path: Path) -> None:
    made = {**make.CONFIG, "rope_theta": make.ROPE_THETA, "architectures": ["Qwen3MoeForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps({**made, "model_type": "qwen3_moe", "torch_dtype": "bfloat16"}))
    assert read_config(tmp_path).architecture == tiny_checkpoint().architecture
