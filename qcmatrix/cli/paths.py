"""Files or a command: what the words behind ``check`` are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["FORMATS", "are_files"]

FORMATS = ("text", "json", "sarif", "github")
_PROGRAMS = ("vllm", "docker", "podman", "nerdctl", "python", "python3", "env", "sudo", "nohup", "exec", "uv", "serve")


def are_files(words: Sequence[str]) -> bool:
    """Are these paths rather than the words of a command?

    A command has options, assignments or blanks in it, or begins with a program; a path has none of that. ``-`` is
    standard input.
    """
    first = words[0]
    if any(_is_no_path(word) for word in words):
        return False
    if Path(first).exists():
        return len(words) > 1 or not Path(first).is_file() or not os.access(first, os.X_OK) or "." in first
    return not any(blank in first for blank in " \n\t") and first.rpartition("/")[2] not in _PROGRAMS


def _is_no_path(word: str) -> bool:
    return (word.startswith("-") and word != "-") or ("=" in word and not Path(word).exists())
