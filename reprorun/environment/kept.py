"""Tars that are kept in the cache as they are made, and read again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

_PIECE = 1 << 18  # bytes that are read at once; 1 MiB takes the processor half as long again


def read(file: BinaryIO) -> Iterator[bytes]:
    """All of it, in pieces."""
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece


def digest_of(file: BinaryIO) -> str:
    """Of all of it, `sha256:...`."""
    digest = hashlib.sha256()
    for piece in read(file):
        digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def keep(pieces: Iterator[bytes], path: str) -> Iterator[bytes]:
    """The pieces as they come; when all have been read they are kept."""
    copy = _Copy(path)
    try:
        for piece in pieces:
            copy.write(piece)
            yield piece
        copy.finish()
    finally:
        copy.discard()


class _Copy:
    """A file that is written on the side: where the disk has no room for it, there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._unfinished = f"{path}.{os.urandom(4).hex()}"
        self._file: BinaryIO | None = None
        with suppress(OSError):
            self._file = open(self._unfinished, "xb")  # noqa: SIM115  # closed by discard

    def write(self, piece: bytes) -> None:
        """Write a piece, or give up."""
        try:
            if self._file:
                self._file.write(piece)
        except OSError:
            self.discard()

    def finish(self) -> None:
        """It is whole."""
        if self._file:
            with suppress(OSError):
                self._file.close()
                os.replace(self._unfinished, self._path)

    def discard(self) -> None:
        """It is not wanted, or has its name already."""
        if self._file:
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                os.unlink(self._unfinished)
        self._file = None
