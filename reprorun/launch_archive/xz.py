"""The content of an xz file, unpacked in order and with bounded memory."""

from __future__ import annotations

from typing import BinaryIO, NoReturn

from reprorun.errors import RecordError

DICTIONARY = 256 << 20  # bytes of memory that unpacking may take; `xz -9` wants 65 MiB
PIECE = 1 << 18  # bytes that are unpacked at once: a few bytes may make gigabytes


class Unpacked:
    """An xz file as tarfile reads files: it goes forward only.

    Raises:
        RecordError: from reading: it is no xz file, or there is less or more than one.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        import lzma

        self._file = file
        self._path = path
        self._xz = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=DICTIONARY)
        self._errors = lzma.LZMAError
        self._left = memoryview(b"")
        self._position = 0

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._position

    def seek(self, position: int) -> int:
        """Skip to a place further on."""
        if position < self._position:
            raise ValueError("an archive is read once, in order")
        while self._position < position and self._take(position - self._position):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only at the end."""
        pieces = []
        while size and (piece := self._take(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _take(self, size: int) -> memoryview:
        """Some bytes, at most `size`; none at the end."""
        if not self._left:
            self._left = memoryview(self._unpack())
        piece, self._left = self._left[:size], self._left[size:]
        self._position += len(piece)
        return piece

    def _unpack(self) -> bytes:
        """The next bytes; none when all has come, and nothing was behind it."""
        piece = b""
        while not piece and not self._xz.eof:
            packed = self._file.read(PIECE) if self._xz.needs_input else b""
            if self._xz.needs_input and not packed:
                self._refuse("is cut short")
            try:
                piece = self._xz.decompress(packed, PIECE)
            except self._errors as error:
                self._refuse(f"is not xz, or damaged ({error})")
        if not piece and (self._xz.unused_data or self._file.read(1)):
            self._refuse("goes on after its end")
        return piece

    def _refuse(self, what: str) -> NoReturn:
        raise RecordError(f"the launch archive {self._path} {what}. Take an unchanged copy of it.")
