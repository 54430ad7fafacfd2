"""The vLLM of an environment of one's own: with a worker that stands for the real one, and with real releases."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from qcmatrix.answers.schema import json_schema
from qcmatrix.catalogue.releases import load_release
from qcmatrix.cli.changes import changes_command
from qcmatrix.cli.check import check_command
from qcmatrix.cli.suggest import suggest_command
from qcmatrix.errors import CatalogueError, ExitCode, FileProblem, RequestError, UserError
from qcmatrix.probe import own
from qcmatrix.probe.environments import ensure
from qcmatrix.probe.own import OwnVllm, OwnVllmError, own_release
from qcmatrix.probe.session import Session

Fake = Callable[..., Path]
MODEL = "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8"


def surface(release: str = "0.32.0", **flags: Any) -> dict[str, Any]:
    """That of a listed release, as the worker would tell it; ``flags`` get another default."""
    file = load_release(release).file
    told = [
        msgspec.structs.replace(flag, default=flags[flag.dest]) if flag.dest in flags else flag for flag in file.flags
    ]
    return {
        "flags": msgspec.to_builtins(told),
        "tool_parsers": {**file.tool_parsers, "my_parser": "MyParser"},
        "reasoning_parsers": file.reasoning_parsers,
        "environment": {},
    }


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Makes a package ``vllm`` that this very Python finds, and lets the stand-in answer for it."""
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(own, "WORKER", Path(__file__).with_name("own_worker"))

    def make(**tables: Any) -> Path:
        package = tmp_path / "site" / "vllm"
        package.mkdir(parents=True, exist_ok=True)
        told = {
            "VERSION": "0.32.0+mine",
            "REFUSES": {},
            "RESOLVED": {},
            "SURFACE": surface(),
            "DEAD": "",
            **tables,
        }
        text = "import json\n" + "".join(
            f"{name} = json.loads({json.dumps(value)!r})\n" for name, value in told.items()
        )
        (package / "__init__.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        return Path(sys.executable)

    return make


def asked(tmp_path: Path) -> list[dict[str, Any]]:
    """What the stand-in was asked so far."""
    log = tmp_path / "site" / "vllm" / "asked.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_the_surface_is_its_own(fake: Fake) -> None:
    with OwnVllm(fake(SURFACE=surface(max_num_seqs=77, gpu_memory_utilization=0.5))) as mine:
        release = mine.release
    assert release.name == "0.32.0+mine"
    assert release.is_listed
    assert release.default("max_num_seqs") == 77
    assert release.file.gpu_memory_utilization == 0.5
    assert release.file.tool_parsers["my_parser"] == "MyParser"
    # Its source is none of vLLM's: what only source can tell is the nearest release's, and that is said.
    assert release.file.scheduler == load_release("0.32.0").file.scheduler
    assert "scheduler defaults" in mine.notes[0]


@pytest.mark.parametrize(
    ("version", "within", "outside"),
    [
        ("0.33.1.dev12+gabc.cu129", "0.33.0", "0.33.1"),
        ("0.32.0+cpu", "0.32.0", "0.33.0"),
        ("0.29.0rc1", "0.28.0", "0.29.0"),
    ],
)
def test_rules_go_by_its_version(fake: Fake, version: str, within: str, outside: str) -> None:
    from qcmatrix.versions import Range, parse_version

    release = own_release(fake(VERSION=version))
    assert release.version == parse_version(version)
    assert release.version in Range(within)
    assert release.version not in Range(outside)


def test_the_second_time_nothing_is_asked(fake: Fake, tmp_path: Path) -> None:
    python = fake()
    with OwnVllm(python) as first:
        assert not first.from_cache
    count = len(asked(tmp_path))
    with OwnVllm(python) as second:
        assert second.from_cache
        assert second.release.file == first.release.file
    assert len(asked(tmp_path)) == count == 1


def test_a_changed_file_is_noticed(fake: Fake, tmp_path: Path) -> None:
    python = fake()
    own_release(python)
    package = tmp_path / "site" / "vllm" / "deep" / "er"
    package.mkdir(parents=True)
    (package / "patched.py").write_text("x = 1\n")
    with OwnVllm(python) as mine:
        assert not mine.from_cache
    (package / "patched.py").write_text("x = 23\n")
    with OwnVllm(python) as mine:
        assert not mine.from_cache
    with OwnVllm(python) as mine:
        assert mine.from_cache


def test_a_broken_cache_is_made_anew_and_one_that_cannot_be_written_does_no_harm(fake: Fake, tmp_path: Path) -> None:
    python = fake()
    own_release(python)
    (kept,) = (tmp_path / "cache" / "own").glob("*.json")
    kept.write_text('{"half":')
    with OwnVllm(python) as mine:
        assert not mine.from_cache
    kept.unlink()
    (tmp_path / "cache" / "own").rmdir()
    (tmp_path / "cache" / "own").write_text("in the way")
    assert own_release(python).name == "0.32.0+mine"


def test_the_cache_does_not_grow_for_ever(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_KEPT_FILES", 2)
    for version in ("0.32.0", "0.32.0+a", "0.32.0+ab"):
        python = fake(VERSION=version)
        own_release(python)
    assert len(list((tmp_path / "cache" / "own").iterdir())) == 2
    with OwnVllm(python) as mine:
        assert mine.from_cache


def test_one_that_counts_as_another(fake: Fake) -> None:
    python = fake(VERSION="0.1.dev1+gabc")
    with pytest.raises(CatalogueError, match="older") as caught:
        own_release(python)
    assert "--vllm" in caught.value.notes[0]
    release = own_release(python, counts_as="0.30.0")
    assert (release.name, str(release.version)) == ("0.1.dev1+gabc", "0.30.0")
    with pytest.raises(RequestError, match="'dev'"):
        own_release(fake(VERSION="dev"))


def test_neither_parser_nor_source(fake: Fake) -> None:
    with pytest.raises(OwnVllmError, match="surface"):
        own_release(fake(SURFACE=None))


# -- what is no vLLM ---------------------------------------------------------------------------------------------


def problem(python: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        own_release(python)
    assert "\n" not in caught.value.what
    return caught.value


def test_paths_that_are_no_python(tmp_path: Path) -> None:
    assert "no such file" in problem(tmp_path / "none").what
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert str(tmp_path / "bin" / "python") in problem(tmp_path).notes[0]
    text = tmp_path / "text"
    text.write_text("hello\n")
    assert "cannot be run" in problem(text).what
    text.chmod(0o755)
    found = problem(text)
    assert isinstance(found, FileProblem)
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    script.chmod(0o755)
    found = problem(script)
    assert "exit code 3" in found.what
    assert found.notes == ("broken",)


def test_a_python_without_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = problem(Path(sys.executable))
    assert "has no vLLM" in found.what
    assert found.exit_code is ExitCode.ENVIRONMENT
    # Standing in a checkout of vLLM does not make it installed.
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    assert "has no vLLM" in problem(Path(sys.executable)).what


def test_an_import_that_fails_and_one_that_crashes(fake: Fake) -> None:
    found = problem(fake(DEAD="ImportError: libcudart.so.13: cannot open"))
    assert "libcudart.so.13" in found.what
    assert found.exit_code is ExitCode.ENVIRONMENT


# -- the commands ------------------------------------------------------------------------------------------------


def run(command: Any, *arguments: str) -> Any:
    result = CliRunner().invoke(command, list(arguments), standalone_mode=False, env={"COLUMNS": "80"})
    assert result.exception is None, result.exception
    return result


def suggested(python: Path, *arguments: str) -> Any:
    words = ("--gpus", "8xH200", "--model", "30b-fp8", "--vllm-python", str(python), *arguments)
    return run(suggest_command, *words)


def checked(python: Path, *words: str, more: tuple[str, ...] = ()) -> Any:
    return run(check_command, "--gpus", "8xH200", "--vllm-python", str(python), *more, "--", *words)


def test_suggest_shows_that_it_was_accepted(fake: Fake, tmp_path: Path) -> None:
    python = fake(RESOLVED={"max_model_len": 262144})
    result = suggested(python)
    assert result.return_value == ExitCode.OK
    text = " ".join(result.stdout.split())
    assert "probed: your vLLM 0.32.0+mine accepts it (resolved max_model_len 262144)" in text
    assert "not asked: kernels; whether it fits" in text
    launches = [each for each in asked(tmp_path) if each["ask"] == "launch"]
    assert launches[0]["argv"][0] == "{model}"
    assert launches[0]["gpu"]["capability"] == [9, 0]
    # Asked once: the second time everything is known.
    count = len(asked(tmp_path))
    assert suggested(python).stdout == result.stdout
    assert len(asked(tmp_path)) == count


def test_a_refused_plan_is_not_offered(fake: Fake) -> None:
    plain = json.loads(suggested(fake(), "--json").stdout)
    taken = plain["plans"][0]["argv"]
    size = taken[taken.index("--tensor-parallel-size") + 1] if "--tensor-parallel-size" in taken else "1"
    assert all(plan["asked"]["says"] == "accepts" for plan in plain["plans"])
    python = fake(REFUSES={"--data-parallel-size": "this fork cannot do data parallelism"})
    answer = json.loads(suggested(python, "--json").stdout)
    Draft202012Validator(json_schema("suggest")).validate(answer)
    assert size
    assert answer["refused"]
    assert answer["plans"]
    assert all("--data-parallel-size" not in plan["argv"] for plan in answer["plans"])
    for plan in answer["refused"]:
        assert "--data-parallel-size" in plan["argv"]
        assert plan["asked"]["contradicts"]
        assert "data parallelism" in plan["asked"]["text"]
    text = suggested(python).stdout
    assert "Left out:" in text
    assert "this fork cannot do data parallelism" in text


def test_where_everything_is_refused_there_is_no_plan(fake: Fake) -> None:
    result = suggested(fake(REFUSES={"{model}": "not this model"}))
    assert result.return_value == ExitCode.FINDINGS
    assert "no plan" in result.stdout
    assert "not this model" in result.stdout
    assert "vllm serve" not in result.stdout.partition("no plan")[0]


def test_check_agreeing_and_contradicted(fake: Fake) -> None:
    fine = checked(fake(), "vllm", "serve", MODEL)
    assert fine.return_value == ExitCode.OK
    assert "accepts it" in fine.stdout
    refused = checked(fake(REFUSES={"--enforce-eager": "no eager here"}), "vllm", "serve", MODEL, "--enforce-eager")
    assert refused.return_value == ExitCode.FINDINGS
    text = " ".join(refused.stdout.split())
    assert "refuses it (config): ValueError: no eager here" in text
    assert "CONTRADICTED" in text
    assert "starts, contradicted by your vLLM" in text


def test_check_that_both_refuse_is_probed_and_one_that_it_accepts_is_contradicted(fake: Fake) -> None:
    words = ("vllm", "serve", MODEL, "--max-model-len", "0")
    agreed = json.loads(
        checked(fake(REFUSES={"--max-model-len": "max_model_len must be positive"}), *words, more=("--json",)).stdout
    )
    Draft202012Validator(json_schema("check")).validate(agreed)
    (launch,) = agreed["launches"]
    assert launch["verdict"] == "refused"
    assert launch["evidence"]["level"] == "probed"
    assert launch["evidence"]["release"] == "0.32.0+mine"
    assert not launch["asked"]["contradicts"]
    (launch,) = json.loads(checked(fake(), *words, more=("--json",)).stdout)["launches"]
    assert launch["verdict"] == "refused"
    assert launch["evidence"]["level"] != "probed" or launch["evidence"]["release"] != "0.32.0+mine"
    assert launch["asked"]["contradicts"]
    assert launch["asked"]["says"] == "accepts"


def test_a_worker_that_dies_of_a_question_is_said_and_not_kept(fake: Fake, tmp_path: Path) -> None:
    python = fake(REFUSES={"CRASH": ""})
    for _ in range(2):
        before = len(asked(tmp_path))
        result = checked(python, "vllm", "serve", MODEL)
        assert "not probed: your vLLM 0.32.0+mine cannot be asked" in " ".join(result.stdout.split())
        assert len(asked(tmp_path)) > before


def test_cards_that_cannot_be_pretended(fake: Fake, tmp_path: Path) -> None:
    python = fake()
    result = run(check_command, "--gpus", "8xMI300X", "--vllm-python", str(python), "--", "vllm", "serve", MODEL)
    assert "not probed" in result.stdout
    assert all(each["ask"] != "launch" for each in asked(tmp_path))
    result = run(check_command, "--gpus", "8x44.4GiB", "--vllm-python", str(python), "--", "vllm", "serve", MODEL)
    assert "9.0 was pretended" in " ".join(result.stdout.split())


def test_secrets_reach_neither_the_worker_nor_the_cache(fake: Fake, tmp_path: Path) -> None:
    secret = "sk-verysecret123"  # noqa: S105 it is the point of the test
    words = (f"HF_TOKEN={secret}", "vllm", "serve", MODEL, "--api-key", secret, "--apikey", secret)
    checked(fake(), *words)
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"--api-key" in everything
    assert secret.encode() not in everything


def test_ones_own_checkpoint_is_asked_with_its_own_config(fake: Fake, tmp_path: Path) -> None:
    from qcmatrix.catalogue.models import find_checkpoint
    from qcmatrix.probe.configs import config_json

    config = {**config_json(find_checkpoint("30b-fp8")), "my_key": 1}
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config))
    checked(fake(), "vllm", "serve", str(model))
    sent = [each["configs"] for each in asked(tmp_path) if each["ask"] == "configs"]
    assert [list(each.values()) for each in sent] == [[config]]


def test_changes_against_ones_own(fake: Fake) -> None:
    python = fake(SURFACE=surface(max_num_seqs=77))
    result = run(changes_command, "0.32.0", "--vllm-python", str(python))
    assert result.stdout.startswith("vLLM 0.32.0 -> 0.32.0+mine")
    assert "--max-num-seqs: computed or none -> 77" in result.stdout
    assert "my_parser" in result.stdout


def test_without_the_option_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, qcmatrix.cli.suggest, qcmatrix.cli.check\n"
        "print([name for name in sys.modules if name.startswith('qcmatrix.probe') or name == 'subprocess'])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


# -- real releases -----------------------------------------------------------------------------------------------


class Shared:
    """The fixture's worker, which ends with the fixture and not with who asks: an import of vLLM takes long."""

    def __init__(self, session: Session) -> None:
        self.ask, self.configs, self.hello = session.ask, session.configs, session.hello

    def close(self) -> None:
        pass


@pytest.mark.probe
def test_a_real_release(
    release_name: str, release_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own surface is that of the catalogue, it takes our plans and refuses nonsense; then all is known."""
    python = ensure(release_name, lambda _: None).python
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(own, "Session", lambda *_, **__: Shared(release_session))
    listed = load_release(release_name)
    with OwnVllm(python) as mine:
        assert str(mine.release.version.base_version) == release_name
        # That both are equal to the last word is the part `surface`'s to show.
        assert set(listed.flag_by_dest) <= set(mine.release.flag_by_dest)
        assert mine.release.file.tool_parsers == listed.file.tool_parsers
        assert mine.release.file.scheduler == listed.file.scheduler
        assert mine.release.file.environment.keys() >= listed.file.environment.keys()  # some CPU builds have more
        assert mine.notes == ()
    first = json.loads(suggested(python, "--json", "--ctx", "128K").stdout)
    assert first["plans"]
    assert {plan["asked"]["says"] for plan in first["plans"]} == {"accepts"}
    assert {plan["asked"]["resolved"]["max_model_len"] for plan in first["plans"]} == {131072}
    assert first["refused"] == []
    refused = checked(python, "vllm", "serve", MODEL, "--no-such-flag", more=("--json",))
    (launch,) = json.loads(refused.stdout)["launches"]
    assert launch["asked"]["says"] == "refuses"
    assert "no-such-flag" in launch["asked"]["text"]
    assert not launch["asked"]["contradicts"]
    assert launch["evidence"]["level"] == "probed"
    monkeypatch.setattr(own, "Session", None)  # whoever starts a worker now breaks
    assert json.loads(suggested(python, "--json", "--ctx", "128K").stdout) == first
