"""Reading members of a zip archive fast: inflated straight from the file, and checked.

The standard library reads the archive's directory and whatever is packed in an unusual way; isal
inflates twice as fast as zlib. What comes out has the size and the CRC that the directory says, or
it is an error.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from typing import cast

from isal import isal_zlib

_PIECE = 1 << 20  # bytes
_HEADER = 30  # bytes of a member's own header before its name
_BROKEN = cast(type[Exception], isal_zlib.error)  # isal says that it is an instance
_ENCRYPTED = 0x1


class Archive:
    """An open zip archive."""

    def __init__(self, path: str) -> None:
        self._zip = zipfile.ZipFile(path)
        assert self._zip.fp is not None
        # not mapped into memory: all that was read of a large wheel would count as ours
        self._file = self._zip.fp.fileno()
        self._size = os.fstat(self._file).st_size

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def pieces(self, name: str) -> Iterator[bytes]:
        """The content of a member.

        Raises:
            zipfile.BadZipFile, and what else zipfile raises: it is damaged.
        """
        info = self._zip.getinfo(name)
        if info.compress_type != zipfile.ZIP_DEFLATED or info.flag_bits & _ENCRYPTED:
            return self._plainly(info)
        return self._inflated(info)

    def _plainly(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        with self._zip.open(info) as source:
            while piece := source.read(_PIECE):
                yield piece

    def _inflated(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        inflate = isal_zlib.decompressobj(-15)
        left, crc = info.file_size, 0
        for packed in self._packed(info):
            waiting, piece = packed, b""
            # a full piece: there may be more, though all that was packed has been taken
            while (waiting or len(piece) == _PIECE) and left >= 0:
                try:
                    piece = inflate.decompress(waiting, _PIECE)
                except _BROKEN as error:
                    raise zipfile.BadZipFile(f"{info.filename}: {error}") from error
                waiting = inflate.unconsumed_tail
                left -= len(piece)
                crc = isal_zlib.crc32(piece, crc)
                yield piece
        if left != 0 or crc != info.CRC:
            raise zipfile.BadZipFile(f"{info.filename} has not the size or CRC that it should have")

    def _packed(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The packed bytes of a member, past its own header."""
        at = info.header_offset
        header = os.pread(self._file, _HEADER, at) if 0 <= at < self._size else b""
        names = int.from_bytes(header[26:28], "little")
        extra = int.from_bytes(header[28:30], "little")
        start = at + _HEADER + names + extra
        end = start + info.compress_size
        if header[:4] != b"PK\x03\x04" or end > self._size:
            raise zipfile.BadZipFile(f"{info.filename} is not where the archive says")
        for offset in range(start, end, _PIECE):
            yield os.pread(self._file, min(_PIECE, end - offset), offset)
