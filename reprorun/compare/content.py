"""Outputs as they are read: a file, or bytes that came out of an archive."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import BinaryIO

from reprorun.compare.values import Content
from reprorun.model import Value

PIECE = 1 << 20  # bytes that are read at a time


class FileContent(Value, frozen=True, kw_only=True):
    """A regular file of this host."""

    name: str
    path: str
    size: int

    def open(self) -> BinaryIO:
        """A fresh stream. Nothing but a regular file is opened, so nothing is waited for.

        Raises:
            OSError: it can't be opened, or is something else by now.
        """
        return os.fdopen(open_regular(self.path), "rb")


def open_regular(path: str) -> int:
    """A descriptor of a regular file; no link is followed, and nothing is waited for.

    Raises:
        OSError: it can't be opened, or is something else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor


class BytesContent(Value, frozen=True, kw_only=True):
    """Bytes in memory."""

    name: str
    data: bytes
    path: None = None

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.data)

    def open(self) -> BinaryIO:
        """A fresh stream."""
        return io.BytesIO(self.data)


def file_content(path: str, name: str | None = None) -> FileContent:
    """A file of this host, shown under its path or another name.

    Raises:
        OSError: there is none.
    """
    return FileContent(name=name or path, path=path, size=os.stat(path).st_size)


def head(content: Content, size: int) -> bytes:
    """The first bytes of an output."""
    with content.open() as file:
        return read_full(file, size)


def read_full(file: BinaryIO, size: int) -> bytes:
    """Exactly that many bytes, fewer only at the end: a stream may give less at a time."""
    data = file.read(size)
    if len(data) == size or not data:
        return data
    pieces, got = [data], len(data)
    while got < size:
        data = file.read(size - got)
        if not data:
            break
        pieces.append(data)
        got += len(data)
    return b"".join(pieces)
