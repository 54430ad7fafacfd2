"""What the tests of the readers share: a document's commands as plain values."""

from __future__ import annotations

from qcmatrix.documents.files import read_document
from qcmatrix.documents.found import Document, FoundCommand


def read(path: str, text: str) -> Document:
    """The document, each of whose words is checked to stand within it."""
    document = read_document(path, text)
    for command in document.commands:
        for word in (*command.words, *command.env.values()):
            assert 0 <= word.start <= word.stop <= len(text), word
    for note in document.notes:
        assert 0 <= note.start <= note.stop <= len(text), note
    return document


def only(path: str, text: str) -> FoundCommand:
    """Its one command."""
    (command,) = read(path, text).commands
    return command


def words(path: str, text: str) -> str:
    """The words of its one command."""
    return " ".join(word.text for word in only(path, text).words)


def written(path: str, text: str) -> list[str]:
    """How the words that it writes itself stand in the document."""
    return [text[word.start : word.stop] for word in only(path, text).words if word.own and word.stop > word.start]
