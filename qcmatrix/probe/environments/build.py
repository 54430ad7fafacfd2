"""Makes the environment of a release: beside its place, renamed when complete, one process at a time."""

from __future__ import annotations

import datetime
import errno
import hashlib
import platform
import shutil
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from qcmatrix.probe.environments.recipe import Plan, plan_for
from qcmatrix.probe.environments.shelf import (
    Environment,
    environments,
    environments_directory,
    locked,
    sweep,
    unfinished,
    write_manifest,
)
from qcmatrix.probe.environments.sources import fetch_sources, put_sources
from qcmatrix.probe.environments.uv import EnvironmentProblem, Uv, find_uv, no_space

__all__ = ["ensure"]

_WRITE_PROBLEMS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def ensure(release: str, progress: Callable[[str], None]) -> Environment:
    """The environment of ``release``: the one that there is, or a new one.

    ``progress`` is told each step. Killed in the middle, nothing is left that could be taken for an environment, and
    the next call cleans away what there is; what uv downloaded is in its own cache.

    Raises:
        EnvironmentProblem: it cannot be made.
        RequestError: ``release`` is not a version.
    """
    plan = plan_for(release)
    what = f"the environment of vLLM {plan.release} cannot be made"
    try:
        found = _usable(plan)
        if found is None:
            sweep()
            with locked(plan.release, lambda: progress("another process is making it: waiting")) as lock:
                found = _usable(plan) or _make(plan, what, progress, lock)
    except OSError as error:
        root = environments_directory()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(what) from None
        if error.errno in _WRITE_PROBLEMS:
            raise EnvironmentProblem(
                f"{what}: {error.filename or root}: {error.strerror}",
                "QCMATRIX_CACHE_DIR names another place for the environments",
            ) from None
        raise
    return found


def _usable(plan: Plan) -> Environment | None:
    """One made by this very plan, whose interpreter is still there."""
    for each in environments(plan.release):
        if each.plan == plan.digest and each.platform == _platform() and each.python.exists():
            return each
    return None


def _platform() -> str:
    return sysconfig.get_platform()


def _make(plan: Plan, what: str, progress: Callable[[str], None], lock: int) -> Environment:
    started = time.monotonic()
    uv = find_uv()
    work = unfinished(plan.release)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        interpreter, version = _interpreter(plan, uv, work, what, progress)
        progress(f"a virtual environment of {version}")
        place = work / "venv"
        uv.run("venv", "--relocatable", "--python", interpreter, str(place), directory=work, what=what)
        site = _site(place)
        _install(plan, uv, work, site, what, progress, lock)
        _say_vllm(plan, site)
        made = Environment(
            release=plan.release,
            kind=plan.kind,
            plan=plan.digest,
            interpreter=version,
            platform=_platform(),
            packages=_packages(site),
            made=datetime.datetime.now(datetime.UTC).date().isoformat(),
            seconds=round(time.monotonic() - started, 1),
            bytes=sum(path.lstat().st_size for path in place.rglob("*")),
            name=_name(plan, version),
        )
        write_manifest(made, place)
        final = environments_directory() / made.name
        shutil.rmtree(final, ignore_errors=True)  # one whose interpreter is gone
        place.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return made


def _name(plan: Plan, version: str) -> str:
    key = hashlib.sha256(f"{plan.digest} {version} {_platform()}".encode()).hexdigest()[:12]
    return f"{plan.release}-{key}"


def _interpreter(plan: Plan, uv: Uv, work: Path, what: str, progress: Callable[[str], None]) -> tuple[str, str]:
    """Path and version (``cpython-3.11.7``) of the first Python of the plan that there is; else uv gets one."""
    tell = "import platform, sys; print(sys.executable); print(platform.python_version())"
    failures: list[str] = []
    for attempt in ("there", "got"):
        for wanted in plan.pythons if attempt == "there" else plan.pythons[:1]:
            if attempt == "got":
                progress(f"getting CPython {wanted}")
            downloads = ("--no-python-downloads",) if attempt == "there" else ()
            try:
                # `uv run` starts it as well: an interpreter that is only a shim fails here, and the next one is tried.
                told = uv.run(
                    *("run", "--no-project", "--no-config", *downloads, "--python", f"cpython@{wanted}"),
                    *("python", "-I", "-c", tell),
                    directory=work,
                    what=what,
                )
            except EnvironmentProblem as problem:
                failures += problem.notes[-1:]
                continue
            executable, version = told.splitlines()[-2:]
            return executable, f"{platform.python_implementation().lower()}-{version}"
    raise EnvironmentProblem(
        f"{what}: it needs CPython {' or '.join(plan.pythons)}, and there is none",
        *failures[-1:],
        f"install one, for example with `uv python install {plan.pythons[0]}`",
    )


def _site(place: Path) -> Path:
    return next((place / "lib").glob("python3.*")) / "site-packages"


def _install(plan: Plan, uv: Uv, work: Path, site: Path, what: str, progress: Callable[[str], None], lock: int) -> None:
    requirements = list(plan.requirements)
    if plan.kind == "sources":
        progress(f"the sources of vLLM {plan.release}")
        unpacked = fetch_sources(plan.release, work / "sources", what)
        requirements += (unpacked / "requirements" / "common.txt").read_text(encoding="utf-8").splitlines()
        put_sources(unpacked, site, plan.release)
    files = {}
    for name, lines in (
        ("requirements", requirements),
        ("constraints", plan.constraints),
        ("overrides", plan.overrides),
    ):
        files[name] = work / f"{name}.txt"
        files[name].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    uv.run(
        *("pip", "install", "--python", str(work / "venv" / "bin" / "python")),
        *("--requirements", str(files["requirements"])),
        *("--constraints", str(files["constraints"]), "--overrides", str(files["overrides"])),
        directory=work,
        what=what,
        progress=progress,
        keep_open=(lock,),
    )


def _say_vllm(plan: Plan, site: Path) -> None:
    """The code asks for the version of a distribution called ``vllm``, and for ``cpu`` in it."""
    about = site / f"vllm-{plan.release}+cpu.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {plan.release}+cpu\n", encoding="utf-8"
    )
    (about / "RECORD").write_text("", encoding="utf-8")
    (about / "INSTALLER").write_text("qcmatrix\n", encoding="utf-8")


def _packages(site: Path) -> dict[str, str]:
    found = (path.name.removesuffix(".dist-info").partition("-") for path in site.glob("*.dist-info"))
    return {name: version for name, _, version in sorted(found)}
