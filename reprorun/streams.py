"""Streams of bytes: a tar read from pieces as they come, without holding it in memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any


def stream_tar(pieces: Iterable[bytes]) -> tarfile.TarFile:
    """Read a tar from pieces as they come, without holding it in memory."""
    return tarfile.open(fileobj=io.BufferedReader(_Pieces(iter(pieces))), mode="r|")


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file that can be read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
