"""The one door for files: decode, reject unknown keys, report every problem at once.

msgspec decodes fast and stops at the first problem; only then is the (slow to import) jsonschema asked for all of them,
against the JSON Schema that msgspec derives from the very same type.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from qcmatrix.errors import FileProblem

__all__ = ["convert", "read_json", "read_text", "read_toml"]

T = TypeVar("T")


def read_text(path: Path) -> str:
    """The text of ``path``.

    Raises:
        FileProblem: it is missing, unreadable, a directory or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileProblem(f"{path}: no such file") from None
    except IsADirectoryError:
        raise FileProblem(f"{path}: is a directory, a file was expected") from None
    except UnicodeDecodeError as error:
        raise FileProblem(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise FileProblem(f"{path}: cannot be read: {error.strerror}") from None


def read_json(path: Path, kind: type[T]) -> T:
    """``path`` decoded as JSON into ``kind``.

    Raises:
        FileProblem: not readable, not JSON, or not of that shape (all problems listed).
    """
    text = read_text(path)
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise _all_problems(str(path), msgspec.json.decode(text), kind, error) from None
    except msgspec.DecodeError as error:
        raise FileProblem(f"{path}: not JSON: {error}") from None


def read_toml(path: Path, kind: type[T]) -> T:
    """``path`` decoded as TOML into ``kind``.

    Raises:
        FileProblem: not readable, not TOML, or not of that shape (all problems listed).
    """
    try:
        data = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise FileProblem(f"{path}: not TOML: {error}") from None
    return convert(data, kind, where=str(path))


def convert(data: Any, kind: type[T], *, where: str) -> T:
    """Plain ``data`` as ``kind``.

    Raises:
        FileProblem: it does not have that shape (all problems listed).
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _all_problems(where, data, kind, error) from None


def _all_problems(where: str, data: Any, kind: Any, first: msgspec.ValidationError) -> FileProblem:
    from jsonschema import Draft202012Validator

    schema = msgspec.json.schema(kind)
    plain = msgspec.to_builtins(data)  # a date of TOML is a text to a schema
    problems = sorted(
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(plain)
    )
    return FileProblem(f"{where}: not what it should be", *(problems or [str(first)]))
