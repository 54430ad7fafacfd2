"""`qcmatrix check FILE ...`: what is printed in each form, the exit code, fixes, settings, suppressions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from qcmatrix.answers.schema import json_schema
from qcmatrix.cli.check import check_command
from qcmatrix.errors import ExitCode

MODEL = "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"
GOOD = f"vllm serve {MODEL} --max-model-len 65536\n"
BAD = f"vllm serve {MODEL} \\\n  --max-model-len 65536 \\\n  --swap-space 16\n"
UNSAFE = f"vllm serve {MODEL} --max-model-len 65536 --enable-auto-tool-choice --tool-call-parser hermes\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def put(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(text.encode())
    return name


def check(*arguments: str, vllm: str | None = "0.33.0") -> Result:
    given = ("--vllm", vllm, *arguments) if vllm else arguments
    return CliRunner().invoke(check_command, list(given), standalone_mode=False)


def whole(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qcmatrix", "check", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "60", "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        timeout=60,
    )


def test_a_good_file() -> None:
    result = check(put("a.sh", GOOD))
    assert result.return_value == ExitCode.OK
    assert "1 command in 1 file: 0 errors, 0 warnings" in result.stdout


def test_a_finding_points_at_the_words() -> None:
    result = check(put("deploy/a.sh", BAD), "--gpus", "1xH200")
    assert result.return_value == ExitCode.FINDINGS
    lines = result.stdout.splitlines()
    place = lines.index("  --> deploy/a.sh:3:3")
    assert lines[place - 1].startswith("error[removed-flag]: ")
    assert lines[place + 1] == "3 |   --swap-space 16"
    assert lines[place + 2].startswith("  |   ^^^^^^^^^^^^")
    assert "vLLM says: unrecognized arguments: --swap-space 16" in result.stdout
    assert "fix: leave it out" in result.stdout


def test_narrow_and_without_colour() -> None:
    put("a.sh", BAD.replace("65536", "65536 --download-dir /" + "x" * 200))
    done = whole("--vllm", "0.33.0", "a.sh")
    assert done.returncode == ExitCode.FINDINGS
    assert "\x1b" not in done.stdout
    assert all(len(line) <= 60 for line in done.stdout.splitlines())
    assert done.stderr == ""


def test_several_files_and_one_that_cannot_be_read() -> None:
    paths = (put("a.sh", GOOD), put("b.sh", "vllm\0"), put("c.md", f"```bash\n{BAD}```\n"))
    result = check(*paths)
    assert result.return_value == ExitCode.BAD_FILE
    assert "b.sh is no text file" in result.stdout
    assert "c.md:4:3" in result.stdout
    assert "2 commands in 3 files" in result.stdout


def test_a_missing_file() -> None:
    done = whole("no-such.sh")
    assert done.returncode == ExitCode.BAD_FILE
    assert "no-such.sh" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder() -> None:
    put("x/a.sh", GOOD)
    put("x/y/b.yaml", "run: vllm serve m --swap-space 4\n")
    put("x/.git/c.sh", BAD)
    put("x/d.py", "vllm serve\n")
    result = check("x")
    assert "2 commands in 2 files: 1 error" in result.stdout


def answer(*arguments: str) -> tuple[Any, int]:
    result = check(*arguments, "--format", "json")
    assert result.exception is None
    told = json.loads(result.stdout)
    Draft202012Validator(json_schema("check-files")).validate(told)
    return told, result.return_value


def test_json() -> None:
    told, code = answer(put("a.sh", f"# caf\u00e9\n{BAD}"), put("b.sh", "\0"), "--gpus", "1xH200")
    assert code == ExitCode.BAD_FILE
    (first, second) = told["files"]
    assert second["problem"].startswith("b.sh is no text file")
    (command,) = first["commands"]
    assert command["verdict"] == "refused"
    finding = next(each for each in command["findings"] if each["rule"] == "removed-flag")
    assert finding["region"] == {"line": 4, "column": 3, "end_line": 4, "end_column": 15}
    assert finding["fix"]["safe"]
    (edit,) = finding["fix"]["edits"]
    assert edit["text"] == ""
    assert edit["region"]["line"] == 3


def test_json_without_gpus_has_no_verdict_and_says_what_is_not_known() -> None:
    told, _ = answer(put("a.sh", "vllm serve $MODEL --port $PORT\n"))
    (command,) = told["files"][0]["commands"]
    assert (command["verdict"], command["fleet"], command["model"]) == (None, None, None)
    assert len(command["told"]) == 3


def test_sarif() -> None:
    result = check(put("dir with blank/a.sh", BAD), put("b.sh", UNSAFE), put("c.sh", "\0"), "--format", "sarif")
    told = json.loads(result.stdout)
    assert told["version"] == "2.1.0"
    (run,) = told["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert "removed-flag" in ids
    assert all(rule["shortDescription"]["text"] and rule["help"]["text"] for rule in run["tool"]["driver"]["rules"])
    assert run["results"]
    for each in run["results"]:
        assert ids[each["ruleIndex"]] == each["ruleId"]
        assert each["level"] in ("error", "warning", "note")
        assert each["message"]["text"]
        place = each["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] in ("dir%20with%20blank/a.sh", "b.sh")
        region = place["region"]
        assert 1 <= region["startLine"] <= region["endLine"]
        assert (region["startLine"], region["startColumn"]) <= (region["endLine"], region["endColumn"])
        for fix in each.get("fixes", ()):
            for replacement in fix["artifactChanges"][0]["replacements"]:
                assert replacement["deletedRegion"]["startLine"] >= 1
                assert isinstance(replacement["insertedContent"]["text"], str)
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    assert invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_github() -> None:
    result = check(put("a,b.sh", BAD), "--format", "github")
    assert result.return_value == ExitCode.FINDINGS
    (line,) = result.stdout.splitlines()
    assert line.startswith("::error file=a%2Cb.sh,line=3,endLine=3,col=3,endColumn=15,title=removed-flag%3A ")
    assert "%0Afix: leave it out" in line


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github"])
def test_no_form_shows_a_key(form: str) -> None:
    text = f"VLLM_API_KEY=sk-secret1 vllm serve {MODEL} --api-key sk-secret2 --swap-space 4\n"
    result = check(put("a.sh", text), "--format", form)
    assert "sk-secret" not in result.output


def test_diff_shows_and_fix_writes_the_same() -> None:
    path = put("a.sh", BAD)
    Path(path).chmod(0o755)
    shown = check(path, "--diff")
    assert shown.return_value == ExitCode.FINDINGS
    assert Path(path).read_text() == BAD
    assert "-  --swap-space 16" in shown.stdout.splitlines()
    fixed = check(path, "--fix")
    assert fixed.return_value == ExitCode.OK
    assert Path(path).read_text() == BAD.replace(" \\\n  --swap-space 16", "")
    assert Path(path).stat().st_mode & 0o777 == 0o755
    assert check(path, "--diff").return_value == ExitCode.OK
    assert [file.name for file in Path().iterdir()] == ["a.sh"]


def test_without_gpus_what_holds_for_every_card_is_mended_too() -> None:
    yarn = '{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":262144}'
    path = put("a.sh", f"vllm serve {MODEL} --max-model-len 1M --rope-scaling '{yarn}' --swap-space 4\n")
    assert check(path, "--fix").return_value == ExitCode.OK
    after = Path(path).read_text()
    assert "--rope-scaling" not in after
    assert "--swap-space" not in after
    assert '"factor":4.0' in after
    assert "--max-model-len 1M" in after


def test_a_fix_that_changes_what_is_served_needs_to_be_asked_for() -> None:
    path = put("a.sh", UNSAFE)
    result = check(path, "--fix")
    assert result.return_value == ExitCode.FINDINGS
    assert "--unsafe-fixes" in result.stderr
    assert Path(path).read_text() == UNSAFE
    assert check(path, "--fix", "--unsafe-fixes").return_value == ExitCode.OK
    assert "--tool-call-parser qwen3_coder" in Path(path).read_text()


def test_a_link_stays_one() -> None:
    put("real.sh", BAD)
    Path("link.sh").symlink_to("real.sh")
    check("link.sh", "--fix")
    assert Path("link.sh").is_symlink()
    assert "--swap-space" not in Path("real.sh").read_text()


def test_settings() -> None:
    put("qcmatrix.toml", 'vllm = "0.33.0"\ngpus = "1xH200"\nexclude = ["old/*"]\n'
        '[[ignore]]\nrule = "removed-flag"\nreason = "an image of our own"\nfiles = ["own/*"]\n')  # fmt: skip
    put("own/a.sh", BAD)
    put("old/b.sh", BAD)
    result = check(".", vllm=None)
    assert result.return_value == ExitCode.OK
    assert "1 command in 1 file" in result.stdout
    assert "on 1xH200" in result.stdout
    assert check(put("c.sh", BAD), vllm=None).return_value == ExitCode.FINDINGS
    assert check("old/b.sh", vllm=None).return_value == ExitCode.FINDINGS


def test_settings_in_pyproject_and_wrong_ones() -> None:
    put("pyproject.toml", '[tool.qcmatrix]\nvllm = "0.10.2"\n')
    path = put("a.sh", BAD)
    assert check(path, vllm=None).return_value == ExitCode.OK
    put("qcmatrix.toml", '[[ignore]]\nrule = "x"\nreason = " "\n')
    done = whole(path)
    assert done.returncode == ExitCode.BAD_FILE
    assert "reason" in done.stderr
    assert "Traceback" not in done.stderr


def test_suppressions() -> None:
    path = put("a.sh", f"# qcmatrix: ignore[removed-flag] our image has it\n{BAD}")
    assert check(path).return_value == ExitCode.OK
    put("a.sh", f"# qcmatrix: ignore[removed-flag]\n{BAD}")
    assert "error[suppression-without-reason]" in check(path).stdout
    put("a.sh", f"# qcmatrix: ignore[removed-flag] no more\n{GOOD}")
    result = check(path)
    assert result.return_value == ExitCode.FINDINGS
    assert "error[suppression-without-use]" in result.stdout


def test_a_requirements_file_says_which_release() -> None:
    put("requirements.txt", "vllm==0.10.2\n")
    assert check(put("a.sh", BAD), vllm=None).return_value == ExitCode.OK
    put("x/requirements-gpu.txt", "vllm[flashinfer] == 0.20.2\n")
    result = check(put("x/a.sh", BAD), vllm=None)
    assert "vLLM 0.20.2 (requirements)" in result.stdout


def test_a_release_that_is_not_known_is_a_warning_of_that_command_only() -> None:
    text = (
        "docker run vllm/vllm-openai:v0.5.0 --model m\ndocker run vllm/vllm-openai:v0.33.0 --model m --swap-space 4\n"
    )
    result = check(put("a.sh", text), vllm=None)
    assert result.return_value == ExitCode.FINDINGS
    assert "warning[unknown-name]" in result.stdout
    assert "error[removed-flag]" in result.stdout


def test_standard_input() -> None:
    done = whole("--vllm", "0.33.0", "-", stdin=BAD)
    assert done.returncode == ExitCode.FINDINGS
    assert "<stdin>:3:3" in done.stdout
    told = whole("--vllm", "0.33.0", "--format", "json", "-", stdin="services:\n  v:\n    command: vllm serve m\n")
    assert json.loads(told.stdout)["files"][0]["kind"] == "compose"


def test_standard_input_is_mended_to_standard_output_only() -> None:
    done = whole("--vllm", "0.33.0", "--diff", "-", stdin=BAD)
    assert "-  --swap-space 16" in done.stdout
    done = whole("--vllm", "0.33.0", "--fix", "-", stdin=BAD)
    assert done.returncode == ExitCode.USAGE
    assert "--diff" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("a.sh", "--fix", "--format", "json"), ExitCode.USAGE),
        (("a.sh", "--vllm", "0.5.0"), ExitCode.UNKNOWN_NAME),
        (("a.sh", "--gpus", "8xH2000"), ExitCode.UNKNOWN_NAME),
        (("a.sh", "--format", "xml"), ExitCode.USAGE),
    ],
)
def test_wrong_wishes(arguments: tuple[str, ...], code: ExitCode) -> None:
    put("a.sh", BAD)
    done = whole(*arguments)
    assert done.returncode == code
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_file_stays_as_it_is() -> None:
    path = Path(put("deploy/a.sh", BAD))
    path.chmod(0o444)
    for named in ("deploy/a.sh", "deploy"):
        result = check("--fix", named)
        assert result.return_value == ExitCode.BAD_FILE
        assert "deploy/a.sh cannot be written: it is read-only; it is as it was" in result.stderr
        assert path.read_text() == BAD


def test_fixes_of_a_folder_tell_what_could_not_be_read() -> None:
    put("deploy/a.sh", BAD)
    Path("deploy/b.sh").write_bytes(b"vllm serve m # caf\xe9\n")
    Path("deploy/picture").write_bytes(b"\x00\x01")
    result = check("--fix", "deploy")
    assert result.return_value == ExitCode.BAD_FILE
    assert "deploy/b.sh:1: not UTF-8" in result.stderr
    assert "picture" not in result.stderr
    assert "--swap-space" not in Path("deploy/a.sh").read_text()


def test_a_folder_that_is_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    put("deploy/a.sh", GOOD)
    put("deploy/closed/b.sh", BAD)
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for arguments in (("deploy",), ("--fix", "deploy")):
        result = check(*arguments)
        assert result.return_value == ExitCode.BAD_FILE
        assert "deploy/closed cannot be read: Permission denied" in result.output
