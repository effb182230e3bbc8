"""Writes xz files: pieces of fixed size, compressed side by side, one stream in the end.

    Stream: header, one block, index, footer.    Block: header, LZMA2 chunks, check.

Each piece begins with a reset of the dictionary, so its chunks can follow those of the piece
before. Where pieces end depends on their content alone, and never on the number of processors:
the same content gives the same bytes. The format: https://tukaani.org/xz/xz-file-format.txt
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from typing import Callable, Iterable, Iterator

PIECE = 1 << 20  # bytes; smaller ones know too little of what came before
_DICTIONARY = 1 << 18  # bytes
_DEPTH = 6  # the preset looks at 4; two more make it smaller, and hardly slower
_FLAGS = b"\0\1"  # the check is a CRC32
_MAGIC, _END = b"\xfd7zXZ\0", b"YZ"
_END_OF_CHUNKS = b"\0"
# One filter, LZMA2 (0x21), with one byte of properties: 12 for 256 KiB.
_BLOCK = b"\x02\x00\x21\x01\x0c\0\0\0"


def compressed(content: Iterable[bytes]) -> Iterator[bytes]:
    """Compresses a file.

    Args:
        content: The file, in parts of any size; read by this thread only.

    Yields:
        An xz file, part by part.
    """
    check = size = packed = 0

    def watched() -> Iterator[bytes]:
        nonlocal check, size
        for piece in _pieces(content):
            check, size = zlib.crc32(piece, check), size + len(piece)
            yield piece

    block = _BLOCK + _crc(_BLOCK)
    yield _MAGIC + _FLAGS + _crc(_FLAGS) + block
    for chunks in _side_by_side(_compress, watched()):
        packed += len(chunks)
        yield chunks
    packed += len(_END_OF_CHUNKS)
    yield _END_OF_CHUNKS + _padding(packed) + struct.pack("<I", check)
    yield _index_and_footer(len(block) + packed + len(_crc(b"")), size)


def _compress(piece: bytes) -> bytes:
    """Returns the LZMA2 chunks of a piece, without the byte that says that there are no more."""
    import lzma

    settings = {"preset": 0, "dict_size": _DICTIONARY, "depth": _DEPTH}
    filters = [{"id": lzma.FILTER_LZMA2, **settings}]
    return lzma.compress(piece, format=lzma.FORMAT_RAW, filters=filters)[: -len(_END_OF_CHUNKS)]


def _pieces(content: Iterable[bytes]) -> Iterator[bytes]:
    """Cuts at fixed places."""
    kept = bytearray()
    for part in content:
        kept += part
        while len(kept) >= PIECE:
            yield bytes(kept[:PIECE])
            del kept[:PIECE]
    if kept:
        yield bytes(kept)


def _side_by_side(work: Callable[[bytes], bytes], pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Does the work in threads, and yields its results in order; few pieces are held at once."""
    from concurrent.futures import Future, ThreadPoolExecutor

    processors = os.cpu_count() or 1
    with ThreadPoolExecutor(processors) as threads:
        under_way: deque[Future[bytes]] = deque()
        for piece in pieces:
            under_way.append(threads.submit(work, piece))
            if len(under_way) > processors:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _index_and_footer(unpadded: int, size: int) -> bytes:
    index = b"\0" + _varint(1) + _varint(unpadded) + _varint(size)
    index += _padding(len(index))
    index += _crc(index)
    backward = struct.pack("<I", len(index) // 4 - 1) + _FLAGS
    return index + _crc(backward) + backward + _END


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def _padding(length: int) -> bytes:
    return bytes(-length % 4)


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))
