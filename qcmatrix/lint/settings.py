"""What a project says about its own files: ``qcmatrix.toml``, or ``[tool.qcmatrix]`` in ``pyproject.toml``."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path, PurePath

import msgspec

from qcmatrix.boundary import convert, read_text, read_toml
from qcmatrix.errors import FileProblem

__all__ = ["Ignored", "Settings", "find_settings", "read_settings"]


class Ignored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule that is silenced for some files."""

    rule: str
    reason: str
    files: tuple[str, ...] = ("*",)
    """Patterns of paths, as the shell has them."""

    def covers(self, path: str, rule: str) -> bool:
        """Is ``rule`` silenced in ``path``?"""
        return rule == self.rule and any(_matches(path, pattern) for pattern in self.files)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file, validated."""

    gpus: str | None = None
    """What ``--gpus`` is when it is not given: ``8xH200``."""
    vllm: str | None = None
    """What ``--vllm`` is when it is not given."""
    model: str | None = None
    exclude: tuple[str, ...] = ()
    """Patterns of paths that are not looked at in folders."""
    ignore: tuple[Ignored, ...] = ()

    def __post_init__(self) -> None:
        for ignored in self.ignore:
            if not ignored.reason.strip():
                raise ValueError(f"`ignore` of {ignored.rule} needs a reason")

    def excludes(self, path: str) -> bool:
        """Is ``path`` left out?"""
        return any(_matches(path, pattern) for pattern in self.exclude)


def find_settings(start: Path) -> Settings:
    """Those of ``start`` or of the nearest folder above it that has any; none: all defaults.

    Raises:
        FileProblem: a file that is there and cannot be used, with all problems in it.
    """
    for folder in (start, *start.parents):
        if (own := folder / "qcmatrix.toml").is_file():
            return read_settings(own)
        project = folder / "pyproject.toml"
        if project.is_file() and "[tool.qcmatrix" in read_text(project):
            return read_settings(project)
    return Settings()


def read_settings(path: Path) -> Settings:
    """The settings in ``path``.

    Raises:
        FileProblem: it cannot be read, or is not what it should be, with all problems in it.
    """
    if path.name != "pyproject.toml":
        return read_toml(path, Settings)
    try:
        table = tomllib.loads(read_text(path)).get("tool", {}).get("qcmatrix", {})
    except tomllib.TOMLDecodeError as error:
        raise FileProblem(f"{path}: not TOML: {error}") from None
    return convert(table, Settings, where=f"{path}, [tool.qcmatrix]")


def _matches(path: str, pattern: str) -> bool:
    plain = PurePath(path).as_posix().removeprefix("./")
    return fnmatch(plain, pattern) or fnmatch(plain, f"*/{pattern}") or PurePath(plain).name == pattern
