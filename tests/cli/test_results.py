"""``qcmatrix results``: runs listed and compared, killed ones recovered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner, Result

from qcmatrix.answers.schema import json_schema
from qcmatrix.cli.results import results_command
from qcmatrix.errors import CatalogueError, ExitCode, FileProblem, RequestError
from qcmatrix.results.store import Journal
from tests.results.made import HEADER, case
from tests.results.test_regressions import nights

RUNS = Path(__file__).parents[1] / "report" / "runs"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(results_command, [str(each) for each in arguments], standalone_mode=False)


def test_runs_are_listed() -> None:
    done = run(RUNS)
    assert done.return_value == ExitCode.OK
    assert "tiny-cpu: vLLM 0.32.0 on cpu, 2026-11-28T01:23:00+00:00, run 22222222" in done.stdout
    assert "30b-fp8-256k-1xh200-0.33: vLLM 0.33.0 on 1xH200, 2026-11-28T03:00:00+00:00, run 33333333, cut off" in (
        done.stdout
    )
    assert "did not start: ValueError" in done.stdout
    assert "1 pass, 1 fail, 1 xfail, 1 flaky, 1 unsupported" in done.stdout
    assert "fail, core 1/2, extended 0/1" in done.stdout


def test_json_holds_its_contract() -> None:
    listed = json.loads(run(RUNS, "--json", "--entry", "tiny-*").stdout)
    jsonschema.validate(listed, json_schema("results"))
    assert [each["entry"] for each in listed["results"]] == ["tiny-cpu", "tiny-cpu", "tiny-forgot-yarn-cpu"]
    assert listed["results"][1]["states"] == {"pass": 1, "fail": 1, "xfail": 1, "flaky": 1, "unsupported": 1}
    compared = json.loads(run(RUNS, "--json", "--diff", "tiny-cpu@0.31.0", "tiny-cpu").stdout)
    jsonschema.validate(compared, json_schema("results"))
    assert compared["difference"]["unchanged"] == 1


def test_a_result_holds_its_contract() -> None:
    schema = json_schema("result-file")
    for path in RUNS.glob("*/*.json"):
        jsonschema.validate(json.loads(path.read_text()), schema)


def test_what_became_worse_is_a_finding() -> None:
    worse = run(RUNS, "--diff", "tiny-cpu@0.31.0", "tiny-cpu@0.32.0")
    assert worse.return_value == ExitCode.FINDINGS
    assert "the checks have changed between the two" in worse.stdout
    assert "C TC-14.crlf (stream): pass -> fail" in worse.stdout
    assert "A TC-25 (stream): xfail" in worse.stdout
    assert "D TC-20 (once): pass" in worse.stdout
    assert worse.stdout.endswith("3 added, 1 deleted, 1 changed, 1 unchanged\n")
    better = run(RUNS, "--diff", "22222222", "tiny-cpu@2026-11-27")
    assert better.return_value == ExitCode.OK
    assert "they are of two entries" in run(RUNS, "--diff", "tiny-cpu", "tiny-forgot-yarn-cpu").stdout


def test_a_killed_run_becomes_a_result(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "live", **HEADER, planned=[case("TC-01"), case("TC-02")])
    journal.case(case("TC-01"))
    shutil.copytree(tmp_path / "live", tmp_path / "dead")
    done = run(tmp_path / "dead")
    assert "recovered" in done.stderr
    assert "cut off" in done.stdout
    assert "1 pass, 1 not_run" in done.stdout
    live = run(tmp_path / "live")
    assert live.stdout == ""
    assert "no results yet" in live.stderr


def test_cases_for_the_memory_model() -> None:
    lines = run(RUNS, "--cases").stdout.splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["kv_too_small", "served"]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("nowhere",), FileProblem, "no such directory"),
        ((RUNS, "--entry", "480b-*"), CatalogueError, "no result of 480b-*"),
        ((RUNS, "--diff", "tiny-cpu@0.30.0", "tiny-cpu"), CatalogueError, "'tiny-cpu@0.30.0' is no result"),
        ((RUNS, "--diff", "2026-11-28", "tiny-cpu"), CatalogueError, "'2026-11-28' is more than one result"),
        ((RUNS, "--cases", "--json"), RequestError, "an answer of its own"),
    ],
)
def test_what_cannot_be_answered(arguments: tuple[object, ...], error: type[Exception], says: str) -> None:
    done = run(*arguments)
    assert isinstance(done.exception, error)
    assert says in str(done.exception)


@pytest.mark.parametrize(
    ("middles", "code"), [((100, 100, 100, 150), ExitCode.OK), ((100,) * 3 + (150,) * 2, ExitCode.FINDINGS)]
)
def test_a_regression_that_repeats_is_a_finding(tmp_path: Path, middles: tuple[float, ...], code: ExitCode) -> None:
    for made in nights(*middles):
        path = tmp_path / made.entry.id / f"{made.run}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(msgspec.json.encode(made))
    done = run(tmp_path, "--regressions")
    assert done.return_value == code
    assert f"  {'fail' if code else 'regressed'} LAT-02.c4 (stream) ttft: " in done.stdout
    told = json.loads(run(tmp_path, "--regressions", "--json").stdout)
    jsonschema.validate(told, json_schema("results"))
    assert [move["id"] for move in told["moves"]] == ["LAT-02.c4"]


def test_without_a_latency_there_is_nothing_to_hold_against(tmp_path: Path) -> None:
    done = run(RUNS, "--regressions")
    assert (done.return_value, done.stdout) == (ExitCode.OK, "")
    assert "two runs" in done.stderr
    with pytest.raises(RequestError, match="two answers"):
        CliRunner().invoke(
            results_command,
            [str(RUNS), "--regressions", "--diff", "a", "b"],
            standalone_mode=False,
            catch_exceptions=False,
        )
