"""Files and folders: what kind each one is, and what is found in it. Nothing that is in a file may stop the others."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath

from qcmatrix.documents.found import Document, FoundCommand, Note, NotReadError
from qcmatrix.documents.mapped import Mapped
from qcmatrix.documents.shell import mentions_vllm, read_shell
from qcmatrix.errors import FileProblem

__all__ = ["LARGEST_FILE", "STANDARD_INPUT", "kind_of", "read_document", "read_text", "walk"]

LARGEST_FILE = 10_000_000
"""Bytes; what is larger is no file that somebody wrote a command into."""
_MOST_COMMANDS = 1_000
"""Commands of one file that are judged."""
_SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn", ".tox", ".venv", "venv", "node_modules", "__pycache__",
                              ".mypy_cache", ".pytest_cache", ".ruff_cache", "site-packages", ".idea"})  # fmt: skip
_BY_SUFFIX = {
    ".sh": "shell", ".bash": "shell", ".zsh": "shell", ".ksh": "shell", ".slurm": "shell", ".sbatch": "shell",
    ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".rst": "restructuredtext",
    ".yaml": "yaml", ".yml": "yaml", ".dockerfile": "dockerfile", ".containerfile": "dockerfile",
    ".service": "systemd",
}  # fmt: skip
STANDARD_INPUT = "<stdin>"
"""The path of what is read from there; on the command line it is ``-``."""
_BYTE_ORDER_MARK = "\ufeff"
_SHEBANG = re.compile(r"#![^\n]*\b(?:ba|z|k|da)?sh\b")
_SHELL_LANGUAGES = frozenset({"", "bash", "sh", "shell", "zsh", "console", "shell-session", "shellsession", "terminal",
                              "text", "txt", "none", "prompt", "commandline", "command"})  # fmt: skip
_CONTINUED = {"bat": "^", "batch": "^", "cmd": "^", "powershell": "`", "ps1": "`", "pwsh": "`", "ps": "`"}
"""What other shells than bash write where a line goes on."""
_DOCKER_LANGUAGES = frozenset({"dockerfile", "docker", "containerfile"})
_SYSTEMD_LANGUAGES = frozenset({"systemd", "ini", "service", "unit"})


def kind_of(path: str, text: str = "") -> str | None:
    """What kind of document ``path`` is, by its name and, failing that, by how ``text`` begins; ``None``: none."""
    name = PurePath(path).name.lower()
    if name == "matrix.toml" or (name.endswith(".toml") and 'schema = "qcmatrix.matrix/' in text):
        return "matrix"
    if re.fullmatch(r"(?:dockerfile|containerfile)(?:[.-].*)?", name):
        return "dockerfile"
    if (kind := _BY_SUFFIX.get(PurePath(name).suffix)) is not None:
        return kind
    head = text[:4000]
    if _SHEBANG.match(head):
        return "shell"
    if re.search(r"^[ \t]*(?:```|~~~)", text, re.MULTILINE):
        return "markdown"
    if re.search(r"^\[(?:Service|Unit)\]", head, re.MULTILINE):
        return "systemd"
    if re.search(r"^(?:apiVersion|services):", head, re.MULTILINE):
        return "yaml"
    if re.search(r"^FROM[ \t]+\S+", head, re.MULTILINE):
        return "dockerfile"
    return None


def walk(paths: Iterable[str], *, also: tuple[str, ...] = ()) -> Iterator[tuple[str, bool]]:
    """The files that ``paths`` mean, and whether each was named itself; folders are searched, hidden ones left out.

    ``-`` is standard input, whose path is :data:`STANDARD_INPUT`. In folders, only names that may hold a command are
    taken, and those that end in one of ``also``. A folder that cannot be listed is told as a file that was named:
    reading it says why.

    Raises:
        FileProblem: a path that is not there.
    """
    paths = tuple(paths)
    missing = [path for path in paths if path != "-" and not Path(path).exists()]
    if missing:
        raise FileProblem(f"there is no {missing[0]}", *(f"nor {path}" for path in missing[1:]))
    seen: set[str] = set()
    for given in paths:
        path = STANDARD_INPUT if given == "-" else given
        if given == "-" or not Path(path).is_dir():
            if path not in seen:
                seen.add(path)
                yield path, True
            continue
        closed: list[OSError] = []
        for folder, folders, files in os.walk(path, onerror=closed.append):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
            for name in sorted(files):
                file = str(Path(folder) / name)
                if file not in seen and (_may_hold_commands(name) or name.endswith(also)):
                    seen.add(file)
                    yield file, False
        yield from ((str(error.filename), True) for error in closed)


def _may_hold_commands(name: str) -> bool:
    suffix = PurePath(name).suffix.lower()
    return kind_of(name) is not None or suffix in ("", ".txt", ".toml")


def read_text(path: str) -> str:
    """The text of a file, line ends as they are.

    Raises:
        FileProblem: it cannot be opened, is too large, or is no text.
    """
    try:
        data = sys.stdin.buffer.read(LARGEST_FILE + 1) if path == STANDARD_INPUT else _bytes_of(path)
    except OSError as error:
        raise FileProblem(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > LARGEST_FILE:
        raise FileProblem(
            f"{path} is larger than {LARGEST_FILE // 1_000_000} MB", "no file with commands is that large: not read"
        )
    if b"\0" in data[:8192]:
        raise FileProblem(f"{path} is no text file", "it holds zero bytes: not read")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if mentions_vllm(data.decode("utf-8", "replace")):
            line = data.count(b"\n", 0, error.start) + 1
            raise FileProblem(f"{path}:{line}: not UTF-8 ({error.reason})", "save it as UTF-8") from None
        return data.decode("utf-8", "replace")


def _bytes_of(path: str) -> bytes:
    """At most one byte more than :data:`LARGEST_FILE`."""
    file = Path(path)
    if not file.is_file():
        file.lstat()  # what is not there says so itself
        if file.is_dir():
            os.scandir(file).close()  # and so does a folder that is closed
        raise FileProblem(f"{path} is no regular file", "name a text file, or a folder to search")
    with file.open("rb") as opened:
        return opened.read(LARGEST_FILE + 1)


def read_document(path: str, text: str, kind: str | None = None) -> Document:
    """What ``text`` holds. ``kind`` is told from the name when ``None``; a text of no kind is read as shell."""
    mark = text.startswith(_BYTE_ORDER_MARK)
    plain = text[1:] if mark else text
    kind = kind or kind_of(path, plain) or "shell"
    if not mentions_vllm(plain) and kind != "matrix":
        return Document(path, text, kind)
    try:
        found, notes, kind = _read(plain, kind)
    except NotReadError as error:
        place = min(error.offset, len(plain))
        found, notes = [], [Note(error.what, place, min(place + 1, len(plain)))]
    if len(found) > _MOST_COMMANDS:
        place = found[_MOST_COMMANDS].start
        notes = [*notes, Note(f"more than {_MOST_COMMANDS:,} commands: the others are not read", place, place + 1)]
        found = found[:_MOST_COMMANDS]
    if mark:
        found = _moved(found, Mapped.whole(plain, 1))
        notes = [Note(note.text, note.start + 1, note.stop + 1) for note in notes]
    return Document(path, text, kind, tuple(sorted(found, key=lambda command: command.start)), tuple(notes))


def _read(text: str, kind: str) -> tuple[list[FoundCommand], list[Note], str]:
    if kind == "yaml":
        return _read_yaml(text)
    if kind == "matrix":
        from qcmatrix.documents.matrix import read_matrix_commands

        return (*read_matrix_commands(text), kind)
    return _readers()[kind](text), [], kind


def _readers() -> dict[str, Callable[[str], list[FoundCommand]]]:
    from qcmatrix.documents.dockerfile import read_dockerfile
    from qcmatrix.documents.systemd import read_systemd

    return {
        "shell": lambda text: read_shell(Mapped.whole(text)),
        "dockerfile": read_dockerfile,
        "systemd": read_systemd,
        "markdown": lambda text: _read_blocks(text, "markdown"),
        "restructuredtext": lambda text: _read_blocks(text, "restructuredtext"),
    }


def _read_yaml(text: str) -> tuple[list[FoundCommand], list[Note], str]:
    from yaml.nodes import MappingNode

    from qcmatrix.documents.compose import read_compose
    from qcmatrix.documents.kubernetes import read_kubernetes
    from qcmatrix.documents.yaml_tree import Tree, YamlProblemError, read_yaml

    found: list[FoundCommand] = []
    kind = "yaml"
    try:
        for root in read_yaml(text):
            if isinstance(root, MappingNode) and Tree(text, root).tree("services") is not None:
                kind = "compose"
                found.extend(read_compose(text, root))
            elif root is not None:
                kind = "kubernetes" if "apiVersion" in text else kind
                found.extend(read_kubernetes(text, root))
    except YamlProblemError as error:
        what = error.what if error.bounded else f"not YAML: {error.what}"
        what = "a template, not plain YAML: not read" if "{{" in text else what
        return found, [Note(what, error.offset, min(error.offset + 1, len(text)))], kind
    return found, [], kind


def _read_blocks(text: str, kind: str) -> list[FoundCommand]:
    from qcmatrix.documents.markup import markdown_blocks, restructured_blocks

    found: list[FoundCommand] = []
    for block in markdown_blocks(text) if kind == "markdown" else restructured_blocks(text):
        if not mentions_vllm(block.text.text):
            continue
        language = block.language
        inner = kind_of("", block.text.text)
        if language in _CONTINUED:
            goes_on = re.compile(rf"{re.escape(_CONTINUED[language])}(?=[ \t]*\r?\n)")
            found.extend(read_shell(block.text.replaced(goes_on, lambda _: "\\"), prompts=True))
        elif language in _SHELL_LANGUAGES and inner in (None, "shell"):
            found.extend(read_shell(block.text, prompts=True))
        elif language in ("yaml", "yml") or inner == "yaml":
            found.extend(_within(block.text, "yaml"))
        elif language in _DOCKER_LANGUAGES or inner == "dockerfile":
            found.extend(_within(block.text, "dockerfile"))
        elif language in _SYSTEMD_LANGUAGES or inner == "systemd":
            found.extend(_within(block.text, "systemd"))
    return found


def _within(block: Mapped, kind: str) -> list[FoundCommand]:
    """The commands of a block that is a document of its own."""
    try:
        return _moved(_read(block.text, kind)[0], block)
    except NotReadError as error:
        raise NotReadError(error.what, block.span(error.offset, error.offset + 1)[0]) from None


def _moved(commands: list[FoundCommand], source: Mapped) -> list[FoundCommand]:
    """Commands that were found in a block, with their places in the whole document."""
    import msgspec

    from qcmatrix.documents.found import FoundWord

    def word(each: FoundWord) -> FoundWord:
        start, stop = source.span(each.start, max(each.stop, each.start + 1))
        return msgspec.structs.replace(each, start=start, stop=stop)

    def note(each: Note) -> Note:
        start, stop = source.span(each.start, max(each.stop, each.start + 1))
        return Note(each.text, start, stop)

    return [
        msgspec.structs.replace(
            command,
            words=tuple(word(each) for each in command.words),
            env={name: word(each) for name, each in command.env.items()},
            notes=tuple(note(each) for each in command.notes),
        )
        for command in commands
    ]
