"""Gaps to fill in: our own texts, each with a hole and what a right answer must hold.

A gap is written as one text whose hole stands between ``⟦`` and ``⟧``; the middle that stands there is one right
answer, so the whole can be read, and parsed, as it should become.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import msgspec

from qcmatrix.boundary import read_toml
from qcmatrix.errors import FileProblem

__all__ = ["MARKERS", "Gap", "RepoFile", "load_gaps"]

MARKERS = (
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|fim_pad|>",
    "<|file_sep|>",
    "<|repo_name|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
)
"""Qwen's markers that must not stand in a filled gap (https://github.com/QwenLM/Qwen3-Coder, README)."""

_OPEN, _CLOSE = "⟦", "⟧"
_FOLDER = Path(__file__).with_name("gaps")
_EXTENSIONS = {
    "python": "py",
    "javascript": "js",
    "typescript": "ts",
    "go": "go",
    "rust": "rs",
    "java": "java",
    "cpp": "cpp",
    "bash": "sh",
}


class RepoFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another file of the same repository."""

    path: str
    text: str


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """One hole in one file."""

    id: str
    """``python/quicksort-left``."""
    language: str
    path: str
    """Of the file with the hole."""
    prefix: str
    suffix: str
    middle: str
    """One right answer."""
    expect: tuple[str, ...]
    """What any right answer holds."""
    files: tuple[RepoFile, ...] = ()
    """Of the same repository; what is asked for is defined only there."""

    @property
    def empty(self) -> bool:
        """Is there nothing to fill in?"""
        return not self.middle

    @property
    def marked(self) -> bool:
        """Does the file itself hold a marker as text?"""
        return any(marker in self.prefix or marker in self.suffix for marker in MARKERS)

    @property
    def mid_token(self) -> bool:
        """Does the hole begin inside a word?"""
        return self.prefix[-1:].isidentifier() and self.middle[:1].isidentifier()

    @property
    def after_indent(self) -> bool:
        """Does the hole begin behind nothing but indentation?"""
        line = self.prefix.rpartition("\n")[2]
        return bool(line) and not line.strip()

    @property
    def tabbed(self) -> bool:
        """Is the file indented with tabs, and only with them?"""
        lines = f"{self.prefix}{self.suffix}".splitlines()
        return any(line.startswith("\t") for line in lines) and not any(line.startswith(" ") for line in lines)

    @property
    def crlf(self) -> bool:
        """Do the file's lines end as on Windows?"""
        return "\r\n" in self.prefix

    def filled(self, middle: str) -> str:
        """The file with ``middle`` in its hole."""
        return f"{self.prefix}{middle}{self.suffix}"


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    code: str
    expect: tuple[str, ...] = ()
    path: str = ""
    files: tuple[RepoFile, ...] = ()
    crlf: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    language: str
    gap: tuple[_Written, ...]


@lru_cache(maxsize=1)
def load_gaps() -> tuple[Gap, ...]:
    """All gaps, by language and in the order of their file.

    Raises:
        FileProblem: a file is not of the form.
    """
    return tuple(gap for path in sorted(_FOLDER.glob("*.toml")) for gap in read_gaps(path))


def read_gaps(path: Path) -> tuple[Gap, ...]:
    """The gaps of one file.

    Raises:
        FileProblem: not readable, not of that shape, or a text without exactly one hole.
    """
    file = read_toml(path, _File)
    if file.language not in _EXTENSIONS:
        raise FileProblem(f"{path}: no language {file.language!r}", f"known: {', '.join(_EXTENSIONS)}")
    return tuple(_gap(path, file.language, written) for written in file.gap)


def _gap(path: Path, language: str, written: _Written) -> Gap:
    code = written.code.replace("\n", "\r\n") if written.crlf else written.code
    if code.count(_OPEN) != 1 or code.count(_CLOSE) != 1 or code.index(_OPEN) > code.index(_CLOSE):
        raise FileProblem(f"{path}: {written.name}: a hole is written {_OPEN}...{_CLOSE}, once")
    prefix, _, rest = code.partition(_OPEN)
    middle, _, suffix = rest.partition(_CLOSE)
    return Gap(
        id=f"{language}/{written.name}",
        language=language,
        path=written.path or f"{written.name.replace('-', '_')}.{_EXTENSIONS[language]}",
        prefix=prefix,
        suffix=suffix,
        middle=middle,
        expect=written.expect,
        files=written.files,
    )
