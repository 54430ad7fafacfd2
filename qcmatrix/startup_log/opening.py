"""The lines of a log, whatever it is kept in: UTF-8 or UTF-16 text, plain or gzip, a file or a pipe."""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
from collections.abc import Iterator
from typing import BinaryIO, cast

from qcmatrix.errors import FileProblem

__all__ = ["numbered_lines"]

_PIECE = 65_536
"""Bytes of one line that are read; the rest of a longer one is passed over."""
_MOST_UNPACKED = 1 << 30
"""Bytes that a gzip file may unpack to."""


def numbered_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines of ``stream`` with their numbers from 1; of a very long line the beginning.

    Raises:
        FileProblem: it holds no text.
        OSError, EOFError, UnicodeError, zlib.error: it cannot be read, or unpacked.
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, _Raw(stream)))
    head = buffered.peek(4096)[:4096]
    if head.startswith(b"\x1f\x8b"):
        buffered = io.BufferedReader(_Raw(cast(BinaryIO, gzip.GzipFile(fileobj=buffered)), most=_MOST_UNPACKED))
        head = buffered.peek(4096)[:4096]
    encoding = ""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif head.count(0) > 8 + len(head) // 8:
        raise FileProblem(f"{name} holds no text", "give the text that vLLM printed (stdout and stderr)")
    if encoding:
        text = io.TextIOWrapper(buffered, encoding=encoding, errors="replace", newline="\n")
        for number in itertools.count(1):
            line = text.readline(_PIECE)
            if not line:
                return
            yield number, line.encode("utf-8", "replace")
    for number in itertools.count(1):
        line_bytes = buffered.readline(_PIECE)
        if not line_bytes:
            return
        tail = line_bytes
        while len(tail) == _PIECE and not tail.endswith(b"\n"):
            tail = buffered.readline(_PIECE)
        yield number, line_bytes


class _Raw(io.RawIOBase):
    """Any object with ``read`` as a raw stream."""

    def __init__(self, stream: BinaryIO, most: int | None = None) -> None:
        self._stream = stream
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise OSError(f"it unpacks to more than {_MOST_UNPACKED >> 30} GiB")
        buffer[: len(data)] = data
        return len(data)
